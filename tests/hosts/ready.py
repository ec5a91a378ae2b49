# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a host by ssh and waiting until it is up. Every wait asks the host; none guesses a duration."""

from __future__ import annotations

import subprocess
import time

from .inventory import ssh_options
from .spec import Host, HostsError, Set

BOOT_TIMEOUT = 90.0
POLL = 0.1
UP = ("running", "degraded")


def ssh_argv(group: Set, address: str, command: str) -> list[str]:
    """Give the ssh command line that runs ``command`` as root on a host.

    It shares no connection with Ansible's: one that died with a reboot would be waited for.
    """
    own = ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"]
    key = str(group.directory / "id_ed25519")
    return ["ssh", *own, "-i", key, *ssh_options(group), "-T", f"root@{address}", command]


def run(group: Set, address: str, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command on a host; its exit status is the caller's to judge (255: ssh itself failed)."""
    argv = ssh_argv(group, address, command)
    try:
        return subprocess.run(argv, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 255, "", f"no answer within {timeout:.0f} s")


def verdict(kind: str, status: int, output: str) -> bool:
    """Tell from one answer whether a host is up; a host without systemd is up when ssh is."""
    if kind == "sshd":
        return status == 0
    return status != 255 and output.strip() in UP


def wait(group: Set, host: Host, address: str, timeout: float = BOOT_TIMEOUT) -> str:
    """Wait until the host is up and return its state; raise HostsError with the last answer otherwise."""
    command = "true" if host.kind == "sshd" else "systemctl is-system-running --wait"
    end = time.monotonic() + timeout
    while True:
        left = max(1.0, end - time.monotonic())
        done = run(group, address, command, timeout=left)
        if verdict(host.kind, done.returncode, done.stdout):
            return done.stdout.strip() or "up"
        answer = (done.stdout.strip() + " " + done.stderr.strip()).strip()
        if "Permission denied" in answer:
            raise HostsError(f"{host.name} ({address}) refuses the key of the set: {answer}")
        if time.monotonic() > end:
            raise HostsError(f"{host.name} ({address}) was not up after {timeout:.0f} s; last answer: {answer}")
        time.sleep(POLL)


def close(group: Set, address: str | None = None) -> None:
    """End Ansible's ssh masters to one host, or to all: one left behind would hang the next call."""
    calls = []
    if address is not None:
        calls.append([*ssh_options(group), f"root@{address}"])
    elif group.sockets.is_dir():
        calls += [["-o", f"ControlPath={socket}", "any"] for socket in group.sockets.iterdir()]
    for call in calls:
        subprocess.run(["ssh", "-O", "exit", *call], capture_output=True, check=False, timeout=10)


def failed_units(group: Set, address: str) -> list[str]:
    """Give the names of a host's failed units."""
    done = run(group, address, "systemctl list-units --failed --plain --no-legend")
    return [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
