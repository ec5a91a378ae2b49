# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One conda package that a lock file names: nothing is left to a solver. Pure functions."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from .specs import split_address, strip_credentials

_FILE = re.compile(r"^(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)-(?P<version>[A-Za-z0-9_.+!]+)-(?P<build>[A-Za-z0-9_.+]+)(?:\.conda|\.tar\.bz2)$")
_SUBDIR = re.compile(r"^(?:noarch|[a-z]+-[a-z0-9_]+)$")
_HEXADECIMAL = {"md5": re.compile(r"^[0-9a-f]{32}$"), "sha256": re.compile(r"^[0-9a-f]{64}$")}


@dataclasses.dataclass(frozen=True)
class LockedPackage:
    """url: where it is, maybe with credentials, ``file://`` for a directory. sha256, md5: hexadecimal digits, empty where the lock has none."""

    url: str
    sha256: str = ""
    md5: str = ""

    @property
    def address(self) -> str:
        """The url without credentials."""
        return strip_credentials(self.url)

    @property
    def subdir(self) -> str:
        """The platform that it is for, or ``noarch``."""
        return self._path()[-2]

    @property
    def file(self) -> str:
        """Its name."""
        return self._path()[-1]

    @property
    def name(self) -> str:
        return self._part("name").lower()

    @property
    def version(self) -> str:
        return self._part("version")

    @property
    def is_verified(self) -> bool:
        """Whether the lock has a hash to check it against."""
        return bool(self.sha256 or self.md5)

    def _path(self) -> list[str]:
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path).split("/")

    def _part(self, part: str) -> str:
        found = _FILE.match(self._path()[-1])
        return found.group(part) if found else ""


def package_url(text: str) -> str:
    """The url of a package; an absolute path becomes one. Raises ValueError with what is wrong, as the rest of a sentence."""
    if re.search(r"[\s\x00-\x1f\x7f<>\"'`\\]", text):
        raise ValueError("has a blank or another character that no address has")
    url = f"file://{urllib.parse.quote(text)}" if text.startswith("/") and not text.startswith("//") else text
    parts = split_address(url)
    if parts is None or parts.scheme not in ("http", "https", "file"):
        raise ValueError("is no address (http, https, file) and no absolute path")
    if "$" in url:
        raise ValueError("has a variable in its address: write the address without it, and give credentials with the option channels")
    if parts.query or parts.fragment or (parts.scheme == "file") is bool(parts.netloc and parts.netloc != "localhost"):
        raise ValueError("is no address of a package")
    path = urllib.parse.unquote(parts.path).split("/")
    if ".." in path or "." in path or re.search(r"[\x00-\x1f\x7f]", parts.path + urllib.parse.unquote(parts.path)):
        raise ValueError("leads up or nowhere in its path")
    if not _FILE.match(path[-1]):
        raise ValueError("is no conda package: its last part must be <name>-<version>-<build>.conda or .tar.bz2")
    if len(path) < 2 or not _SUBDIR.match(path[-2]):
        raise ValueError("has no platform (linux-64, noarch …) in front of the file's name")
    return url


def hexadecimal(kind: str, text: str) -> str:
    """The digits of a hash, kind being md5 or sha256. Raises ValueError with what is wrong, as the rest of a sentence."""
    digits = text.lower()
    if not _HEXADECIMAL[kind].match(digits):
        raise ValueError(f"has {text[:80]!r} where the {kind} belongs, which is {32 if kind == 'md5' else 64} hexadecimal digits")
    return digits


def is_for(subdir: str, platform: t.Optional[str]) -> bool:
    """Whether a package for ``subdir`` runs on the platform (None: not known yet)."""
    return platform is None or subdir in (platform, "noarch")
