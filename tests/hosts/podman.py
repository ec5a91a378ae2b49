# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""podman: argument lists built by pure functions, and one place that runs them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from .machine import HOST_CA_BUNDLE, Machine, podman_environment
from .recipe import INIT_PATH
from .spec import Host, HostsError, Set

SET_LABEL = "ewtest.set"
HOSTS_LABEL = "ewtest.hosts"
STOP_SIGNAL = "SIGRTMIN+3"
# sshd alone: tini reaps what loses its parent, as any real PID 1 does.
SSHD_COMMAND = ("/bin/sh", "-c", "mkdir -p /run/sshd && exec /usr/bin/tini -- /usr/sbin/sshd -D -e")


def network_argv(group: Set, hosts_text: str) -> list[str]:
    """Give the arguments that create the set's network; the hosts are written on it as a label."""
    labels = ["--label", f"{SET_LABEL}={group.key}", "--label", f"{HOSTS_LABEL}={hosts_text}"]
    return ["network", "create", *labels, group.key]


def create_argv(group: Set, host: Host, image: str, where: Mapping[str, str], machine: Machine) -> list[str]:
    """Give the arguments that create (not start) a host's container.

    ``where`` holds the addresses of all hosts of the set: each knows the others by name.
    """
    argv = ["create", "--name", group.container(host.name), "--hostname", host.name]
    argv += ["--label", f"{SET_LABEL}={group.key}", "--network", group.key]
    argv += ["--ip", where[host.name], "--mac-address", group.mac(host.name)]
    for name, address in where.items():
        if name != host.name:
            argv += ["--add-host", f"{name}:{address}"]
    if machine.ca_bundle is not None:
        argv += ["--volume", f"{machine.ca_bundle}:{HOST_CA_BUNDLE}:ro"]
    if host.kind == "sshd":
        return [*argv, "--systemd=false", image, *SSHD_COMMAND]
    # A private cgroup namespace comes first: with SYS_ADMIN and without it, the container's
    # systemd would remount this machine's own cgroup tree.
    argv += ["--systemd=always", "--cgroupns=private", "--stop-signal", STOP_SIGNAL]
    argv += ["--cap-add", "SYS_ADMIN,NET_ADMIN,SYS_NICE"]
    for option in ("seccomp=unconfined", "apparmor=unconfined", "label=disable"):
        argv += ["--security-opt", option]
    return [*argv, image, INIT_PATH]


def address_of(inspected: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Give (subnet, gateway) from ``podman network inspect``."""
    for subnet in inspected[0].get("subnets") or ():
        if ":" not in subnet["subnet"]:
            return str(subnet["subnet"]), str(subnet["gateway"])
    raise HostsError(f"the network {inspected[0].get('name')} has no IPv4 subnet: see podman network inspect")


class Podman:
    """Runs podman with the settings that this machine needs."""

    def __init__(self, machine: Machine) -> None:
        """Keep the environment for every call."""
        self.machine = machine
        self._environment = podman_environment(machine, os.environ)

    def run(self, argv: Sequence[str], check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run ``podman *argv``; raise HostsError with command, status and stderr when it fails."""
        command = ["podman", *argv]
        try:
            done = subprocess.run(command, env=self._environment, text=True, capture_output=True, timeout=timeout, check=False)
        except FileNotFoundError as missing:
            raise HostsError("podman is not installed: run tests/hosts/install_packages.sh") from missing
        except subprocess.TimeoutExpired as late:
            raise HostsError(f"{shlex.join(command)} did not end within {timeout:.0f} s") from late
        if check and done.returncode:
            raise HostsError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
        return done

    def json(self, argv: Sequence[str]) -> Any:
        """Run podman and parse its output."""
        return json.loads(self.run(argv).stdout or "[]")

    def containers(self, group: Set) -> dict[str, str]:
        """Give container name → state of this set's containers, and of no others."""
        rows = self.json(["ps", "--all", "--filter", f"label={SET_LABEL}={group.key}", "--format", "json"])
        return {row["Names"][0]: row["State"] for row in rows}

    def networks(self, group: Set) -> list[str]:
        """Give the names of this set's networks."""
        done = self.run(["network", "ls", "--filter", f"label={SET_LABEL}={group.key}", "--format", "{{.Name}}"])
        return done.stdout.split()

    def network(self, group: Set) -> tuple[str, str]:
        """Give (subnet, gateway) of the set's network."""
        return address_of(self.json(["network", "inspect", group.key]))

    def hosts_text(self, group: Set) -> str | None:
        """Give the text of ``--hosts`` that the set was made from, None without such a set."""
        if group.key not in self.networks(group):
            return None
        labels = self.json(["network", "inspect", group.key])[0].get("labels") or {}
        return str(labels.get(HOSTS_LABEL, ""))

    def pid(self, container: str) -> int:
        """Give the process id of the container's PID 1 as this machine sees it; 0 when it does not run."""
        return int(self.run(["inspect", "--format", "{{.State.Pid}}", container]).stdout)
