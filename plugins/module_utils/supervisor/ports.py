# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a foreign process holds a port that an instance is to listen on: known from the socket's owner, never by binding."""

from __future__ import annotations

import typing as t

from ..errors import WorkerError
from ..sockets import Listener, collides, listeners
from .model import Instance


def check_ports(instances: t.Sequence[Instance], bind: t.Optional[str], owner: t.Callable[[int], t.Optional[str]]) -> None:
    """Raise WorkerError ``port_in_use`` for the first wanted port with a foreign listener.

    bind: the address the instances are told to listen on; None counts as every address, for such a worker chooses itself.
    owner: the instance of this worker that a pid belongs to.
    """
    wanted = {port: instance for instance in instances for port in instance.ports}
    for listener in listeners(wanted):
        if collides(listener.address, bind or "0.0.0.0") and (listener.pid is None or owner(listener.pid) is None):
            raise port_error(wanted[listener.port], listener)


def port_error(instance: Instance, listener: Listener) -> WorkerError:
    """The error that names the holder."""
    stop = f"Stop it (kill {listener.pid})" if listener.pid else f"Find it as root (ss -ltnp 'sport = :{listener.port}') and stop it"
    return WorkerError(
        "port_in_use",
        f"Port {listener.port} of instance {instance.name!r} is held on {listener.address} by {listener}, which is no instance of this worker.",
        f"{stop}, or give the instance another port.",
        port=listener.port,
        pid=listener.pid,
        command=listener.command,
    )
