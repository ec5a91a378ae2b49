# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes and removes a set of hosts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from . import images, inventory, ready
from .podman import Podman, create_argv, network_argv
from .spec import Host, HostsError, Set, addresses, format_hosts, parse_hosts

T = TypeVar("T")
R = TypeVar("R")
PARALLEL = 8
AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"


def up(podman: Podman, group: Set, hosts: Sequence[Host]) -> tuple[dict[str, str], bool]:
    """Make the set, wait for every host, write the inventory; return host → state, and whether anything was made or started.

    The same set again is only started where it stands still. A set that could not be
    made is removed whole, its last log lines being in the error.
    """
    wanted, found = format_hosts(hosts), podman.hosts_text(group)
    if found is not None and found != wanted:
        raise HostsError(f"the set {group.name} exists with the hosts {found}: run 'down --set {group.name}' first")
    tags, _built = images.ensure(podman, (host.suite for host in hosts), group.directory.parent)
    try:
        if found is None:
            podman.run(network_argv(group, wanted))
        subnet, _gateway = podman.network(group)
        where = addresses(subnet, hosts)
        _prepare_directory(group)
        there = podman.containers(group)
        new = [host for host in hosts if group.container(host.name) not in there]
        _each(lambda host: _create(podman, group, host, tags[host.suite], where), new)
        _each(lambda host: podman.run(["start", group.container(host.name)]), hosts)
        states = _each(lambda host: ready.wait(group, host, where[host.name]), hosts)
    except (HostsError, KeyboardInterrupt) as problem:
        if found is not None:
            raise
        tail = _logs(podman, group)
        down(podman, group)
        raise HostsError(f"{str(problem) or 'interrupted'}; the set was removed again{tail}") from problem
    inventory.write(group, hosts, where, podman.machine)
    changed = bool(new) or set(there.values()) != {"running"}
    return {host.name: state for host, state in zip(hosts, states)}, changed


def down(podman: Podman, group: Set) -> bool:
    """Remove containers, network and files of the set, whatever state they are in; return whether there was anything.

    Raises HostsError naming what is left, if anything is.
    """
    found = _traces(podman, group)
    ready.close(group)
    names = sorted(podman.containers(group))
    if names:
        podman.run(["rm", "--force", "--time", "0", "--volumes", *names])
    for network in podman.networks(group):
        podman.run(["network", "rm", "--force", network])
    for path in (group.sockets, group.directory):
        if path.exists():
            shutil.rmtree(path)
    left = _traces(podman, group)
    if left:
        raise HostsError(f"the set {group.name} is not gone: {', '.join(left)}")
    return bool(found)


def _traces(podman: Podman, group: Set) -> list[str]:
    paths = [str(path) for path in (group.sockets, group.directory) if path.exists()]
    return [*podman.containers(group), *podman.networks(group), *paths]


def members(podman: Podman, group: Set) -> tuple[tuple[Host, ...], dict[str, str]]:
    """Give the hosts of a set that is up and their addresses."""
    text = podman.hosts_text(group)
    if not text:
        raise HostsError(f"there is no set {group.name}: make it with 'up --set {group.name} --hosts …'")
    hosts = parse_hosts(text)
    return hosts, addresses(podman.network(group)[0], hosts)


def _prepare_directory(group: Set) -> None:
    cache = group.directory.parent
    group.directory.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    group.sockets.mkdir(mode=0o700, exist_ok=True)
    key = group.directory / "id_ed25519"
    if not key.exists():
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", group.key, "-f", str(key)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _create(podman: Podman, group: Set, host: Host, image: str, where: dict[str, str]) -> None:
    podman.run(create_argv(group, host, image, where, podman.machine))
    # Ownership and mode travel with the copy.
    podman.run(["cp", str(group.directory / "id_ed25519.pub"), f"{group.container(host.name)}:{AUTHORIZED_KEYS}"])


def _each(act: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(act, items))


def _logs(podman: Podman, group: Set) -> str:
    lines = []
    for name in sorted(podman.containers(group)):
        done = podman.run(["logs", "--tail", "5", name], check=False)
        lines += [f"\n{name}: {line}" for line in (done.stdout + done.stderr).splitlines()]
    return "".join(lines)
