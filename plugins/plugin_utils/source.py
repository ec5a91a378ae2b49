# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at the source of a release: its layout, its content, its requirement files, and all that is wrong with it."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.environment_file import EnvironmentFile
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inputs import ENVIRONMENT, kind_of, parse_input
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Tree, parse_requirements, read_requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import FILE, LINK, Entry, scan, target_path
from ansible_collections.ew_ai.worker.plugins.plugin_utils.ignore import FILE_NAME, rules_of
from ansible_collections.ew_ai.worker.plugins.plugin_utils.origin import find_origin

FLAT, NESTED = "flat", "nested"
PACKAGE = "worker"
# A worker without this one has no packages of its own; any other name was given by somebody who means it.
DEFAULT_REQUIREMENTS = "requirements.txt"
_NOT_BELOW = ("it is not the path of a file in the worker directory", "Name it as seen from there.")


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a source is. All paths are below the release, as they will be on the host, except ``directory``.

    directory: the worker directory on the controller, absolute. layout: ``flat``, ``nested``, or empty where it is neither.
    failures: every reason why it cannot be deployed; with any, the other fields may be incomplete.
    requirements: path of the requirements file, or None. extra_files: {path as it was given: path} of the other files that the
    environment is built from. requirement_files: {path: text} of all of them and what they include. lock: the environment file,
    where it is one that locks packages, behind its path as it was given.
    """

    directory: str
    layout: str = ""
    entries: tuple[Entry, ...] = ()
    failures: tuple[WorkerError, ...] = ()
    warnings: tuple[str, ...] = ()
    requirements: t.Optional[str] = None
    requirement_files: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra_files: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    lock: t.Optional[tuple[str, EnvironmentFile]] = None

    @property
    def files(self) -> int:
        """How many files and links there are."""
        return sum(entry.kind in (FILE, LINK) for entry in self.entries)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(entry.size for entry in self.entries)

    def findings(self) -> list[dict[str, str]]:
        """The failures as ``worker_preflight`` reports them: ``{check, msg, remedy}``, the check being the failure's code."""
        return [{"check": failure.code, "msg": failure.message, "remedy": failure.remedy} for failure in self.failures]


def inspect_source(
    source: str, requirements_file: str = "requirements.txt", ignore: t.Sequence[str] = (), scratch: str = "", extra_files: t.Sequence[str] = ()
) -> Inspection:
    """Look at a directory, an archive or ``git+<url>@<ref>`` on the controller, and never raise WorkerError: failures are in what is returned.

    ignore: patterns beside the default ones and those of ``.workerignore``. scratch: where archives and repositories are unpacked,
    by default the temporary directory of this run of Ansible, which removes it at its end. extra_files: paths below the worker
    directory of environment files
    (``.yml``, ``.yaml``, ``.json``, and locks of any name) and constraint files.
    """
    try:
        origin = find_origin(source, scratch or default_scratch())
        if not os.path.isdir(origin.directory):
            raise WorkerError("source_missing", f"The worker directory {origin.directory} does not exist.", "Correct the path behind #subdirectory=.")
        try:
            rules = rules_of(origin.directory, ignore)
        except (OSError, UnicodeDecodeError) as error:
            raise WorkerError("unreadable", f"{os.path.join(origin.directory, FILE_NAME)} cannot be read as UTF-8: {error}.", "Correct it.") from None
    except WorkerError as error:
        return Inspection(source, failures=(error,))
    entries, problems = scan(origin.directory, rules, follow_outside=origin.trusted)
    return _judge(origin.directory, entries, problems, requirements_file, extra_files)


def default_scratch() -> str:
    """The directory that this run of Ansible shares among its processes and removes at its end."""
    from ansible import constants

    return str(t.cast("t.Any", constants).DEFAULT_LOCAL_TMP)


def _judge(directory: str, entries: list[Entry], problems: list[WorkerError], requirements_file: str, extra_files: t.Sequence[str]) -> Inspection:
    content = Content(entries)
    failures = list(problems)
    warnings: list[str] = []
    layout = content.layout()
    if not layout:
        failures.append(_neither(directory))
    files = _Files(directory, content, failures)
    name = os.path.normpath(requirements_file)
    if os.path.isabs(name) or name.split("/")[0] == ".." or "\0" in name:
        failures.append(OptionError("requirements_file", requirements_file, *_NOT_BELOW))
    elif content.find(name) is None and name == DEFAULT_REQUIREMENTS:
        warnings.append(f"{os.path.join(directory, name)} does not exist (or is left out): the worker gets no packages from a requirements file.")
    elif content.find(name) is None:
        text = f"{os.path.join(directory, name)} does not exist (or is left out), and requirements_file names it."
        failures.append(WorkerError("file_missing", text, "Create it, or correct requirements_file (worker_requirements_file)."))
    else:
        files.read(name)
    extra = {each: os.path.normpath(each) for each in extra_files}
    for given, path in extra.items():
        files.read_extra(given, path)
    prefix = f"{PACKAGE}/" if layout == FLAT else ""
    return Inspection(
        directory,
        layout,
        tuple(dataclasses.replace(entry, path=prefix + entry.path) for entry in entries),
        tuple(failures),
        tuple(warnings),
        prefix + name if name in files.texts else None,
        {prefix + path: text for path, text in files.texts.items()},
        {given: prefix + path for given, path in extra.items()},
        files.lock,
    )


class _Files:
    """The files that an environment is built from, read as the host will read them. texts: {path below the top: text}."""

    def __init__(self, directory: str, content: Content, failures: list[WorkerError]) -> None:
        self.directory = directory
        self.content = content
        self.failures = failures
        self.texts: dict[str, str] = {}
        self.lock: t.Optional[tuple[str, EnvironmentFile]] = None
        # Links are the content's matter: none leads out of it.
        self.tree = Tree(self._text, directory, real=lambda path: path, digest=self._digest, moves=True)

    def read(self, path: str) -> None:
        """A requirement file. What is wrong with it becomes a failure."""
        self._judge(lambda: read_requirements(os.path.join(self.directory, path), self.tree))

    def read_extra(self, given: str, path: str) -> None:
        """An environment file or a constraint file, by its path as the option has it and below the top."""
        full = os.path.join(self.directory, path)
        if os.path.isabs(path) or path.split("/")[0] in ("..", "."):
            self.failures.append(OptionError("extra_files", given, *_NOT_BELOW))
        elif self.content.find(path) is None:
            remedy = "Create it, or correct its name in extra_files (worker_environment_file, worker_constraints); see that no pattern leaves it out."
            self.failures.append(WorkerError("file_missing", f"{full} does not exist (or is left out), but the environment is to be built from it.", remedy))
        elif path.endswith((".yml", ".yaml", ".json")) or self._is_lock(path):
            self._judge(lambda: self._read_environment_file(given, full))
        else:
            self.read(path)

    def _is_lock(self, path: str) -> bool:
        try:
            return kind_of(self.content.text(path) or "") != ENVIRONMENT
        except WorkerError:
            return False

    def _read_environment_file(self, given: str, path: str) -> None:
        listed = parse_input(self._text(path) or "", path, None)
        if listed.locked:
            self.lock = (given, listed)
        parse_requirements(listed.pip, os.path.dirname(path), self.tree, path)

    def _judge(self, read: t.Callable[[], object]) -> None:
        try:
            read()
        except WorkerError as error:
            self.failures.append(error)

    def _text(self, path: str) -> t.Optional[str]:
        below = os.path.relpath(path, self.directory)
        text = self.content.text(below)
        if text is not None:
            self.texts[below] = text
        return text

    def _digest(self, path: str) -> t.Optional[str]:
        return "there" if self.content.exists(os.path.relpath(path, self.directory)) else None


def _neither(directory: str) -> WorkerError:
    package, flat = os.path.join(directory, PACKAGE, "main.py"), os.path.join(directory, "main.py")
    left_out = [path for path in (package, flat) if os.path.isfile(path)]
    why = f"; {left_out[0]} is there but left out by a pattern" if left_out else ""
    return WorkerError(
        "no_worker",
        f"{directory} is no worker directory: it has neither {PACKAGE}/main.py (a directory with the package) nor main.py (the package itself){why}.",
        "Let source (worker_dir) name the directory that holds one of them.",
    )


class Content:
    """Finds files among entries as the host will, through links too."""

    def __init__(self, entries: t.Iterable[Entry]) -> None:
        self._entries = {entry.path: entry for entry in entries}

    def find(self, path: str) -> t.Optional[Entry]:
        """The file at the path, or None."""
        entry = self._entries.get(self._resolved(path))
        return entry if entry is not None and entry.kind == FILE else None

    def exists(self, path: str) -> bool:
        """Whether there is a file or a directory at the path."""
        place = self._resolved(path)
        return place in (".", "") or place in self._entries or any(each.startswith(f"{place}/") for each in self._entries)

    def _resolved(self, path: str) -> str:
        for _step in range(40):
            link = self._link_on_the_way(path)
            if link is None:
                break
            path = os.path.normpath(os.path.join(target_path(link), os.path.relpath(path, link.path)))
        return path

    def _link_on_the_way(self, path: str) -> t.Optional[Entry]:
        names = path.split("/")
        ways = ("/".join(names[:count]) for count in range(1, len(names) + 1))
        return next((entry for way in ways if (entry := self._entries.get(way)) is not None and entry.kind == LINK), None)

    def layout(self) -> str:
        """Nested where both are there."""
        if self.find(f"{PACKAGE}/main.py"):
            return NESTED
        return FLAT if self.find("main.py") else ""

    def text(self, path: str) -> t.Optional[str]:
        """The file's text. Raises WorkerError ``unreadable``."""
        entry = self.find(path)
        if entry is None:
            return None
        try:
            with open(entry.source, encoding="utf-8-sig") as handle:
                return handle.read()
        except (OSError, UnicodeDecodeError) as error:
            raise WorkerError("unreadable", f"{entry.source} cannot be read as UTF-8: {error}.", "Correct it.") from None
