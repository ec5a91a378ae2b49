# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Builds that somebody who knows what is needed does not need: told by their age, and removed under the lock of their name.

Needs nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ..errors import WorkerError
from ..files import locked
from ..layout import Layout
from .leftovers import end_orphans
from .place import Place, building_mark, record_path
from .prefixes import find
from .record import Found

_BUILD = re.compile(r"(?P<name>.+)-[0-9a-f]{12}-[1-9][0-9]*")


def name_of(path: str) -> t.Optional[str]:
    """The name of the environment whose build lies there, or None for what is no build."""
    match = _BUILD.fullmatch(os.path.basename(path))
    return match["name"] if match else None


def older_than(root: str, name: str, moment: float) -> list[str]:
    """The builds of the name that were completed, or given up, before the moment (seconds since the epoch); not the one that is linked."""
    place = _place(root, name=name)
    linked = os.path.realpath(place.link or "")
    return [each.path for each in find(place) if _moment(each) < moment and os.path.realpath(each.path) != linked]


def _moment(found: Found) -> float:
    told = {"complete": record_path, "partial": building_mark}.get(found.state)
    return os.stat(told(found.path)).st_mtime if told is not None else float("inf")


def remove(root: str, path: str) -> bool:
    """Remove the build and a link that leads to it; False where somebody builds one of that name at this moment."""
    # A run that prunes nothing needs none of what builds.
    from .build import remove_prefix

    name = name_of(path)
    place = _place(root, name=name) if name is not None else _place(root, prefix=path)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(place.lock, 0, f"environment {place.identifier(path)}"))
        except WorkerError:
            return False
        if os.path.lexists(building_mark(path)):
            end_orphans(place.scratch(path))
        if place.link is not None and os.path.realpath(place.link) == os.path.realpath(path):
            os.unlink(place.link)
        remove_prefix(path)
    return True


def _place(root: str, name: t.Optional[str] = None, prefix: t.Optional[str] = None) -> Place:
    return Place(root, Layout(root).cache, name, prefix)
