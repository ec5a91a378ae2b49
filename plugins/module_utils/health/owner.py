# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether the process that listens is the one expected. A probe alone cannot tell: another program may hold the port, or share it."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
import typing as t

from ..processes import command, is_alive, read_process
from ..sockets import Listener, collides, listeners
from .model import Address


@dataclasses.dataclass(frozen=True)
class Ownership:
    """code: empty (and the object true) where the expected process alone listens; else wrong_owner, shared_port, owner_elsewhere, owner_hidden."""

    code: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.code


def judge_owner(rows: t.Sequence[Listener], pid: int, uid: t.Optional[int], related: t.Callable[[int], bool]) -> Ownership:
    """rows: who listens there. uid: the expected process's user. related: whether a pid is the expected process or its child.

    A socket counts by its inode: a parent or a child that holds the same one is no second owner.
    """
    if not rows:
        return Ownership("owner_elsewhere", "no process of this machine listens there, yet something answers")
    ours: set[int] = set()
    hidden: set[int] = set()
    for row in rows:
        if row.pid is None and row.uid == uid:
            hidden.add(row.inode)
        elif row.pid is not None and related(row.pid):
            ours.add(row.inode)
    foreign = sorted({str(row) for row in rows if row.inode not in ours | hidden})
    if foreign and ours:
        return Ownership("shared_port", f"the port is shared by SO_REUSEPORT: calls for pid {pid} also go to {', '.join(foreign)}")
    if foreign:
        return Ownership("wrong_owner", f"the port belongs to {', '.join(foreign)}, not to pid {pid}")
    if hidden:
        return Ownership("owner_hidden", f"who listens can only be seen by root: a process of the same user as pid {pid} does")
    return Ownership()


class Watchman:
    """Knows one expected process: its start time from the first look on, and whether it owns an address."""

    def __init__(self, pid: int, ports: Ports) -> None:
        self.pid = pid
        self._ports = ports
        process = read_process(pid)
        self._start_ticks = process.start_ticks if process is not None else None

    def gone(self) -> bool:
        """Whether the process ended; a later one with the same pid does not count."""
        return self._start_ticks is None or not is_alive(self.pid, self._start_ticks)

    def stopped(self) -> bool:
        """Whether it is halted by a signal."""
        process = read_process(self.pid)
        return process is not None and process.state in "Tt"

    def owns(self, address: Address, peer_pid: t.Optional[int]) -> Ownership:
        """peer_pid: who listens on a unix socket, as the connection told."""
        uid = _uid(self.pid)
        if address.path:
            if peer_pid is None:
                return Ownership("owner_hidden", "the kernel does not tell who listens on the socket")
            return judge_owner([Listener(str(address), 0, -1, 0, peer_pid, command(peer_pid))], self.pid, uid, self.related)
        # What another thread read a moment ago will do to say yes, but not to say no.
        return self._judge(address, uid, False) or self._judge(address, uid, True)

    def _judge(self, address: Address, uid: t.Optional[int], fresh: bool) -> Ownership:
        rows = [row for row in self._ports.rows(address.port, fresh) if collides(row.address, address.host)]
        return judge_owner(rows, self.pid, uid, self.related)

    def related(self, pid: int) -> bool:
        """Whether ``pid`` is the expected process or was started by it, directly or not."""
        seen: set[int] = set()
        while pid > 1 and pid not in seen:
            if pid == self.pid:
                return True
            seen.add(pid)
            process = read_process(pid)
            pid = process.parent if process is not None else 0
        return False


class Ports:
    """Who listens on the ports of all targets: one look serves the threads that ask at about the same time."""

    def __init__(self, ports: t.Collection[int], keep: float = 0.2) -> None:
        self._wanted = set(ports)
        self._keep = keep
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._rows: list[Listener] = []

    def rows(self, port: int, fresh: bool) -> list[Listener]:
        """The listeners on the port. fresh: what was read before this call does not do."""
        asked_at = time.monotonic()
        with self._lock:
            stale = self._read_at < asked_at if fresh else self._read_at < asked_at - self._keep
            if stale:
                self._read_at = time.monotonic()
                self._rows = listeners(self._wanted)
            return [row for row in self._rows if row.port == port]


def _uid(pid: int) -> t.Optional[int]:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
