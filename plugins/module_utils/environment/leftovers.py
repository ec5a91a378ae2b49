# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Processes that a build left behind: they would go on writing into an environment that is complete, or into the next build."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

from ..errors import WorkerError
from ..files import locked
from ..processes import all_pids, environ, is_alive
from ..progress import Progress

# Among the groups of whatever a build runs as the build user. A process inherits it and only root can take it off again, unlike
# anything else by which to know it (parents, sessions, variables). No account and no file has it: Debian reserves 65000 to 65533.
GROUP = 65011
# Only root may write there, and nothing outlives a boot.
RUN = "/run"
_TIMEOUT = 10.0


@contextlib.contextmanager
def as_build_user(uid: int, lock_timeout: float, progress: Progress) -> t.Iterator[None]:
    """The part of a build in which downloaded code runs as the account ``uid``: one at a time on this machine, whatever its root.

    Processes of one account can do anything to each other and to each other's files, so code of one build must not meet another
    build's package cache or prefix. What a build leaves running is ended at the end, what a killed one left at the beginning.
    Raises WorkerError ``locked``.
    """

    def waiting() -> None:
        progress(f"wait for another build that runs as the account with the uid {uid}")

    lock = os.path.join(RUN, f"ew_worker-build-{uid}.lock")
    with locked(lock, lock_timeout, f"another build runs as the account with the uid {uid}", waiting):
        end_builders(uid)
        try:
            yield
        finally:
            end_builders(uid)


def end_builders(uid: int) -> None:
    """End whatever a build runs as the account. Only under the account's lock. Raises WorkerError ``locked``."""
    _end(lambda: {pid for pid in all_pids() if uid in _ids(pid, "Uid:") and GROUP in _ids(pid, "Groups:") and is_alive(pid)})


def end_orphans(scratch: str) -> None:
    """End what a killed build left running, told by its HOME in the build's scratch directory. Only under the environment's lock."""
    _end(lambda: {pid for pid in all_pids() if f"{(environ(pid) or {}).get('HOME', '')}/".startswith(f"{scratch}/") and is_alive(pid)})


def _ids(pid: int, row: str) -> set[int]:
    """Ids of the process as the kernel knows them: a process can give its directory in /proc to root (prctl(2), PR_SET_DUMPABLE)."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as handle:
            return next(({int(word) for word in line.split()[1:]} for line in handle if line.startswith(row)), set())
    except OSError:
        return set()


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
