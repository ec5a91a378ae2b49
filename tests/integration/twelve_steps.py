# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Twelve steps for every module with a state: create, modify and delete, each twice, each in check mode and then for real."""

from __future__ import annotations

import itertools
import typing as t

from tests.figures import tell

Args = t.Mapping[str, t.Any]
Action = t.Mapping[str, str]
Run = t.Callable[[Args, bool], dict[str, t.Any]]


def action(what: str, identifier: str, status: str) -> dict[str, str]:
    """One entry of a module's ``actions``."""
    return {"what": what, "id": identifier, "status": status}


HEADING = f"{'step':10}{'mode':6}changed: expected | found, then actions: expected | found"


class Row(t.NamedTuple):
    """One step: what was expected and what the module said."""

    step: str
    check: bool
    expected: list[Action]
    found_changed: t.Any
    found: t.Any
    problem: str


def twelve_steps(
    run: Run,
    steps: t.Mapping[str, tuple[Args, t.Sequence[Action]]],
    after: t.Optional[t.Callable[[str, bool, dict[str, t.Any]], None]] = None,
) -> list[Row]:
    """Run the twelve steps, tell one row for each, and fail when a row differs.

    steps: ``{"create": (args, expected actions), "modify": …, "delete": …}``; the repeated steps expect no action.
    run(args, check) runs the module. after(step, check, result) looks at the state after each step.
    """
    rows = [
        _step(run, f"{prefix}{name}", check, args, expected if not prefix else (), after)
        for name, (args, expected) in steps.items()
        for prefix in ("", "re-")
        for check in (True, False)
    ]
    tell(HEADING, *map(_line, rows))
    assert len(rows) == 12
    assert not [row for row in rows if row.problem], [row for row in rows if row.problem]
    return rows


def _step(run: Run, name: str, check: bool, args: Args, expected: t.Sequence[Action], after: t.Any) -> Row:
    result = run(args, check)
    problem = ""
    if result.get("failed"):
        problem = f"failed: {result.get('msg')}"
    elif result.get("changed") != bool(expected) or result.get("actions") != list(expected):
        problem = "other changed or actions than expected"
    if after is not None and not problem:
        after(name, check, result)
    return Row(name, check, list(expected), result.get("changed"), result.get("actions"), problem)


def _line(row: Row) -> str:
    """A line of the table."""
    changed = f"{bool(row.expected)!s:6} | {row.found_changed!s:6}"
    problem = f"  DIFFERS: {row.problem}" if row.problem else ""
    return f"{row.step:10}{'check' if row.check else 'real':6}{changed} {_words(row.expected)} | {_words(row.found)}{problem}"


def _words(actions: t.Any) -> str:
    """What was done to each object, in order."""
    grouped = itertools.groupby(actions or (), lambda each: f"{each['what']} {each['id']}")
    return ", ".join(f"{name} {'+'.join(each['status'] for each in group)}" for name, group in grouped) or "-"
