# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look at the source of a release: its layout, its content, its requirement files, and all that is wrong with it."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import FILE, LINK, Entry, scan, target_path
from ansible_collections.ew_ai.worker.plugins.plugin_utils.ignore import FILE_NAME, rules_of
from ansible_collections.ew_ai.worker.plugins.plugin_utils.origin import find_origin
from ansible_collections.ew_ai.worker.plugins.plugin_utils.requirements import Requirements, read_requirements

FLAT, NESTED = "flat", "nested"
PACKAGE = "worker"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a source is. All paths are below the release, as they will be on the host, except ``directory``.

    directory: the worker directory on the controller, absolute. layout: ``flat``, ``nested``, or empty where it is neither.
    failures: every reason why it cannot be deployed; with any, the other fields may be incomplete.
    requirements: path of the requirements file, or None. requirement_files: {path: text} of it and what it includes.
    """

    directory: str
    layout: str = ""
    entries: tuple[Entry, ...] = ()
    failures: tuple[WorkerError, ...] = ()
    warnings: tuple[str, ...] = ()
    requirements: t.Optional[str] = None
    requirement_files: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    local_requirements: bool = False

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


def inspect_source(source: str, requirements_file: str = "requirements.txt", ignore: t.Sequence[str] = (), scratch: str = "") -> Inspection:
    """Look at a directory, an archive or ``git+<url>@<ref>`` on the controller, and never raise WorkerError: failures are in what is returned.

    ignore: patterns beside the default ones and those of ``.workerignore``. scratch: where archives and repositories are unpacked,
    by default the temporary directory of this run of Ansible, which removes it at its end.
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
    return _judge(origin.directory, entries, problems, requirements_file)


def default_scratch() -> str:
    """The directory that this run of Ansible shares among its processes and removes at its end."""
    from ansible import constants

    return str(t.cast("t.Any", constants).DEFAULT_LOCAL_TMP)


def _judge(directory: str, entries: list[Entry], problems: list[WorkerError], requirements_file: str) -> Inspection:
    content = Content(entries)
    failures = list(problems)
    warnings: list[str] = []
    layout = content.layout()
    if not layout:
        failures.append(_neither(directory))
    found = Requirements({}, False)
    name = os.path.normpath(requirements_file)
    if content.find(name) is None:
        warnings.append(f"{os.path.join(directory, name)} does not exist (or is left out): the worker gets no packages from a requirements file.")
    else:
        try:
            found = read_requirements(name, content.text)
        except WorkerError as error:
            failures.append(error)
    prefix = f"{PACKAGE}/" if layout == FLAT else ""
    return Inspection(
        directory,
        layout,
        tuple(dataclasses.replace(entry, path=prefix + entry.path) for entry in entries),
        tuple(failures),
        tuple(warnings),
        prefix + name if name in found.files else None,
        {prefix + path: text for path, text in found.files.items()},
        found.local,
    )


def _neither(directory: str) -> WorkerError:
    package, flat = os.path.join(directory, PACKAGE, "main.py"), os.path.join(directory, "main.py")
    left_out = [path for path in (package, flat) if os.path.isfile(path)]
    why = f"; {left_out[0]} is there but left out by a pattern" if left_out else ""
    return WorkerError(
        "no_worker",
        f"{directory} is no worker directory: it has neither {PACKAGE}/main.py (a directory with the package) nor main.py (the package itself){why}.",
        "Name the directory that holds one of them.",
    )


class Content:
    """Finds files among entries as the host will, through links too."""

    def __init__(self, entries: t.Iterable[Entry]) -> None:
        self._entries = {entry.path: entry for entry in entries}

    def find(self, path: str) -> t.Optional[Entry]:
        """The file at the path, or None."""
        for _step in range(40):
            entry = self._entries.get(path)
            if entry is not None and entry.kind == FILE:
                return entry
            link = self._link_on_the_way(path)
            if link is None:
                return None
            path = os.path.normpath(os.path.join(target_path(link), os.path.relpath(path, link.path)))
        return None

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
