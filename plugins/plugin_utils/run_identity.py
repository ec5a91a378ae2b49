# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ansible-playbook run this is: the same answer in every forked worker of it."""

from __future__ import annotations

import getpass
import os
import platform
import typing as t

from ..module_utils.processes import is_alive, read_process


def this_run(verb: str) -> dict[str, t.Any]:
    """``{"run", "controller", "user", "pid", "verb"}`` for a lease. Call it in an action plugin, whose parent is the run."""
    pid = os.getppid()
    process = read_process(pid)
    ticks = process.start_ticks if process else 0
    return {"run": f"{pid}.{ticks}@{platform.node()}", "controller": platform.node(), "user": user_name(), "pid": pid, "verb": verb}


def is_dead(holder: t.Mapping[str, t.Any]) -> bool:
    """Whether the holder of a lease was a run on this controller that does not live any more."""
    if holder.get("controller") != platform.node():
        return False
    ticks = str(holder.get("run", "")).split("@", 1)[0].rpartition(".")[2]
    return not is_alive(int(holder["pid"]), int(ticks) if ticks.isdigit() and int(ticks) else None)


def user_name() -> str:
    """The account, or its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
