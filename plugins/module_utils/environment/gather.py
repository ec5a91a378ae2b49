# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Getting everything that an environment needs, for a machine that need not be this one: a channel of its own, and wheels."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import typing as t

from ..errors import OptionError, WorkerError
from ..files import write_text
from ..progress import Progress
from ..run import Completed, clean_environment, run
from .backends import CreateRequest
from .build_needs import Needs, extras_in, name_in, needs_of
from .content import Content
from .indexes import Indexes
from .installers import Installer, choose_installer, classify, failure
from .rattler_backend import RattlerBackend
from .requirements import UNKNOWN_TREE, Line, Requirements
from .sources import must_be_built, write_sources
from .specs import strip_credentials

# What conda's index says of a package; the rest of a record is about where it was found or put.
_INDEXED = frozenset(
    (
        *("arch", "build", "build_number", "constrains", "depends", "features", "license", "license_family", "md5", "name", "noarch", "platform"),
        *("python_site_packages_path", "sha256", "size", "subdir", "timestamp", "track_features", "version"),
    )
)
# The C libraries that uv has a name for.
_KNOWN_GLIBC = (17, 28, *range(31, 41))
_ARCHITECTURES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
# The kernel that packages are told of: the oldest that is still maintained anywhere runs a later one.
_LINUX = "4.18"
BUILD_TOOLS = "setuptools\nwheel\n"


@dataclasses.dataclass(frozen=True)
class Target:
    """The machine that it is all for. glibc: its oldest C library, ``2.28``."""

    platform: str
    glibc: str

    @property
    def virtual_packages(self) -> tuple[tuple[str, str], ...]:
        return (("__unix", "0"), ("__linux", _LINUX), ("__glibc", self.glibc))

    @property
    def uv_platform(self) -> str:
        """uv's name for it: the newest that is not newer."""
        minor = max((each for each in _KNOWN_GLIBC if each <= self._minor), default=_KNOWN_GLIBC[0])
        return f"{_ARCHITECTURES[self.platform]}-manylinux_2_{minor}"

    @property
    def wheel_platforms(self) -> list[str]:
        """The tags of wheels that run there."""
        architecture = _ARCHITECTURES[self.platform]
        oldest = 5 if architecture == "x86_64" else 17
        older = ["manylinux1", "manylinux2010"] if architecture == "x86_64" else []
        tags = [*older, "manylinux2014", *(f"manylinux_2_{minor}" for minor in range(oldest, self._minor + 1)), "linux"]
        return [f"{tag}_{architecture}" for tag in tags]

    @property
    def _minor(self) -> int:
        return int(self.glibc.split(".")[1])


@dataclasses.dataclass(frozen=True)
class Means:
    """How to get it. scratch: a directory of the caller's. cache: kept from run to run. timeout: seconds for each step."""

    indexes: Indexes
    offline: bool
    cache: str
    scratch: str
    timeout: float


def check_glibc(glibc: str) -> None:
    """Raises OptionError."""
    if not re.fullmatch(r"2\.[1-9]\d", glibc):
        raise OptionError("glibc", glibc, "this is no version of the C library", 'Write it in quotes, "2.28"; a host tells its own: ldd --version')


def refuse_repositories(content: Content) -> None:
    """Raise WorkerError ``no_wheel`` for a requirement that is fetched from a repository: no archive can stand in for that."""
    for line in _lines((*content.requirements, content.pip)):
        if re.search(r"\b(git|hg|svn|bzr)\+", line.text):
            raise WorkerError(
                "no_wheel",
                f"The requirement {strip_credentials(line.text)!r} is fetched from a repository, which a host without a route out cannot reach.",
                "Build a wheel of it, put it into a directory, name that in worker_find_links, and require it by name and version.",
            )


def built_there(content: Content) -> list[str]:
    """The requirements that are directories of the release, which the host builds."""
    return [line.text for line in _built(content)]


def needs_unknown(content: Content) -> list[str]:
    """Those of them that tell what they need to run only when they are built, or not at all."""
    built = _built(content)
    return [line.text for line, needs in zip(built, _needs(built)) if line.digest != UNKNOWN_TREE and not needs.known]


def _built(content: Content) -> list[Line]:
    return [line for line in _lines((*content.requirements, content.pip)) if must_be_built(line)]


def _needs(built: t.Sequence[Line]) -> list[Needs]:
    """What each needs, with the extras that the others, and it itself, ask of it."""
    asked = [set(extras_in(line.text)) for line in built]
    while True:
        found = [needs_of(line.local, sorted(extras)) for line, extras in zip(built, asked)]
        rows = [row for each in found for row in each.run]
        more = [{extra for row in rows if name_in(row) == each.name for extra in extras_in(row)} for each in found]
        if all(new <= known for new, known in zip(more, asked)):
            return found
        asked = [known | new for known, new in zip(asked, more)]


def _lines(files: t.Iterable[Requirements]) -> t.Iterator[Line]:
    for each in files:
        for line in each.lines:
            yield line
            if line.nested is not None:
                yield from _lines((line.nested,))


def gather_packages(content: Content, target: Target, means: Means, directory: str, progress: Progress) -> str:
    """Make a channel in ``directory`` of the packages that the environment is solved to. Returns the version of its Python, or nothing.

    Raises WorkerError as building the environment would.
    """
    backend = RattlerBackend()
    backend.detect()
    archives = os.path.join(means.cache, "archives")
    request = CreateRequest(
        prefix=means.scratch,
        specs=tuple(content.conda_specs("pip" if content.installer == "pip" else "uv")),
        channels=content.channels,
        platform=target.platform,
        cache=means.cache,
        scratch=means.scratch,
        offline=means.offline,
        timeout=means.timeout,
        archives=archives,
        virtual_packages=target.virtual_packages,
        locked=content.locked,
    )
    os.makedirs(archives, exist_ok=True)
    records = backend.archive(request, progress)
    # Nothing is solved where a lock names the files: no index of theirs is needed.
    files = [(record["subdir"], record["fn"]) for record in records] or [(package.subdir, package.file) for package in content.locked]
    for subdir in (target.platform, "noarch"):
        os.makedirs(os.path.join(directory, subdir))
        here = [record for record in records if record["subdir"] == subdir]
        write_text(os.path.join(directory, subdir, "repodata.json"), index_of(subdir, here))
    for subdir, name in files:
        os.link(os.path.join(archives, subdir, name), os.path.join(directory, subdir, name))
    versions = {str(record["name"]): str(record["version"]) for record in records} or {package.name: package.version for package in content.locked}
    return versions.get("python", "")


def index_of(subdir: str, records: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """The text of ``repodata.json`` for these packages: what the channel's own index says of each, its corrections included."""
    listed: dict[str, dict[str, t.Any]] = {"packages": {}, "packages.conda": {}}
    for record in records:
        kind = "packages.conda" if record["fn"].endswith(".conda") else "packages"
        listed[kind][record["fn"]] = {key: value for key, value in record.items() if key in _INDEXED and value is not None}
    return json.dumps({"info": {"subdir": subdir}, **listed, "removed": [], "repodata_version": 1}, indent=1, sort_keys=True) + "\n"


class Wheels:
    """Chooses wheels with uv, which can stand in another machine's shoes, and fetches them with pip, which can keep them."""

    def __init__(self, target: Target, means: Means, progress: Progress) -> None:
        self.target = target
        self.means = means
        self.progress = progress
        self.uv = choose_installer("uv")[1]
        self.count = 0

    def of_content(self, content: Content, python: str, directory: str) -> None:
        """Put the wheels of the environment's requirements into ``directory``. Raises WorkerError ``no_wheel`` that names what has none."""
        copies = os.path.join(self.means.scratch, "sources")
        os.mkdir(copies)
        sources = write_sources(content, copies, os.environ)
        files = list(sources.wheels)
        needs = _needs(_built(content))
        if needs:
            # What one of them needs of another is in the requirements already, and an index may have a stranger's of that name.
            own = {each.name for each in needs}
            wanted = [row for each in needs for row in each.run if name_in(row) not in own]
            files.append(self._text("build-tools", "\n".join([BUILD_TOOLS, *wanted, ""])))
        if files:
            self.progress(f"fetch the wheels of the requirements for Python {python}")
            self._gather(files, sources.constraints, python, directory)
        for build in dict.fromkeys(each.build for each in needs if each.build):
            # Each is built in a place of its own: what one wants is no matter of another's, nor of the environment's.
            self._gather([self._text("build", "\n".join([*build, ""]))], (), python, directory)

    def of_text(self, text: str, python: str, directory: str) -> None:
        """Put the wheels of pinned requirements into ``directory``. Hosts compare them with the pins as they install them."""
        self.progress(f"fetch the wheels of the toolchain for Python {python}")
        self._gather([self._text("toolchain", text)], (), python, directory)

    def _text(self, name: str, text: str) -> str:
        self.count += 1
        path = os.path.join(self.means.scratch, f"{name}-{self.count}.txt")
        write_text(path, text)
        return path

    def _gather(self, files: t.Sequence[str], constraints: t.Sequence[str], python: str, directory: str) -> None:
        self.count += 1
        pins = os.path.join(self.means.scratch, f"pins-{self.count}.txt")
        done = self._run("uv", self.compile_argv(files, constraints, python, pins))
        if done.rc != 0:
            raise self._explained(done, python)
        os.makedirs(directory, exist_ok=True)
        with open(pins, encoding="utf-8") as handle:
            if not handle.read().strip():
                return
        done = self._run("pip", self.download_argv(pins, python, directory))
        if done.rc != 0:
            raise self._explained(done, python)

    def compile_argv(self, files: t.Sequence[str], constraints: t.Sequence[str], python: str, pins: str) -> list[str]:
        """uv's command that writes exact versions with their hashes, of what has wheels for the target."""
        words = ["--python-version", python, "--python-platform", self.target.uv_platform, "--only-binary", ":all:", "--generate-hashes"]
        words += ["--no-header", "--no-annotate", "--quiet", "--output-file", pins, *(["--no-index"] if self.means.indexes.no_index else [])]
        limits = [word for path in constraints for word in ("--constraints", path)]
        return [self.uv, "pip", "compile", "--no-config", "--color", "never", "--python", sys.executable, *words, *limits, *files]

    def download_argv(self, pins: str, python: str, directory: str) -> list[str]:
        """pip's command that fetches the wheels of these pins."""
        words = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        platforms = [word for each in self.target.wheel_platforms for word in ("--platform", each)]
        return [sys.executable, "-I", "-m", "pip", "download", *words, *platforms, "--dest", directory, "--requirement", pins]

    def _run(self, name: str, argv: t.Sequence[str]) -> Completed:
        cache = os.path.join(self.means.cache, name)
        os.makedirs(cache, exist_ok=True)
        variables = Installer(name, self.uv, sys.executable, cache, self.means.offline, self.means.indexes).variables()
        environ = clean_environment({"HOME": self.means.scratch, "TMPDIR": self.means.scratch, **variables})
        return run(argv, environ, cwd=self.means.scratch, timeout=self.means.timeout)

    def _explained(self, done: Completed, python: str) -> WorkerError:
        error = failure(done, f"Choosing wheels for Python {python} on {self.target.platform}")
        names = names_without_wheel(f"{done.stdout}\n{done.stderr}")
        if not names or classify(done.stderr)[0] not in ("pip_conflict", "install_failed", "build_failed"):
            return error
        return WorkerError(
            "no_wheel",
            f"{', '.join(names)} has no wheel for Python {python} on {self.target.platform} (glibc {self.target.glibc}).\n{error.message}",
            "Build one on such a machine (pip wheel), put it into a directory and name that in worker_find_links; or raise worker_bundle_glibc.",
            requirements=names,
        )


def names_without_wheel(text: str) -> list[str]:
    """The packages that uv or pip say have no wheel that would do."""
    joined = " ".join(text.split())
    found = re.findall(r"([A-Za-z0-9][\w.-]*)(?:[=<>~!]\S*)? has no (?:usable )?wheels", joined)
    found += re.findall(r"only ([A-Za-z0-9][\w.-]*)(?:[=<>~!]\S*)? (?:is|are) available .{0,200}?no wheels", joined)
    found += re.findall(r"No matching distribution found for ([A-Za-z0-9][\w.-]*)", joined)
    return list(dict.fromkeys(found))
