# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading what ``systemctl show`` prints. Pure functions, table-tested over systemd versions."""

from __future__ import annotations

import calendar
import time
import typing as t

PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "NeedDaemonReload",
    "MainPID",
    "ControlGroup",
    "Result",
    "NRestarts",
    "ExecMainStartTimestamp",
    "ExecMainExitTimestamp",
    "ExecMainCode",
    "ExecMainStatus",
)
# si_code of waitid(2), which ExecMainCode gives.
_EXITED = 1
_UP = ("active", "reloading", "refreshing")
_MOVING = ("activating",)
LIMIT_HIT = "start-limit-hit"
_ENDS = (LIMIT_HIT, "exit-code", "signal", "core-dump", "timeout", "oom-kill")


def parse(text: str) -> dict[str, dict[str, str]]:
    """Unit id -> properties, from blocks of ``Key=value`` lines apart by an empty line. A unit named twice counts once."""
    units: dict[str, dict[str, str]] = {}
    for block in text.split("\n\n"):
        rows = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if rows.get("Id"):
            units[rows["Id"]] = rows
    return units


def state(unit: t.Mapping[str, str]) -> str:
    """running, starting, stopped or failed: a unit that waits for its next automatic start is ``starting``."""
    active = unit.get("ActiveState", "inactive")
    if active == "failed":
        return "failed"
    if active in _UP:
        return "running"
    return "starting" if active in _MOVING else "stopped"


def main_pid(unit: t.Mapping[str, str]) -> t.Optional[int]:
    """The main process, or None where none runs."""
    return int(unit.get("MainPID") or 0) or None


def exit_status(unit: t.Mapping[str, str]) -> t.Optional[int]:
    """The exit status of the last main process that ended, negative for a signal; None where none ended."""
    code = int(unit.get("ExecMainCode") or 0)
    if code == 0:
        return None
    number = int(unit.get("ExecMainStatus") or 0)
    return number if code == _EXITED else -number


def other_fragments(units: t.Mapping[str, t.Mapping[str, str]], expected: t.Mapping[str, str]) -> list[tuple[str, str]]:
    """(unit, file) of those that systemd reads from another file than the expected one, by unit. An alias answers with another unit's id."""
    rows = ((unit, rows.get("FragmentPath", "")) for unit, rows in units.items())
    return [(unit, path) for unit, path in rows if path not in ("", expected.get(unit))]


def start_limit(unit: t.Mapping[str, str], drop_in: str) -> str:
    """Why no further start is tried, where that is so; empty otherwise.

    Result keeps telling how the last process ended: that nothing follows it shows only by the unit having failed in spite
    of its policy.
    """
    rows = dict(line.split("=", 1) for line in drop_in.splitlines() if line.startswith(("Restart=", "StartLimit")))
    if state(unit) != "failed" or unit.get("Result") not in _ENDS or rows.get("Restart", "no") == "no" or not int(unit.get("NRestarts") or 0):
        return ""
    return f"{rows.get('StartLimitBurst', '?')} starts within {rows.get('StartLimitIntervalSec', '?')} s, the limit of restart.burst"


def memory_limit(drop_in: str) -> str:
    """The limit of an instance's memory as its drop-in has it, or empty."""
    return next((line.partition("=")[2] for line in reversed(drop_in.splitlines()) if line.startswith("MemoryMax=")), "")


def timestamp(text: str) -> t.Optional[float]:
    """Seconds since the epoch of ``Mon 2026-01-05 09:08:07 UTC``, as printed with TZ=UTC; None for no time."""
    words = text.split()
    if len(words) != 4:
        return None
    try:
        return float(calendar.timegm(time.strptime(" ".join(words[1:3]), "%Y-%m-%d %H:%M:%S")))
    except ValueError:
        return None


def parse_version(text: str) -> int:
    """The number in ``systemd 252 (252.38-1~deb12u1)``; 0 where there is none."""
    words = text.split()
    return int(words[1].split(".")[0]) if len(words) > 1 and words[1][:1].isdigit() else 0
