# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""conda-lock.yml (version 1, for several platforms in one file), as conda-lock writes it, read strictly. Pure functions."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t
import urllib.parse

from ..errors import WorkerError
from .locked import LockedPackage, hexadecimal, is_for, package_url
from .plain_yaml import Mapping, NotPlain, read_plain_yaml

# The category whose packages are installed; the others are for development and extras.
CATEGORY = "main"
_TEXTS = ("name", "version", "manager", "platform", "url")
_KEYS = {*_TEXTS, "hash", "category", "optional", "dependencies", "source", "build"}
_PIP_NAME = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$")
_PIP_VERSION = re.compile(r"^[A-Za-z0-9.!+_-]+$")
# Where what is on the Python Package Index lies. A host may have a mirror of it: such packages are asked for by name.
_PIP_FILES = "files.pythonhosted.org"
_REMEDY = "Write it anew with conda-lock, and do not edit it."


@dataclasses.dataclass(frozen=True)
class CondaLock:
    """pip: lines of a requirement file, each with its hash."""

    packages: tuple[LockedPackage, ...]
    pip: tuple[str, ...]


def parse_conda_lock(text: str, path: str, platform: t.Optional[str]) -> CondaLock:
    """What the file has for the platform in the category ``main``; platform None: whatever it has, in order to judge it.

    Raises WorkerError ``broken_file``, ``unsupported_file`` or ``wrong_platform`` with path and, but for JSON, line.
    """
    rows = _rows(text, path)
    chosen: dict[tuple[str, str, str], Mapping] = {}
    platforms = set()
    for row in rows:
        try:
            _check(row)
            platforms.add(row["platform"])
            key = (row["manager"], row["name"].lower(), row["platform"])
            if row.get("category", CATEGORY) != CATEGORY or not is_for(row["platform"], platform):
                continue
            if key in chosen:
                raise ValueError(f"names {row['name']} for {row['platform']} again, which line {chosen[key].line} has")
            chosen[key] = row
        except ValueError as error:
            raise _broken(path, row, str(error)) from None
    if not chosen:
        there = f"packages for {', '.join(sorted(platforms))}" if platforms else "no package at all"
        raise WorkerError(
            "wrong_platform" if platforms else "broken_file",
            f"{path} has {there}, and none of the category {CATEGORY} for {platform or 'any platform'}.",
            f"Lock for this host's platform, too: conda-lock --platform {platform or 'linux-64'}",
            path=path,
        )
    return CondaLock(tuple(_convert(chosen.values(), "conda", _package, path)), tuple(_convert(chosen.values(), "pip", _requirement, path)))


def _rows(text: str, path: str) -> list[Mapping]:
    """The rows of ``package``."""
    try:
        data = _json(text) if text.lstrip().startswith("{") else read_plain_yaml(text, skipped=("metadata",))
    except NotPlain as error:
        raise WorkerError("broken_file", f"{path}, line {error.line} {error}.", _REMEDY, path=path, line=error.line) from None
    except (ValueError, RecursionError) as error:
        raise WorkerError("broken_file", f"{path} begins like JSON, but is none: {error}.", _REMEDY, path=path) from None
    if str(data.get("version")) != "1":
        problem = f"has the version {str(data.get('version'))[:20]!r}" if "version" in data else "names no version"
        raise WorkerError("unsupported_file", f"{path} is no conda-lock file of version 1: it {problem}.", "Write it with conda-lock 1.0 or newer.", path=path)
    unknown = sorted(set(data) - {"version", "metadata", "package"})
    rows = data.get("package")
    if unknown or not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        problem = f"has the unknown key {unknown[0]!r}" if unknown else "has no list of packages below 'package:'"
        raise WorkerError("broken_file", f"{path} {problem}.", _REMEDY, path=path)
    return rows


def _json(text: str) -> Mapping:
    return t.cast("Mapping", json.loads(text, object_hook=Mapping))


def _check(row: Mapping) -> None:
    """Raises ValueError."""
    unknown = sorted(set(row) - _KEYS)
    if unknown:
        raise ValueError(f"has the unknown key {unknown[0]!r}")
    for key in _TEXTS:
        if not isinstance(row.get(key), str) or not row[key]:
            raise ValueError(f"has no text for {key!r}")
    if row["manager"] not in ("conda", "pip"):
        raise ValueError(f"has the manager {row['manager'][:20]!r}, which is neither conda nor pip")
    if not isinstance(row.get("category", CATEGORY), str):
        raise ValueError("has no text for 'category'")
    hashes = row.get("hash")
    if not isinstance(hashes, dict) or set(hashes) - {"md5", "sha256"} or not all(each is None or isinstance(each, str) for each in hashes.values()):
        raise ValueError("has something else than md5 and sha256 for 'hash'")


def _convert(rows: t.Iterable[Mapping], manager: str, convert: t.Callable[[Mapping], t.Any], path: str) -> list[t.Any]:
    found = []
    for row in rows:
        if row["manager"] == manager:
            try:
                found.append(convert(row))
            except ValueError as error:
                raise _broken(path, row, f"({row['name'][:80]}) {error}") from None
    return found


def _hash(row: Mapping, kind: str) -> str:
    text = row["hash"].get(kind)
    return hexadecimal(kind, text) if text else ""


def _package(row: Mapping) -> LockedPackage:
    """Raises ValueError."""
    package = LockedPackage(package_url(row["url"]), _hash(row, "sha256"), _hash(row, "md5"))
    if (package.name, package.version) != (row["name"].lower(), row["version"]):
        raise ValueError(f"says {row['version'][:40]!r}, but its address is that of {package.name} {package.version}")
    if not is_for(package.subdir, row["platform"]):
        raise ValueError(f"is for {row['platform'][:40]}, but its address is that of a package for {package.subdir}")
    return package


def _requirement(row: Mapping) -> str:
    """The line for pip or uv. Raises ValueError."""
    if not _PIP_NAME.match(row["name"]) or not _PIP_VERSION.match(row["version"]):
        raise ValueError("has no name or version that a Python package can have")
    try:
        parts = urllib.parse.urlsplit(row["url"])
    except ValueError:
        raise ValueError("has no address") from None
    if parts.scheme not in ("http", "https") or re.search(r"[\s$#;\x00-\x1f]", row["url"]):
        raise ValueError("has no address of a file (http, https), which alone can be checked against its hash")
    digits = _hash(row, "sha256")
    if not digits:
        raise ValueError("has no sha256, so what pip installs could not be checked")
    if parts.hostname == _PIP_FILES:
        return f"{row['name']}=={row['version']} --hash=sha256:{digits}"
    return f"{row['name']} @ {row['url']} --hash=sha256:{digits}"


def _broken(path: str, row: Mapping, problem: str) -> WorkerError:
    place = f", line {row.line}" if row.line else ""
    return WorkerError("broken_file", f"{path}{place}: the package {problem}.", _REMEDY, path=path, line=row.line)
