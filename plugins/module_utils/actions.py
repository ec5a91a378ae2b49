# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One tracker drives ``changed``, ``actions`` and ``diff``, so that the three cannot contradict each other.

Needs nothing of Ansible.
"""

from __future__ import annotations

import typing as t


class Actions:
    """What a module did, or would do in check mode, in order.

    An action is ``{"what": kind of object, "id": which one, "status": past participle}``, the same in check mode and
    for real; a difference is text or data before and after. ``changed`` follows from there being any action.
    """

    def __init__(self) -> None:
        self._actions: list[dict[str, str]] = []
        self._before: dict[str, t.Any] = {}
        self._after: dict[str, t.Any] = {}

    def add(self, what: str, identifier: str, status: str) -> None:
        """Record one action: ``add("instance", "ew-worker@0", "restarted")``."""
        self._actions.append({"what": what, "id": identifier, "status": status})

    def differ(self, name: str, before: t.Any, after: t.Any) -> None:
        """Record a difference of the object ``name``; equal sides are left out. Text of several lines becomes a list of them.

        Ansible shows these dictionaries as JSON, where a text would be one endless line.
        """
        if before == after:
            return
        if any("\n" in each for each in (before, after) if isinstance(each, str)):
            before, after = (each.splitlines() if isinstance(each, str) else each for each in (before, after))
        self._before[name] = before
        self._after[name] = after

    @property
    def changed(self) -> bool:
        return bool(self._actions)

    def as_result(self) -> dict[str, t.Any]:
        """``{"changed": bool, "actions": [...], "diff": {"before": {...}, "after": {...}}}``."""
        return {
            "changed": self.changed,
            "actions": list(self._actions),
            "diff": {"before": dict(self._before), "after": dict(self._after)},
        }
