# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which prefixes of a place are on disk."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .place import Place
from .record import Found, look


def is_our_link(place: Place) -> bool:
    """Whether what has the environment's name is the link to one of its builds, there or not."""
    if place.link is None or not os.path.islink(place.link):
        return False
    directory, name = os.path.split(os.readlink(place.link))
    return place.parse(name) is not None and directory in ("", place.envs)


def find(place: Place, reader: t.Callable[[str, int], Found] = look) -> list[Found]:
    """Every prefix of the place: the exact one (also when absent), or all builds of the name that exist."""
    if place.prefix is not None:
        return [reader(place.prefix, 0)]
    found: list[Found] = []
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(os.listdir(place.envs)):
            # A killed run may have left nothing but its mark.
            bare = entry[1 : -len(".building")] if entry.startswith(".") and entry.endswith(".building") else entry
            parsed = place.parse(bare)
            path = os.path.join(place.envs, bare)
            if parsed is not None and all(each.path != path for each in found):
                found.append(reader(path, parsed[1]))
    return found
