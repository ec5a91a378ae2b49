# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a complete environment says of itself, and whether that is still true: two listings against the record."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import WorkerError
from ..files import read_json, write_json
from .foreign import what_is
from .place import building_mark, record_path

RECORD_VERSION = 1
_META = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)\.json$")
_DIST = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")


@dataclasses.dataclass(frozen=True)
class Listing:
    """File names that stand for packages: ``conda-meta/*.json`` and ``site-packages/*.dist-info``, sorted."""

    conda: tuple[str, ...]
    pip: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Found:
    """One prefix on disk.

    state: ``absent`` (or an empty directory), ``complete`` (record is set), ``partial`` (ours, killed while it was
    built or removed) or ``foreign`` (what: in words). build: 0 for an exact prefix without a record.
    """

    path: str
    state: str
    build: int = 0
    record: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    drift: tuple[dict[str, str], ...] = ()
    what: str = ""

    @property
    def fingerprint(self) -> str:
        return str(self.record.get("fingerprint", ""))


def look(path: str, build: int = 0) -> Found:
    """Read one prefix: no child process, a few listings."""
    if os.path.lexists(building_mark(path)):
        # Whatever is in there: downloaded code may have written a record, or a link to another one's.
        return Found(path, "partial", build)
    if os.path.islink(path):
        # A prefix of ours is a directory: who follows a link may find, or remove, what is another's.
        return Found(path, "foreign", build, what=what_is(path))
    record = read_record(path)
    if record is not None:
        return Found(path, "complete", int(record["build"]), record, tuple(drift(record, list_prefix(path, record.get("site_packages")))))
    try:
        return Found(path, "foreign", build, what=what_is(path)) if os.listdir(path) else Found(path, "absent", build)
    except FileNotFoundError:
        return Found(path, "absent", build)
    except NotADirectoryError:
        return Found(path, "foreign", build, what=what_is(path))


def read_record(path: str) -> t.Optional[dict[str, t.Any]]:
    """The completion record, or None. Raises WorkerError ``broken_file``."""
    record = read_json(record_path(path))
    if record is None:
        return None
    if not isinstance(record, dict) or not {"fingerprint", "build", "listing"} <= set(record) or record.get("version") != RECORD_VERSION:
        remedy = f"Remove the environment, then run again: rm -r {path}"
        raise WorkerError("broken_file", f"{record_path(path)} is not a record of this version.", remedy, path=record_path(path))
    return record


def write_record(path: str, record: t.Mapping[str, t.Any]) -> None:
    """Make the environment complete. Nothing in the prefix is written after this."""
    write_json(record_path(path), {**record, "version": RECORD_VERSION})


def list_prefix(path: str, site_packages: t.Optional[str]) -> Listing:
    """The two listings. site_packages: relative to the prefix, or None where there is no Python."""
    return Listing(_names(os.path.join(path, "conda-meta"), ".json"), _names(os.path.join(path, site_packages), ".dist-info") if site_packages else ())


def drift(record: t.Mapping[str, t.Any], found: Listing) -> list[dict[str, str]]:
    """What differs from the record, package by package: ``{"kind", "name", "problem", "recorded", "found"}``.

    kind is conda or pip, problem missing, added or changed; recorded and found are versions, empty where there is none.
    """
    listing = record["listing"]
    return [
        *_compare("conda", _versions(listing["conda"], _META), _versions(found.conda, _META)),
        *_compare("pip", _versions(listing["pip"], _DIST), _versions(found.pip, _DIST)),
    ]


def describe(difference: t.Mapping[str, str]) -> str:
    """``numpy 1.26.4 is missing (pip)``."""
    words = {
        "missing": f"{difference['recorded']} is missing",
        "added": f"{difference['found']} was added",
        "changed": f"{difference['recorded']} became {difference['found']}",
    }
    return f"{difference['name']} {words[difference['problem']]} ({difference['kind']})"


def pip_packages(before: t.Sequence[str], after: t.Sequence[str]) -> list[dict[str, str]]:
    """What the installer put in: the dist-info names of ``after`` that ``before`` has not."""
    found = [_DIST.match(name) for name in sorted(set(after) - set(before))]
    return [{"name": normal_name(each.group("name")), "version": each.group("version")} for each in found if each]


def normal_name(name: str) -> str:
    """The name of a Python package as indexes compare it: ``typing-extensions`` for ``Typing_Extensions``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_meta(name: str) -> t.Optional[dict[str, str]]:
    """Name, version and build of a package from the name of its record, or None."""
    parts = _META.match(name)
    return parts.groupdict() if parts else None


def python_directory(conda_listing: t.Sequence[str]) -> t.Optional[str]:
    """``lib/python3.11`` from the name of Python's own record, or None where there is no Python."""
    for name in conda_listing:
        found = re.match(r"^python-(\d+)\.(\d+)[^-]*-[^-]+\.json$", name)
        if found:
            return f"lib/python{found.group(1)}.{found.group(2)}"
    return None


def _names(directory: str, suffix: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(name for name in os.listdir(directory) if name.endswith(suffix)))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _versions(names: t.Iterable[str], pattern: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        parts = pattern.match(name)
        if parts is None:
            found[name] = "?"
        elif "build" in parts.groupdict():
            found[parts.group("name")] = f"{parts.group('version')}-{parts.group('build')}"
        else:
            found[normal_name(parts.group("name"))] = parts.group("version")
    return found


def _compare(kind: str, recorded: t.Mapping[str, str], found: t.Mapping[str, str]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for name in sorted(recorded.keys() | found.keys()):
        before, after = recorded.get(name, ""), found.get(name, "")
        if before != after:
            problem = "missing" if not after else "added" if not before else "changed"
            rows.append({"kind": kind, "name": name, "problem": problem, "recorded": before, "found": after})
    return rows
