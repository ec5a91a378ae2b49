# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The static Ansible inventory of a set: built as data, written as two files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .machine import HOST_CA_BUNDLE, Machine
from .spec import Host, Set


def ssh_options(group: Set) -> list[str]:
    """Give the options for ``ssh`` as a person, Ansible and this tool use them.

    No compression: it makes a large transfer four to six times slower.
    """
    settings = {
        "ControlMaster": "auto",
        "ControlPersist": "60s",
        "ControlPath": f"{group.sockets}/%C",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ConnectTimeout": "10",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": str(group.directory / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={_quoted(value)}")]


def _quoted(value: str) -> str:
    # ssh reads the value as a list of words; a checkout's path may hold a space.
    return f'"{value}"' if " " in value else value


def build(group: Set, hosts: Sequence[Host], found: Mapping[str, str]) -> dict[str, Any]:
    """Give the content of ``hosts.yml``: the group ``workers`` with what it takes to reach each host."""
    options = " ".join(f"'{word}'" if " " in word else word for word in ssh_options(group))
    return {
        "workers": {
            "hosts": {
                host.name: {
                    "ansible_host": found[host.name],
                    "test_host_kind": host.kind,
                    "test_host_suite": host.suite,
                }
                for host in hosts
            },
            "vars": {
                "ansible_connection": "ssh",
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(group.directory / "id_ed25519"),
                # Emptied: Ansible's default compresses, and what comes first in ssh's arguments wins.
                "ansible_ssh_args": "",
                # Here, because testinfra reads these and not ansible_ssh_args.
                "ansible_ssh_common_args": options,
                "ansible_pipelining": True,
                "ansible_python_interpreter": "/usr/bin/python3",
            },
        }
    }


def test_variables(group: Set, machine: Machine) -> dict[str, Any]:
    """Give the variables of the group: set only for tests, no role reads them by itself."""
    variables: dict[str, Any] = {"test_host_set": group.name, "test_environment": dict(machine.environment)}
    if machine.ca_bundle is not None:
        variables["test_ca_bundle"] = HOST_CA_BUNDLE
    return variables


def write(group: Set, hosts: Sequence[Host], found: Mapping[str, str], machine: Machine) -> Path:
    """Write the inventory directory and return it."""
    _dump(group.inventory / "hosts.yml", build(group, hosts, found))
    _dump(group.inventory / "group_vars" / "workers.yml", test_variables(group, machine))
    return group.inventory


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n" + yaml.safe_dump(content, sort_keys=False, width=1000))
