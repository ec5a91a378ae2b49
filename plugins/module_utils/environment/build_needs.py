# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What local packages say that they need, to be built and to run: read from their ``pyproject.toml``, without running anything of theirs."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import tarfile
import typing as t

_LARGEST = 1 << 20
# Names and versions alone: an option or an address in there is not ours to follow.
_PLAIN = re.compile(r"[A-Za-z0-9][^@\x00-\x1f]*")


@dataclasses.dataclass(frozen=True)
class Needs:
    """Requirements. known: whether all that it needs to run is among them, and not found out by building it."""

    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    known: bool = False


def needs_of(path: str) -> Needs:
    """Of a directory, or an archive made of one. Nothing where it does not say."""
    try:
        data = _toml().loads(_project_file(path))
    except (ImportError, OSError, ValueError, tarfile.TarError):
        return Needs()
    system, project = (table if isinstance(table, dict) else {} for table in (data.get("build-system"), data.get("project")))
    dynamic = project.get("dynamic")
    known = bool(project) and not (isinstance(dynamic, list) and "dependencies" in dynamic)
    return Needs(_plain(system.get("requires")), _plain(project.get("dependencies")), known)


def _plain(rows: t.Any) -> tuple[str, ...]:
    return tuple(row for row in rows if isinstance(row, str) and _PLAIN.fullmatch(row)) if isinstance(rows, list) else ()


def _project_file(path: str) -> str:
    if os.path.isdir(path):
        with open(os.path.join(path, "pyproject.toml"), encoding="utf-8") as handle:
            return handle.read(_LARGEST)
    with tarfile.open(path) as archive:
        for member in archive:
            if re.fullmatch(r"(?:\./)?[^/]+/pyproject\.toml", member.name) and member.isfile() and member.size <= _LARGEST:
                return t.cast("t.IO[bytes]", archive.extractfile(member)).read().decode()
    return ""


def _toml() -> t.Any:
    # Python has it from 3.11 on, and pip, which fetches wheels here, brings one along.
    try:
        return importlib.import_module("tomllib")
    except ImportError:
        return importlib.import_module("pip._vendor.tomli")
