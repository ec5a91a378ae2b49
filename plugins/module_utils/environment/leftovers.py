# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Processes that a build left behind: they would go on writing into an environment that is complete, or into the next build."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
import typing as t

from ..errors import WorkerError
from ..processes import all_pids, descendants, environ, is_alive

_PR_SET_CHILD_SUBREAPER = 36
_TIMEOUT = 10.0


def adopt() -> None:
    """From now on what our children leave behind becomes a child of ours, however it cut itself loose (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_adopted(uid: int) -> None:
    """End every descendant of this process that belongs to the build user. Raises WorkerError ``locked``."""
    _end(lambda: {pid for pid in descendants(os.getpid()) if pid != os.getpid() and _owner(pid) == uid and is_alive(pid)})


def end_orphans(scratch: str) -> None:
    """End what a killed build left running, told by its HOME in the build's scratch directory. Only under the environment's lock."""
    _end(lambda: {pid for pid in all_pids() if f"{(environ(pid) or {}).get('HOME', '')}/".startswith(f"{scratch}/") and is_alive(pid)})


def _end(look: t.Callable[[], set[int]]) -> None:
    """Look and kill until nobody is left: one that is found may have started another one meanwhile."""
    deadline = time.monotonic() + _TIMEOUT
    while pids := look():
        if time.monotonic() > deadline:
            names = ",".join(map(str, sorted(pids)))
            raise WorkerError("locked", "Processes of a build do not end.", f"See what they wait for: ps -o pid,stat,wchan,args -p {names}", pids=sorted(pids))
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _owner(pid: int) -> t.Optional[int]:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
