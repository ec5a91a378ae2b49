# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a requirements file includes, and whether it names anything on disk. It resolves nothing."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

# The text of the file at a path below the top, or None where the release has no such file.
Read = t.Callable[[str], t.Optional[str]]
_INCLUDE = re.compile(r"(?:-r|-c|--requirement|--constraint)(?:\s*=\s*|\s+|(?<=-[rc]))(?P<path>\S.*)")
_EDITABLE = re.compile(r"(?:-e|--editable)(?:\s*=\s*|\s+)(?P<place>\S.*)")
_LINKS = re.compile(r"(?:-f|--find-links)(?:\s*=\s*|\s+)(?P<place>\S.*)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ARCHIVE = re.compile(r"\S+\.(?:whl|zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz)(?:\s*(?:;|--).*)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """files: {path below the top: text} of the file and all it includes. local: something in them is a path."""

    files: dict[str, str]
    local: bool


def read_requirements(path: str, read: Read) -> Requirements:
    """Follow the file's ``-r`` and ``-c``. Addresses are left to the installer.

    Raises WorkerError ``requirements_missing`` for an included file that the release has not.
    """
    files: dict[str, str] = {}
    local = False
    pending = [(path, "")]
    while pending:
        name, includer = pending.pop()
        if name in files:
            continue
        text = read(name) if not name.startswith(("/", "../")) else None
        if text is None:
            raise WorkerError(
                "requirements_missing",
                f"{includer} includes {name}, which is not part of the release.",
                "Put it into the worker directory, or take the line out.",
            )
        files[name] = text
        for line in logical_lines(text):
            included = included_path(line)
            if included is not None and not _SCHEME.match(included):
                pending.append((os.path.normpath(os.path.join(os.path.dirname(name), included)), name))
            local = local or is_local(line)
    return Requirements(files, local)


def logical_lines(text: str) -> list[str]:
    """Lines as an installer reads them: joined at a ``\\`` at the end, without comments and empty lines."""
    joined = re.sub(r"\\\r?\n", "", text)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def included_path(line: str) -> t.Optional[str]:
    """What the line includes (a path or an address), or None."""
    match = _INCLUDE.fullmatch(line)
    return match["path"].strip().strip("'\"") if match else None


def is_local(line: str) -> bool:
    """Whether the line names a file or directory that is to be installed, or searched for packages."""
    match = _EDITABLE.fullmatch(line) or _LINKS.fullmatch(line)
    if match:
        return _is_path(match["place"])
    if line.startswith("-"):
        return False
    _name, mark, place = line.partition(" @ ")
    if mark:
        return _is_path(place.strip())
    if line.startswith((".", "/", "~", "file:")):
        return True
    return not _SCHEME.search(line) and ("/" in line.split(";")[0] or bool(_ARCHIVE.fullmatch(line)))


def _is_path(place: str) -> bool:
    return place.startswith("file:") or not re.match(r"(?:[A-Za-z0-9]+\+)?" + _SCHEME.pattern, place)
