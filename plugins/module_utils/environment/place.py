# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where an environment is: its prefix, its link, its lock and its marks. Touches no disk."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import typing as t

from ..layout import Layout

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Place:
    """Either ``prefix``, exactly that path, or ``name`` below ``root``. cache: the directory of what is downloaded."""

    root: str
    cache: str
    name: t.Optional[str] = None
    prefix: t.Optional[str] = None

    @property
    def envs(self) -> str:
        return Layout(self.root).envs

    @property
    def link(self) -> t.Optional[str]:
        """The link for people; None for an exact prefix."""
        return os.path.join(self.envs, self.name) if self.name is not None else None

    @property
    def lock(self) -> str:
        """One lock for all builds of a name, because two runs must not choose the same build number."""
        key = self.link or self.prefix or ""
        return os.path.join(Layout(self.root).locks, f"env-{hashlib.sha256(key.encode()).hexdigest()[:16]}.lock")

    @property
    def cache_lock(self) -> str:
        """Lies in the cache, for a cache may serve several roots."""
        return os.path.join(self.cache, "conda.lock")

    def path(self, fingerprint: str, build: int) -> str:
        """The prefix of one build."""
        return self.prefix or os.path.join(self.envs, f"{self.name}-{fingerprint[:12]}-{build}")

    def scratch(self, path: str) -> str:
        """What the build of the prefix works in; gone when it has ended. Prefixes elsewhere may have the same last name."""
        digest = hashlib.sha256(path.encode()).hexdigest()[:12]
        return os.path.join(self.cache, "build", f"{os.path.basename(path)}-{digest}")

    def identifier(self, path: str) -> str:
        """How actions name a path: below the root where it is there."""
        relative = os.path.relpath(path, self.root)
        return path if relative.startswith("..") else relative

    def parse(self, entry: str) -> t.Optional[tuple[str, int]]:
        """(12 digits of the fingerprint, build) of a directory name below ``envs`` that is of this name, else None."""
        found = re.match(rf"^{re.escape(self.name or '')}-([0-9a-f]{{12}})-([1-9][0-9]*)$", entry)
        return (found.group(1), int(found.group(2))) if found else None


def is_name(name: str) -> bool:
    """Whether it can name an environment: no slash, blank, colon or hash, which shells and the conda family read otherwise."""
    return bool(_NAME.fullmatch(name)) and len(name) <= 100


def building_mark(path: str) -> str:
    """Beside the prefix, because some backends only create prefixes that do not exist. Present: ours, not complete, to be removed."""
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.building")


def record_path(path: str) -> str:
    """Not ``*.json``: the conda family takes each of those in conda-meta for a package."""
    return os.path.join(path, "conda-meta", "ew-worker-record")
