# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Building one environment, step by step, at its final path: complete at the end, or gone."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import shutil
import stat
import typing as t

from ..errors import WorkerError
from ..files import locked, write_json, write_text
from ..progress import Progress
from ..run import Completed, check, clean_environment, run
from .activation import ACTIVATE, base_activation, declared_variables, evaluated, has_scripts
from .backends import Backend, CreateRequest, Detected, make_backend
from .content import Content
from .indexes import Indexes, without_missing
from .installers import Installer, check_fit, choose_installer, failure, problems
from .leftovers import adopt, end_adopted
from .ownership import build_identity, give, lend, own_directory, refuse_detours, take_back
from .place import Place, building_mark, record_path
from .record import list_prefix, pip_packages, python_directory, write_record
from .sources import Sources, write_sources

# A Python without these cannot install or serve anything.
PROBE = "import ctypes, hashlib, ssl, zlib, sys; print('.'.join(map(str, sys.version_info[:3])))"
FROZEN = {"message": "This environment is complete and never changed: deploy again to build the next one."}


@dataclasses.dataclass(frozen=True)
class Means:
    """How to build, as against what: nothing in here goes into the fingerprint. Times in seconds."""

    backend: str
    indexes: Indexes
    build_user: t.Optional[str]
    offline: bool
    lock_timeout: float
    timeout: float


def build(place: Place, content: Content, fingerprint: str, path: str, number: int, means: Means, progress: Progress) -> None:
    """Build the environment at ``path``, which must not exist or be empty; the caller holds the environment's lock.

    Raises WorkerError; then nothing is left at ``path``.
    """
    identity = build_identity(means.build_user)
    backend = make_backend(means.backend)
    detected = backend.detect()
    chosen = choose_installer(content.installer)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_json(building_mark(path), {"fingerprint": fingerprint, "build": number, "pid": os.getpid()})
        with _scratch(place, path) as scratch:
            _Build(place, content, path, means, identity, scratch, progress).work(backend, detected, chosen, fingerprint, number)
        os.unlink(building_mark(path))
    except BaseException as error:
        # The mark stays where even that fails, and the next run removes the rest.
        with contextlib.suppress(OSError):
            remove_prefix(path)
        if isinstance(error, OSError):
            raise _translated(error) from None
        raise


def remove_prefix(path: str) -> None:
    """Remove a prefix of ours so that a kill on the way leaves it recognisable as ours and not complete."""
    if not os.path.lexists(building_mark(path)):
        write_json(building_mark(path), {})
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(record_path(path))
    if os.path.lexists(path):
        shutil.rmtree(path)
    os.unlink(building_mark(path))


class _Build:
    def __init__(
        self, place: Place, content: Content, path: str, means: Means, identity: t.Optional[tuple[int, int]], scratch: str, progress: Progress
    ) -> None:
        self.place = place
        self.content = content
        self.path = path
        self.means = means
        self.identity = identity
        self.user = means.build_user if identity is not None else None
        self.scratch = scratch
        self.progress = progress
        self.python = os.path.join(path, "bin", "python")

    def work(self, backend: Backend, detected: Detected, chosen: tuple[str, str], fingerprint: str, number: int) -> None:
        conda = self._create(backend, tuple(self.content.conda_specs(chosen[0])))
        library = python_directory(list_prefix(self.path, None).conda)
        site_packages = f"{library}/site-packages" if library is not None else None
        before = list_prefix(self.path, site_packages)
        sources = write_sources(self.content, os.path.join(self.scratch, "sources"), os.environ)
        if self.identity is not None:
            adopt()
            give(self.scratch, self.identity)
            lend(self.path, self.identity)
        self._post_link(conda)
        if self.content.wants_pip:
            self._install(chosen, sources)
        version = self._verify_python() if library is not None else None
        if library is not None:
            self._compile(library)
        if self.identity is not None:
            self.progress("hand over to root")
            # One that still has a file open could change it for ever.
            end_adopted(self.identity[0])
            take_back(self.path)
        refuse_detours(self.path)
        activation = self._activation()
        self._freeze()
        after = list_prefix(self.path, site_packages)
        write_record(
            self.path,
            {
                "fingerprint": fingerprint,
                "build": number,
                "name": self.place.name,
                "created_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
                "backend": dataclasses.asdict(detected),
                "installer": chosen[0] if self.content.wants_pip else None,
                "python": self.python if library is not None else None,
                "python_version": version,
                "site_packages": site_packages,
                "packages": {"conda": conda, "pip": pip_packages(before.pip, after.pip)},
                "activation": activation,
                "listing": dataclasses.asdict(after),
            },
        )

    def _create(self, backend: Backend, specs: tuple[str, ...]) -> list[dict[str, str]]:
        cache = os.path.join(self.place.cache, "conda")
        os.makedirs(cache, exist_ok=True)
        request = CreateRequest(
            prefix=self.path,
            specs=specs,
            channels=self.content.channels,
            platform=self.content.platform,
            cache=cache,
            scratch=self.scratch,
            offline=self.means.offline,
            timeout=self.means.timeout,
        )
        # Two creates over one cold cache corrupt each other's packages.
        with locked(self.place.cache_lock, self.means.lock_timeout, "the package cache"):
            return backend.create(request, self.progress)

    def _post_link(self, conda: t.Sequence[t.Mapping[str, str]]) -> None:
        for package in conda:
            script = os.path.join(self.path, "bin", f".{package['name']}-post-link.sh")
            if not os.path.exists(script):
                continue
            self.progress(f"post-link {package['name']}")
            number = package["build"].rsplit("_", 1)[-1]
            variables = {"PREFIX": self.path, "PKG_NAME": package["name"], "PKG_VERSION": package["version"], "PKG_BUILDNUM": number}
            remedy = f"A script of the package {package['name']} failed: leave the package out, or pin another build."
            check(self._run(["/bin/sh", script], variables), "build_failed", remedy)

    def _install(self, chosen: tuple[str, str], sources: Sources) -> None:
        name, program = chosen
        self.progress(f"install the requirements with {name}")
        cache = own_directory(os.path.join(self.place.cache, name), self.identity)
        installer = Installer(name, program, self.python, cache, self.means.offline, without_missing(self.means.indexes))
        # conda's own packages may lack what these checks want to see: only what the requirements add counts.
        before = problems(self._run(installer.verify(), installer.variables()))
        done = self._run(installer.install(sources.requirements, sources.constraints), installer.variables())
        if done.rc != 0:
            raise failure(done, "Installing the requirements")
        check_fit(before, self._run(installer.verify(), installer.variables()))
        self.progress("the installed packages fit together")

    def _verify_python(self) -> str:
        self.progress("verify python")
        done = check(self._run([self.python, "-I", "-c", PROBE], {}), "verify_failed", "The channel's Python does not work on this host: see its last lines.")
        return done.stdout.strip()

    def _compile(self, library: str) -> None:
        self.progress("compile bytecode")
        # Its status is 1 for any file that is not for this Python (test data, templates): only a missing result would matter.
        self._run([self.python, "-I", "-m", "compileall", "-q", "-j", "0", os.path.join(self.path, library)], {})

    def _activation(self) -> dict[str, str]:
        state = os.path.join(self.path, "conda-meta", "state")
        if self.content.variables:
            write_json(state, {"env_vars": dict(self.content.variables)})
        base = {**declared_variables(self.path), **base_activation(self.path, self.place.name)}
        if not has_scripts(self.path):
            return base
        self.progress("evaluate activate.d")
        shell = shutil.which("bash") or "/bin/sh"
        start = {**clean_environment(), **self._own_variables(), **base, "CONDA_SHLVL": "1"}
        done = run([shell, "-c", ACTIVATE, self.path], start, cwd=self.scratch, timeout=self.means.timeout, user=self.user)
        check(done, "build_failed", "A package's activation script failed: leave the package out, or pin another build.")
        return {**base, **evaluated(start, done.stdout)}

    def _freeze(self) -> None:
        """Set modes that rattler chooses by itself (records for their owner alone, commands for their group), and the mark."""
        meta = os.path.join(self.path, "conda-meta")
        for directory in (meta, os.path.join(self.path, "bin")):
            for name in os.listdir(directory) if os.path.isdir(directory) else ():
                path = os.path.join(directory, name)
                status = os.lstat(path)
                # One with a second name is the package cache's, too.
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                    os.chmod(path, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
        write_text(os.path.join(meta, "frozen"), json.dumps(FROZEN) + "\n")

    def _own_variables(self) -> dict[str, str]:
        return {"HOME": os.path.join(self.scratch, "home"), "TMPDIR": os.path.join(self.scratch, "tmp")}

    def _run(self, argv: t.Sequence[str], variables: t.Mapping[str, str]) -> Completed:
        base = base_activation(self.path, self.place.name)
        return run(argv, clean_environment({**base, **self._own_variables(), **variables}), cwd=self.scratch, timeout=self.means.timeout, user=self.user)


@contextlib.contextmanager
def _scratch(place: Place, path: str) -> t.Iterator[str]:
    """A directory on the cache's disk: builds of big packages do not fit into a small /tmp. What a killed run left goes first."""
    scratch = place.scratch(path)
    os.makedirs(os.path.dirname(scratch), exist_ok=True)
    if os.path.lexists(scratch):
        shutil.rmtree(scratch)
    for name in ("", "home", "tmp", "sources"):
        os.mkdir(os.path.join(scratch, name), 0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _translated(error: OSError) -> WorkerError:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkerError("disk_full", f"There is no space left{where}.", "Free space or inodes (df -h; df -i), then run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        remedy = "Run it with the rights it needs (become: true), or choose another root."
        return WorkerError("not_writable", f"The operating system refused: {error.strerror}{where}.", remedy)
    return WorkerError("os_error", f"The operating system refused: {error.strerror}{where}.", "Look at that path.")
