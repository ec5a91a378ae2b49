# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set of test hosts is, as plain data: no podman, no files."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUITES = ("bookworm", "bullseye", "trixie")
KINDS = ("systemd", "sshd")
NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
FIRST_ADDRESS = 10


class HostsError(Exception):
    """Something a person can act on; its text is the whole message."""


@dataclass(frozen=True)
class Host:
    """One test host: a name, a Debian suite, and what its PID 1 is."""

    name: str
    suite: str
    kind: str = "systemd"

    def __str__(self) -> str:
        """Give the form that parse_hosts reads."""
        return f"{self.name}={self.suite}" + ("" if self.kind == "systemd" else f"/{self.kind}")


@dataclass(frozen=True)
class Set:
    """One named set of hosts of one checkout: every name that it uses outside."""

    name: str
    checkout: Path

    @property
    def key(self) -> str:
        """Give the prefix of containers and network; two checkouts never share one."""
        digest = hashlib.sha256(str(self.checkout).encode()).hexdigest()[:6]
        return f"ewtest-{digest}-{self.name}"

    @property
    def directory(self) -> Path:
        """Give the directory of key, known_hosts and inventory."""
        return self.checkout / ".cache" / "hosts" / self.name

    @property
    def inventory(self) -> Path:
        """Give the inventory directory, to be passed to ``ansible-playbook -i``."""
        return self.directory / "inventory"

    @property
    def sockets(self) -> Path:
        """Give the directory of ssh control sockets: short, a socket's path has 108 bytes."""
        return Path("/tmp") / self.key

    def container(self, host: str) -> str:
        """Give the container's name for a host of this set."""
        return f"{self.key}-{host}"

    def mac(self, host: str) -> str:
        """Give a host's locally administered MAC address.

        A fixed one: neighbours would send to a restarted container's old address for half a minute.
        """
        digest = hashlib.sha256(self.container(host).encode()).hexdigest()
        return ":".join(["02", *(digest[index : index + 2] for index in range(0, 10, 2))])


def check_name(text: str, what: str) -> str:
    """Return ``text`` when it can name a set or a host, else raise HostsError."""
    if not NAME.fullmatch(text):
        raise HostsError(f"{what} {text!r} is not usable: use at most 24 lower-case letters, digits and dashes, a letter first")
    return text


def parse_hosts(text: str) -> tuple[Host, ...]:
    """Parse ``w1=bookworm,w2=trixie,s1=bookworm/sshd``; raise HostsError naming the bad part."""
    hosts: list[Host] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, rest = part.partition("=")
        suite, slash, kind = rest.partition("/")
        check_name(name, "--hosts: host name")
        if not equals or suite not in SUITES:
            raise HostsError(f"--hosts: {part!r} needs the form NAME=SUITE, SUITE being one of {', '.join(SUITES)}")
        if slash and kind not in KINDS:
            raise HostsError(f"--hosts: {part!r}: the kind {kind!r} is not one of {', '.join(KINDS)}")
        if name in {host.name for host in hosts}:
            raise HostsError(f"--hosts: the name {name!r} is given twice")
        hosts.append(Host(name, suite, kind or "systemd"))
    if not hosts:
        raise HostsError("--hosts is empty: give at least one NAME=SUITE")
    return tuple(hosts)


def format_hosts(hosts: Sequence[Host]) -> str:
    """Give the text that parse_hosts reads back as ``hosts``."""
    return ",".join(str(host) for host in hosts)


def addresses(subnet: str, hosts: Sequence[Host]) -> dict[str, str]:
    """Give each host a fixed address of ``subnet``: one that outlives a restart."""
    network = ipaddress.ip_network(subnet)
    if network.num_addresses < FIRST_ADDRESS + len(hosts) + 1:
        raise HostsError(f"the network {subnet} is too small for {len(hosts)} hosts")
    return {host.name: str(network[FIRST_ADDRESS + index]) for index, host in enumerate(hosts)}
