#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds everything that stands in the way of a deploy, before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_preflight
short_description: Finds all that stands in the way of a deploy
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Looks at the worker directory on the controller and at the host, and reports every obstacle at once, each with its remedy.
  - Changes nothing on the host but the lease, which keeps a second deploy of the same worker out.
extends_documentation_fragment:
  - ew_ai.worker.attributes
options:
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: str
    required: true
  name:
    description: Name of the worker.
    type: str
    required: true
  source:
    description: The worker directory on the controller. Without it nothing is looked at there.
    type: str
  requirements_file:
    description: Name of the requirements file in the worker directory.
    type: str
    default: requirements.txt
  ignore:
    description: Patterns of what to leave out of the release.
    type: list
    elements: str
    default: []
  ports:
    description: The ports that the instances will listen on. An empty list is refused; without the option ports are not looked at.
    type: list
    elements: int
  instances:
    description: The names of the instances.
    type: list
    elements: str
    default: []
  bind:
    description: The address that the instances will listen on.
    type: str
    default: 127.0.0.1
  supervisor:
    description: The supervisor wanted. V(auto) takes systemd where it runs and may be used, else supervisord.
    type: str
    choices: [auto, systemd, supervisord]
    default: auto
  scope:
    description: Whose systemd.
    type: str
    choices: [system, user]
    default: system
  accounts:
    description: Accounts that the deploy needs; those that do not exist are returned.
    type: list
    elements: str
    default: []
  minimum_disk_mb:
    description: Free space that must be there, in MB.
    type: int
    default: 1000
  addresses:
    description: Addresses that packages may be fetched from; tried when nothing is deployed yet.
    type: list
    elements: str
    default: []
  offline:
    description: Whether nothing will be fetched.
    type: bool
    default: false
  verb:
    description: What the run is about to do, for whoever is kept out by the lease.
    type: str
    default: deploy
  lease:
    description: Who takes the lease. Set by the action plugin. Without it none is taken.
    type: dict
    suboptions:
      run:
        description: Names one run of ansible-playbook.
        type: str
        required: true
      controller:
        description: Node name of the controller.
        type: str
        required: true
      machine:
        description: What the process ids of the controller count in; many controllers have the same node name.
        type: str
        default: ""
      user:
        description: Account on the controller.
        type: str
        required: true
      pid:
        description: Process of the run on the controller.
        type: int
        required: true
      start_ticks:
        description: When that process began, in clock ticks after boot, 0 where that is not known.
        type: int
        default: 0
      verb:
        description: What the run is about to do.
        type: str
        required: true
  lease_timeout:
    description: For how long the lease is taken, and renewed on the way, in seconds.
    type: int
    default: 7200
  take_lease:
    description: Whether to take the lease over from whoever holds it, even a run that is still working.
    type: bool
    default: false
  over_from:
    description: The run whose lease may be taken over because it is known to be dead. Set by the action plugin.
    type: str
    default: ""
  controller_findings:
    description: What the action plugin found on the controller.
    type: list
    elements: dict
    default: []
seealso:
  - module: ew_ai.worker.worker_generation
"""

EXAMPLES = r"""
- name: Look before deploying
  ew_ai.worker.worker_preflight:
    root: /opt/ew_ai_worker
    name: ew-worker
    source: ./worker
    ports: [50051, 50052]
"""

RETURN = r"""
actions:
  description: Always empty, nothing is changed but the lease.
  type: list
  elements: dict
  returned: always
elapsed:
  description: How long the module worked, in seconds.
  type: float
  returned: always
facts:
  description: What the host is, with C(supervisor), C(systemd_version), C(python_version), C(uid), C(users_missing) and C(active_generation).
  type: dict
  returned: always
failures:
  description: Everything that stands in the way, each with C(check), C(msg) and C(remedy).
  type: list
  elements: dict
  returned: always
lease:
  description: The lease that was taken, or null.
  type: dict
  returned: always
code:
  description: V(preflight), or the check's own word where only one failed.
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import dataclasses
import subprocess
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module

EMPTY: dict[str, t.Any] = {"facts": {}, "failures": [], "lease": None}
LEASE: dict[str, t.Any] = {
    "run": {"type": "str", "required": True},
    "controller": {"type": "str", "required": True},
    "machine": {"type": "str", "default": ""},
    "user": {"type": "str", "required": True},
    "pid": {"type": "int", "required": True},
    "start_ticks": {"type": "int", "default": 0},
    "verb": {"type": "str", "required": True},
}


def systemd_version() -> t.Optional[int]:
    """The number in the first line of ``systemctl --version``, or None."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def raise_for(findings: list[dict[str, t.Any]], result: dict[str, t.Any]) -> None:
    """Raise WorkerError with every finding; a single one keeps its own code."""
    if not findings:
        return
    if len(findings) == 1:
        only = findings[0]
        raise WorkerError(only["check"], only["msg"], only["remedy"], **{**result, "failures": findings})
    lines = "\n".join(f"  {number}. {each['msg']} {each['remedy']}" for number, each in enumerate(findings, 1))
    raise WorkerError(
        "preflight", f"{len(findings)} things stand in the way:\n{lines}", "Mend them and run the same command again.", **{**result, "failures": findings}
    )


def inspect(options: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """(facts, findings) about this host."""
    host = preflight.look(systemd_version)
    wish = preflight.Wish(
        options["root"],
        options["name"],
        tuple(options["ports"] or ()),
        options["bind"],
        options["supervisor"],
        options["scope"],
        options["minimum_disk_mb"],
        tuple(options["addresses"]),
        options["offline"],
    )
    unnamed = preflight.check_names(wish)
    findings = preflight.check_platform(wish, host) + unnamed + preflight.check_ports(wish) + preflight.check_venv(wish, host)
    if options["ports"] is not None:
        findings += preflight.check_instances(options["instances"], wish.ports)
    if not unnamed:
        findings += preflight.check_root(wish, host.uid)
    active = states.active(store.load(wish.root, wish.name)) if not unnamed else None
    if active is None:
        findings += preflight.check_addresses(wish)
    facts = {
        "supervisor": preflight.choose_supervisor(wish, host),
        "systemd_version": host.systemd_version,
        "python": sys.executable,
        "python_version": ".".join(str(part) for part in host.python_version),
        "uid": host.uid,
        "users_missing": preflight.missing_users(options["accounts"]),
        "active_generation": active["number"] if active else None,
    }
    return facts, [dataclasses.asdict(each) for each in findings]


def work(options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Look, fail with everything found, else take the lease."""
    facts, findings = inspect(options)
    result: dict[str, t.Any] = {"facts": facts, "failures": []}
    raise_for([*options["controller_findings"], *findings], result)
    if options["lease"] is None or check_mode:
        return result
    timeout = options["lease_timeout"]
    holder = lease.Holder(expires_at=time.time() + timeout, timeout=timeout, **options["lease"])
    lease.take(options["root"], options["name"], holder, "*" if options["take_lease"] else options["over_from"])
    return {**result, "lease": dataclasses.asdict(holder)}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "source": {"type": "str"},
            "requirements_file": {"type": "str", "default": "requirements.txt"},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int"},
            "instances": {"type": "list", "elements": "str", "default": []},
            "bind": {"type": "str", "default": "127.0.0.1"},
            "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
            "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
            "accounts": {"type": "list", "elements": "str", "default": []},
            "minimum_disk_mb": {"type": "int", "default": 1000},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "offline": {"type": "bool", "default": False},
            "verb": {"type": "str", "default": "deploy"},
            "lease": {"type": "dict", "options": LEASE},
            "lease_timeout": {"type": "int", "default": 7200},
            "take_lease": {"type": "bool", "default": False},
            "over_from": {"type": "str", "default": ""},
            "controller_findings": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda: work(module.params, module.check_mode), EMPTY)


if __name__ == "__main__":
    main()
