# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who listens on a TCP port, read from /proc/net/tcp{,6} and the processes' file descriptors.

A bind test cannot tell: two servers that share a port by SO_REUSEPORT both succeed. Needs nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import pwd
import struct
import typing as t

from .processes import all_pids, as_allowed, command

_LISTEN = "0A"


@dataclasses.dataclass(frozen=True)
class Listener:
    """One listening socket. pid is None where it belongs to somebody whose descriptors this user may not see."""

    address: str
    port: int
    uid: int
    inode: int
    pid: t.Optional[int]
    command: str

    def __str__(self) -> str:
        if self.pid is None:
            return f"a process of user id {self.uid}{_name(self.uid)} (its pid is hidden from this user)"
        return f"pid {self.pid} ({' '.join(self.command.split())[:120]})"

    @property
    def way_to_stop(self) -> str:
        """What somebody who wants the port can do, as the beginning of a sentence."""
        return f"Stop it (kill {self.pid})" if self.pid else f"Find it as root (ss -ltnp 'sport = :{self.port}') and stop it"


def _name(uid: int) -> str:
    try:
        return f", {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return ""


def listeners(ports: t.Collection[int]) -> list[Listener]:
    """Every listening socket on the ports, a row for each process that holds it, ordered by port and pid."""
    wanted = set(ports)
    rows = [row for path in ("/proc/net/tcp", "/proc/net/tcp6") for row in _rows(path) if row[1] in wanted]
    owners = _owners({row[3] for row in rows}) if rows else {}
    found = [
        Listener(address, port, uid, inode, pid, command(pid) if pid is not None else "")
        for address, port, uid, inode in rows
        for pid in owners.get(inode) or (None,)
    ]
    return sorted(found, key=lambda each: (each.port, each.pid or 0, each.address))


def collides(address: str, bind: str) -> bool:
    """Whether a listener on ``address`` and one on ``bind`` would answer the same calls.

    ``::`` counts as every address: Linux maps IPv4 into it unless told otherwise. A host name counts as every address.
    """
    try:
        one, other = ipaddress.ip_address(address), ipaddress.ip_address(bind)
    except ValueError:
        return True
    if one.is_unspecified or other.is_unspecified:
        return True
    return _plain(one) == _plain(other)


def parse_rows(text: str) -> list[tuple[str, int, int, int]]:
    """(address, port, uid, inode) of each listening socket in the text of /proc/net/tcp or tcp6."""
    rows = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            host, port = fields[1].split(":")
            rows.append((_address(host), int(port, 16), int(fields[7]), int(fields[9])))
    return rows


def _rows(path: str) -> list[tuple[str, int, int, int]]:
    try:
        with open(path, encoding="ascii") as handle:
            return parse_rows(handle.read())
    except FileNotFoundError:
        return []


def _address(digits: str) -> str:
    # The kernel prints 32-bit words in the machine's byte order.
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = b"".join(struct.pack("=I", word) for word in words)
    return str(_plain(ipaddress.ip_address(packed)))


def _plain(
    address: t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address],
) -> t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]:
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _owners(inodes: set[int]) -> dict[int, list[int]]:
    names = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[int, list[int]] = {}
    for pid in all_pids():
        for inode in _held(pid, names):
            owners.setdefault(inode, []).append(pid)
    return owners


def _held(pid: int, names: t.Mapping[str, int]) -> set[int]:
    try:
        return {names[target] for target in as_allowed(pid, lambda: _descriptors(pid)) if target in names}
    except OSError:
        return set()


def _descriptors(pid: int) -> list[str]:
    directory = f"/proc/{pid}/fd"
    found = []
    for descriptor in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"{directory}/{descriptor}"))
    return found
