# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The lease: who deploys a worker on this host at this moment, from the first stage of a deploy to its last.

No process of ours lives on the host between two stages, so the lease is a file with an end, changed under a lock.
Needs nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ..boundaries import boundary
from ..errors import WorkerError
from ..files import read_json, write_json
from ..layout import Layout
from . import locks


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    run: the id of one ansible-playbook run. controller: its node name; machine: tells it from others of that name.
    pid, start_ticks: of that run on the controller, 0 where its start is not known. timeout: seconds for which the lease is taken or
    renewed; expires_at: epoch seconds.
    """

    run: str
    controller: str
    user: str
    pid: int
    verb: str
    expires_at: float
    timeout: float
    machine: str = ""
    start_ticks: int = 0

    def __str__(self) -> str:
        return f"{self.user}@{self.controller} ({self.verb}, pid {self.pid}, run {self.run})"


def current(root: str, name: str, now: t.Optional[float] = None) -> t.Optional[Holder]:
    """The holder, or None where nobody holds the lease or its time is over."""
    holder = _read(Layout(root).worker(name).lease)
    return holder if holder is not None and holder.expires_at > (time.time() if now is None else now) else None


def take(root: str, name: str, wanted: Holder, over_from: str = "") -> None:
    """Take the lease, or renew our own.

    over_from: the run id of a holder known to be dead or meant to be overruled, ``*`` for any. Raises WorkerError ``leased``.
    """
    paths = Layout(root).worker(name)
    # Whoever removes the last worker of the root does that before or sees this lease.
    with locks.of_root(root), locks.of_lease(root, name):
        os.makedirs(paths.home, exist_ok=True)
        holder = current(root, name)
        if holder is not None and holder.run != wanted.run and over_from not in ("*", holder.run):
            raise WorkerError(
                "leased",
                f"Another run works on {name} on this host: {holder}, for at most {holder.expires_at - time.time():.0f} s more.",
                "Wait for it; if it is dead, add -e worker_take_lease=true",
                holder=dataclasses.asdict(holder),
            )
        write_json(paths.lease, dataclasses.asdict(wanted))
        boundary("lease.taken")


def renew(root: str, name: str, run: str) -> None:
    """Renew the lease of that run for as long as it was taken; one whose time is over is still its own where nobody has taken it since.

    Raises WorkerError ``lease_lost`` that names who has it now.
    """
    paths = Layout(root).worker(name)
    with locks.of_lease(root, name):
        holder = _read(paths.lease)
        if holder is None or holder.run != run:
            now = f"{holder} has it now" if holder is not None else "whoever took it over has ended"
            raise WorkerError(
                "lease_lost",
                f"This run has lost its lease of {name} on this host: {now}. It changes nothing any more.",
                "See what the other run has left (the status playbook), then run the same command again.",
                holder=dataclasses.asdict(holder) if holder is not None else None,
            )
        write_json(paths.lease, dataclasses.asdict(dataclasses.replace(holder, expires_at=time.time() + holder.timeout)))
        boundary("lease.renewed")


def give_back(root: str, name: str, run: str) -> None:
    """End the lease of that run; a lease of somebody else stays."""
    path = Layout(root).worker(name).lease
    if not os.path.exists(path):
        return
    with locks.of_lease(root, name):
        holder = _read(path)
        if holder is not None and holder.run == run:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                boundary("lease.given_back")


def _read(path: str) -> t.Optional[Holder]:
    data = read_json(path)
    if not isinstance(data, dict):
        return None
    try:
        holder = Holder(**{field.name: data[field.name] for field in dataclasses.fields(Holder) if field.name in data})
    except TypeError:
        return None
    return holder if isinstance(holder.pid, int) and all(isinstance(each, (int, float)) for each in (holder.expires_at, holder.timeout)) else None
