# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ansible-playbook run this is: the same answer in every forked worker of it."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import typing as t
import uuid

from ..module_utils.processes import is_alive, read_process, start_ticks

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def this_run(verb: str) -> dict[str, t.Any]:
    """``{"run", "controller", "machine", "user", "pid", "start_ticks", "verb"}`` for a lease. Call it in an action plugin, whose parent is the run."""
    pid, machine = os.getppid(), this_machine()
    ticks = start_ticks(pid) or 0
    return {
        "run": f"{pid}.{ticks}.{hashlib.sha256(machine.encode()).hexdigest()[:8]}@{platform.node()}",
        "controller": platform.node(),
        "machine": machine,
        "user": user_name(),
        "pid": pid,
        "start_ticks": ticks,
        "verb": verb,
    }


def this_machine() -> str:
    """Names what process ids count in: many machines and containers are called ``localhost`` or ``runner``, and each has its own."""
    try:
        with open(_BOOT_ID, encoding="ascii") as handle:
            return f"{handle.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        # No Linux. Where no hardware address is found this is another one each time, and then nobody is taken for dead.
        return f"{platform.node()} {uuid.getnode():012x}"


def is_dead(holder: t.Mapping[str, t.Any]) -> bool:
    """Whether the holder of a lease was a run on this controller that does not live any more; of other controllers nobody knows."""
    if holder.get("machine") != this_machine():
        return False
    pid = int(holder["pid"])
    if read_process(pid) is not None:
        return not is_alive(pid, int(holder.get("start_ticks") or 0) or None)
    # No /proc here, or one that hides the processes of others.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def user_name() -> str:
    """The account, or its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
