# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is in a prefix of any tool, and what is broken in it. Reads files, starts no program, and believes nothing that it reads."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t

from .foreign import read_any, tool_of
from .record import Listing, list_prefix, normal_name, parse_meta, pip_packages, python_directory

# What a tool that was killed leaves in a prefix, from its top.
_LEFT = {
    ".condatmp": "was left by a conda that was killed",
    "conda-meta/conda-meta.lock": "is the lock of a micromamba that works now, or was killed",
}


@dataclasses.dataclass(frozen=True)
class Inventory:
    """tool: what made the prefix, None where nothing tells. packages: ``{"conda": [...], "pip": [...]}``. broken: ``{"path", "problem"}`` each."""

    tool: t.Optional[str]
    python: t.Optional[str]
    python_version: t.Optional[str]
    packages: dict[str, list[dict[str, str]]]
    broken: tuple[dict[str, str], ...]


def take_inventory(path: str) -> Inventory:
    """Never raises: what cannot be read is among the broken."""
    broken = _remains(path)
    records = []
    names = _listing(path, None).conda
    for name in names:
        record, problem = _record(os.path.join(path, "conda-meta", name), name)
        if record is not None:
            records.append(record)
        if problem:
            broken.append({"path": os.path.join(path, "conda-meta", name), "problem": problem})
        broken += _lost_files(path, name, record)
    if os.access(os.path.join(path, "conda-meta"), os.R_OK | os.X_OK, effective_ids=True) and not names:
        broken.append({"path": os.path.join(path, "conda-meta"), "problem": "has no record of any package"})
    library = python_directory(names)
    python = os.path.join(path, "bin", "python")
    return Inventory(
        tool_of(path),
        python if library is not None and os.path.lexists(python) else None,
        next((record["version"] for record in records if record["name"] == "python"), None),
        {
            "conda": [{key: record[key] for key in ("name", "version", "build", "channel")} for record in records],
            "pip": _pip(path, library, records),
        },
        tuple(broken),
    )


def _remains(path: str) -> list[dict[str, str]]:
    """What the prefix as a whole lacks, or has too much."""
    meta = os.path.join(path, "conda-meta")
    closed = [each for each in (path, meta) if os.path.lexists(each) and not os.access(each, os.R_OK | os.X_OK, effective_ids=True)]
    if closed and os.path.isdir(closed[0]):
        return [{"path": closed[0], "problem": "cannot be read by this account"}]
    if not os.path.isdir(meta):
        return [{"path": path, "problem": "has no conda-meta, so it is no environment"}]
    found = [{"path": os.path.join(path, name), "problem": problem} for name, problem in _LEFT.items() if os.path.lexists(os.path.join(path, name))]
    if not os.path.isfile(os.path.join(meta, "history")):
        found.append({"path": os.path.join(meta, "history"), "problem": "is missing, so conda takes this for no environment"})
    for name in _entries(meta):
        if name.endswith(".c~"):
            found.append({"path": os.path.join(meta, name), "problem": "was left by a removal that was killed"})
        elif name.startswith("prefix_record_"):
            found.append({"path": os.path.join(meta, name), "problem": "was left by a rattler that was killed"})
    return found


def _record(path: str, name: str) -> tuple[t.Optional[dict[str, t.Any]], str]:
    """The record with name, version, build, channel and files as they should be, and what is wrong with it. Its file's name stands in."""
    parts = parse_meta(name)
    text = read_any(path)
    if text is None:
        return _named(parts), "cannot be read"
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _named(parts), "is no valid JSON: it is empty, truncated or something else"
    keys = ("name", "version", "build")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) and data[key] for key in keys):
        return _named(parts), "is no record of a package"
    files = data.get("files")
    found = {key: data[key] for key in keys}
    found["channel"] = str(data.get("channel") or "")
    found["files"] = [each for each in files if isinstance(each, str)] if isinstance(files, list) else []
    return found, ""


def _named(parts: t.Optional[t.Mapping[str, str]]) -> t.Optional[dict[str, t.Any]]:
    return {**parts, "channel": "", "files": []} if parts is not None else None


def _lost_files(path: str, name: str, record: t.Optional[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    files = record["files"] if record is not None else []
    lost = [each for each in files if not os.path.lexists(os.path.join(path, each))]
    if not lost:
        return []
    return [{"path": os.path.join(path, "conda-meta", name), "problem": f"names {len(files)} files, of which {len(lost)} are gone, first {lost[0]}"}]


def _pip(path: str, library: t.Optional[str], records: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, str]]:
    """The Python packages that no record of conda's names: what an installer put in."""
    if library is None:
        return []
    directory = f"{library}/site-packages"
    owned = {each.split("/")[-2] for record in records for each in record["files"] if each.startswith(directory) and each.count("/") >= 4}
    owned_names = {normal_name(record["name"]) + f"-{record['version']}" for record in records if not record["files"]}
    listed = _listing(path, directory).pip
    packages = pip_packages([name for name in listed if name in owned], listed)
    return [package for package in packages if f"{package['name']}-{package['version']}" not in owned_names]


def _listing(path: str, site_packages: t.Optional[str]) -> Listing:
    try:
        return list_prefix(path, site_packages)
    except OSError:
        # Told by _remains.
        return Listing((), ())


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
