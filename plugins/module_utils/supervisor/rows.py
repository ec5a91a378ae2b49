# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""An instance as modules return it."""

from __future__ import annotations

import signal
import typing as t

from .. import processes
from ..layout import WorkerLayout
from .base import Supervisor
from .causes import killed_for_memory
from .journal import iso_time
from .model import EFFECTIVE, ENVIRONMENT, GENERATION, RELEASE, Found, number, ports_of


def row(layout: WorkerLayout, supervisor: Supervisor, found: Found, changed: bool, killed: bool = False) -> dict[str, t.Any]:
    """The row of one instance; what a process runs is told by the process, else by the files. killed: it did not stop by itself."""
    says = found.runs if found.runs and EFFECTIVE in found.runs else found.recorded
    unit = f"{layout.name}@{found.name}"
    memory, cpu = figures(found.pid)
    return {
        "name": found.name,
        "id": unit,
        "unit": f"{unit}.service" if supervisor.kind == "systemd" else unit,
        "state": found.state,
        "enabled": found.enabled,
        "pid": found.pid,
        "started_at": iso_time(found.started_at, "seconds") if found.started_at is not None else None,
        "restarts": found.restarts,
        "ports": ports_of(says) or ports_of(found.recorded),
        "generation": number(says.get(GENERATION)),
        "release": says.get(RELEASE),
        "environment": says.get(ENVIRONMENT),
        "effective": says.get(EFFECTIVE),
        "changed": changed,
        "result": "timeout" if killed else found.result,
        "exit_status": -int(signal.SIGKILL) if killed else found.exit_status,
        "reason": _reason(found),
        "memory_bytes": memory,
        "cpu_seconds": cpu,
    }


def _reason(found: Found) -> str:
    """Why it does not run, where that is known; nothing for one that runs."""
    killed = killed_for_memory(found.result, found.exit_status, found.memory_limit) if found.state in ("failed", "starting") else ""
    return f"{killed}; {found.reason}" if killed and found.reason else killed or found.reason


def figures(pid: t.Optional[int]) -> tuple[t.Optional[int], t.Optional[float]]:
    """Resident memory (bytes) and processor time (s) of the process and all that it started; None where it is gone.

    Read from the processes and not from control groups, so that the figures mean the same under every supervisor.
    """
    found = [process for each in processes.descendants(pid) if (process := processes.read_process(each))] if pid else []
    if not found:
        return None, None
    return sum(process.memory_bytes for process in found), round(sum(process.cpu_seconds for process in found), 2)
