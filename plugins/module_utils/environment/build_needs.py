# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What local packages say that they need, to be built and to run: read from their ``pyproject.toml``, without running anything of theirs."""

from __future__ import annotations

import dataclasses
import importlib
import lzma
import os
import re
import tarfile
import typing as t
import zlib

_LARGEST = 1 << 20
# Names and versions alone: an option or an address in there is not ours to follow.
_PLAIN = re.compile(r"[A-Za-z0-9][^@\x00-\x1f]*")


@dataclasses.dataclass(frozen=True)
class Needs:
    """Requirements. known: whether all that it needs to run is among them, and not found out by building it. name: normalised, as PEP 503 says."""

    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    known: bool = False
    name: str = ""


def needs_of(path: str, extras: t.Collection[str] = ()) -> Needs:
    """Of a directory, or an archive made of one. Nothing where it does not say. extras: those of its own that are asked for, normalised."""
    try:
        data = _toml().loads(_project_file(path))
    except (ImportError, OSError, ValueError, EOFError, RecursionError, tarfile.TarError, lzma.LZMAError, zlib.error):
        return Needs(name=_named(path))
    system, project, optional = map(_table, (data.get("build-system"), data.get("project"), _table(data.get("project")).get("optional-dependencies")))
    dynamic, by_extra = project.get("dynamic"), {normalised(name): rows for name, rows in optional.items()}
    wanted = [project.get("dependencies"), *(by_extra.get(extra) for extra in extras)]
    run = tuple(row for rows in wanted for row in _plain(rows))
    told = bool(project) and not (isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & set(map(str, dynamic)))
    # An address is left out, and so is an extra that nobody knows.
    whole = len(run) == sum(len(rows) for rows in wanted if isinstance(rows, list)) and set(extras) <= set(by_extra)
    return Needs(_plain(system.get("requires")), run, told and whole, normalised(project.get("name")) or _named(path))


def name_in(row: str) -> str:
    """The normalised name of what a requirement asks for."""
    found = re.match(r"[A-Za-z0-9._-]+", row)
    return normalised(found.group()) if found else ""


def normalised(name: t.Any) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", str(name or "")).strip("-").lower()


def extras_in(text: str) -> list[str]:
    """The extras, normalised, that a requirement asks for: ``./service[gpu,web]``, ``service[gpu]>=2``."""
    found = re.search(r"\[([^\[\]]*)\](?:\s*(?:[@;<>=!~(]|$))", text)
    return [normalised(each.strip()) for each in found.group(1).split(",") if each.strip()] if found else []


def _named(path: str) -> str:
    # Where it does not say so itself: as its directory or its archive is called.
    return normalised(re.sub(r"-[0-9][^-]*\.(tar\..*|tgz|zip)$", "", os.path.basename(path)))


def _table(value: t.Any) -> dict[str, t.Any]:
    return value if isinstance(value, dict) else {}


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
