# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that tests make on a host of a set."""

from __future__ import annotations

import subprocess

from . import hostset, ready
from .podman import Podman
from .spec import Host, HostsError, Set

SHUTDOWN_TIMEOUT = 90


def find(podman: Podman, group: Set, name: str) -> tuple[Host, str]:
    """Give a host of the set and its address."""
    hosts, where = hostset.members(podman, group)
    for host in hosts:
        if host.name == name:
            return host, where[name]
    raise HostsError(f"the set {group.name} has no host {name!r}: it has {', '.join(where)}")


def reboot(podman: Podman, group: Set, name: str) -> str:
    """Reboot a host from inside and wait until it is up; return its state.

    ``systemctl reboot`` ends a container, so it is started again as a machine would start itself.
    A host without systemd has nothing to ask: its container is stopped.
    """
    host, address = find(podman, group, name)
    container = group.container(name)
    if host.kind == "systemd":
        ready.run(group, address, "systemctl reboot", timeout=20)
        podman.run(["wait", container], timeout=SHUTDOWN_TIMEOUT)
    else:
        podman.run(["stop", "--time", "10", container])
    ready.close(group, address)
    podman.run(["start", container])
    return ready.wait(group, host, address)


def route_argv(pid: int, *words: str) -> list[str]:
    """Give an ``ip route`` command for a container's network namespace.

    It runs from outside, so a host needs no right of its own to its routes.
    """
    return ["nsenter", "--target", str(pid), "--net", "ip", "route", *words]


def route(podman: Podman, group: Set, name: str, on: bool) -> bool:
    """Drop or restore a host's way out of the set's network; return whether that changed anything.

    ssh from the controller goes on working: it stands in the same network.
    """
    find(podman, group, name)
    pid = podman.pid(group.container(name))
    if not pid:
        raise HostsError(f"the host {name} does not run: start it with 'reboot {name}'")
    if bool(_ip(route_argv(pid, "show", "default"))) is on:
        return False
    change = ["add", "default", "via", podman.network(group)[1]] if on else ["flush", "default"]
    _ip(route_argv(pid, *change))
    return True


def _ip(argv: list[str]) -> str:
    done = subprocess.run(argv, text=True, capture_output=True, check=False)
    if done.returncode:
        raise HostsError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()
