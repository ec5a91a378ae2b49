# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a port that an instance is to listen on is held and stays so: known from the socket's owner, never by binding."""

from __future__ import annotations

import typing as t

from ..errors import WorkerError
from ..sockets import Listener, collides, listeners
from .model import Instance


def check_ports(instances: t.Sequence[Instance], bind: t.Optional[str], owner: t.Callable[[int], t.Optional[str]], going: t.Collection[str]) -> None:
    """Raise WorkerError ``port_in_use`` for the first wanted port with a foreign listener, or with an instance that keeps it.

    bind: the address the instances are told to listen on; None counts as every address, for such a worker chooses itself.
    owner: the instance of this worker that a pid belongs to. going: the instances that are stopped before the port is needed.
    """
    wanted = {port: instance for instance in instances for port in instance.ports}
    for listener in listeners(wanted):
        if not collides(listener.address, bind or "0.0.0.0"):
            continue
        instance, holder = wanted[listener.port], owner(listener.pid) if listener.pid is not None else None
        if holder is None:
            raise port_error(instance, listener)
        if holder != instance.name and holder not in going:
            raise sibling_error(instance, listener, holder)


def port_error(instance: Instance, listener: Listener) -> WorkerError:
    """The error that names the holder."""
    problem = f"is held on {listener.address} by {listener}, which is no instance of this worker"
    return _error(instance, listener, problem, f"{listener.way_to_stop}, or give the instance another port.")


def sibling_error(instance: Instance, listener: Listener, holder: str) -> WorkerError:
    """The error that names an instance of the same worker."""
    problem = f"is held by instance {holder!r} of this worker ({listener}), which keeps it"
    remedy = f"Give one of them another port, let one call move both (option only), or have {holder!r} removed: list it no more and set exclusive: true."
    return _error(instance, listener, problem, remedy)


def _error(instance: Instance, listener: Listener, problem: str, remedy: str) -> WorkerError:
    message = f"Port {listener.port} of instance {instance.name!r} {problem}."
    return WorkerError("port_in_use", message, remedy, port=listener.port, pid=listener.pid, command=listener.command)
