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

from ..errors import WorkerError
from ..files import locked, read_json, write_json
from ..layout import Layout

LOCK_TIMEOUT = 10.0


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a lease. run: the id of one ansible-playbook run; pid: of that run on the controller; expires_at: epoch seconds."""

    run: str
    controller: str
    user: str
    pid: int
    verb: str
    expires_at: float

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
    os.makedirs(paths.home, exist_ok=True)
    with _lock(root, name):
        holder = current(root, name)
        if holder is not None and holder.run != wanted.run and over_from not in ("*", holder.run):
            raise WorkerError(
                "leased",
                f"Another run works on {name} on this host: {holder}, for at most {holder.expires_at - time.time():.0f} s more.",
                "Wait for it; if it is dead, add -e worker_take_lease=true",
                holder=dataclasses.asdict(holder),
            )
        write_json(paths.lease, dataclasses.asdict(wanted))


def give_back(root: str, name: str, run: str) -> None:
    """End the lease of that run; a lease of somebody else stays."""
    path = Layout(root).worker(name).lease
    if not os.path.exists(path):
        return
    with _lock(root, name):
        holder = _read(path)
        if holder is not None and holder.run == run:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _lock(root: str, name: str) -> t.ContextManager[None]:
    return locked(os.path.join(Layout(root).locks, f"lease-{name}"), LOCK_TIMEOUT, f"the lease of {name}")


def _read(path: str) -> t.Optional[Holder]:
    data = read_json(path)
    if not isinstance(data, dict):
        return None
    try:
        holder = Holder(**{field.name: data[field.name] for field in dataclasses.fields(Holder)})
    except KeyError:
        return None
    return holder if isinstance(holder.pid, int) and isinstance(holder.expires_at, (int, float)) else None
