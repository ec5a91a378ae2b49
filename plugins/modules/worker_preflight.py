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
  - ew_ai.worker.network
options:
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
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
  extra_files:
    description: Paths, as seen from the worker directory, of other files that the environment is built from.
    type: list
    elements: str
    default: []
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
  settings:
    description:
      - The options that M(ew_ai.worker.ew_worker) will get. What it would refuse is found on the controller, before anything is built.
    type: dict
  environment_settings:
    description:
      - The options that M(ew_ai.worker.conda_env) will get, as O(settings), requirement files left out.
      - Its C(channels) are asked where neither a generation nor an environment of its C(name) is there yet. With requirements pip's own
        index on the host is asked then, too; that it does not answer is a warning.
    type: dict
  health_settings:
    description: The options that M(ew_ai.worker.grpc_health) will get, as O(settings), C(targets) left out.
    type: dict
  toolchain_settings:
    description: The options C(requirements) and C(find_links) that M(ew_ai.worker.worker_toolchain) will get, as O(settings).
    type: dict
  health_tls:
    description: How the health will be asked over TLS, looked at on the controller together with O(settings).
    type: dict
  health_tls_remote:
    description: How it will be asked over the network. Files that O(asker=controller) needs are looked for on the controller.
    type: dict
  secrets:
    description: The secret variables of the instances. They are looked at on the controller and not sent.
    type: dict
  hooks:
    description:
      - Task files by hook, such as C(before_instances). Refused are hooks that no stage has and files that are not there or hold no tasks.
      - A relative path is looked for as C(include_tasks) does in a role, at last beside the playbook.
    type: dict
  asker:
    description: Who will ask for the health over the network. V(controller) needs grpcio there; of others nothing is known beforehand.
    type: str
    default: ""
  supervisor:
    description: The supervisor wanted. V(auto) takes the one that the worker has, else systemd where it runs and may be used, else supervisord.
    type: str
    choices: [auto, systemd, supervisord]
    default: auto
  scope:
    description: Whether units are to be the system's, or those of the account that runs the module.
    type: str
    choices: [system, user]
    default: system
  linger:
    description: Whether the account is to linger with O(scope=user). Where it does not yet, it must be allowed to turn that on for itself.
    type: bool
    default: true
  accounts:
    description: Accounts that the deploy needs; those that do not exist are returned.
    type: list
    elements: str
    default: []
  minimum_disk_mb:
    description: Free space that a deploy needs, in MB.
    type: int
    default: 1000
  addresses:
    description:
      - Package indexes. They are asked where neither a generation nor an environment is there yet; what answers at all will do.
      - Credentials in them are neither sent nor told.
    type: list
    elements: str
    default: []
  offline:
    description: Whether nothing will be fetched.
    type: bool
    default: false
  bundle:
    description: The bundle on the controller to deploy from. It is verified there, and compared with this host.
    type: str
    default: ""
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
  keep:
    description: How many generations are to stay, which only its end would refuse.
    type: int
    default: 3
  lease_timeout:
    description: For how long the lease is taken, and renewed on the way, in seconds.
    type: int
    default: 7200
  files:
    description: Files on the host that must be readable, by the name of the variable that names them.
    type: dict
    default: {}
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
  supervisord_findings:
    description: What the action plugin found that counts where the supervisor is supervisord.
    type: list
    elements: dict
    default: []
  wanted:
    description: What the action plugin took from the other options.
    type: dict
    suboptions:
      deploys:
        description:
          - Whether anything will be installed, which is where O(source) is given. Room, the root's file system and the means to make virtual
            environments are looked at only then.
        type: bool
        default: true
      needs_own_index:
        description: Whether there are requirements for pip, and no index in the options for them.
        type: bool
        default: false
      channels:
        description: Names or addresses of channels to ask.
        type: list
        elements: str
        default: []
      environment_name:
        description: Name of the environment.
        type: str
      backend:
        description: What is to create the environment; looked for only where a program was named.
        type: str
        default: auto
      executable:
        description: The program for that, a path or a bare name.
        type: str
      user:
        description: Account of the instances.
        type: str
      bind_to_unit:
        description: Unit that the worker is to follow.
        type: str
      limits:
        description: Limits of the instances.
        type: dict
      bundle:
        description: What O(bundle) is for, and how big it is.
        type: dict
      gpus:
        description: UUIDs of the GPUs by instance. The host must have them, and no other instance may.
        type: dict
        default: {}
      gpu_sharing:
        description: Whether another instance may have them as well.
        type: bool
        default: false
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
    hooks:
      before_instances: ["{{ inventory_dir }}/drain.yml"]
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
  description: What the host is.
  type: dict
  returned: always
  contains:
    supervisor:
      description: The supervisor, V(systemd) or V(supervisord).
      type: str
    systemd_version:
      description: Version of systemd, or null where it does not run.
      type: int
    python:
      description: The interpreter that ran the module.
      type: str
    python_version:
      description: Its version.
      type: str
    uid:
      description: User id that the module ran under.
      type: int
    users_missing:
      description: Those of O(accounts) that do not exist.
      type: list
      elements: str
    active_generation:
      description: Number of the active generation, or null before the first deploy.
      type: int
    active_environment:
      description: Prefix of its environment, or null.
      type: str
failures:
  description: Everything that stands in the way, each with C(check), C(msg) and C(remedy).
  type: list
  elements: dict
  returned: always
lease:
  description: The lease that was taken, or null.
  type: dict
  returned: always
run:
  description: Names this run of ansible-playbook, which has the lease.
  type: str
  returned: where the lease was taken
holder:
  description: Who has the lease, as in O(lease), with C(expires_at) in seconds since the epoch.
  type: dict
  returned: failure with RV(code=leased)
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
import os
import pathlib
import subprocess
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils import network, user_manager
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import refuse_absent_program
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight, user_scope
from ansible_collections.ew_ai.worker.plugins.module_utils.host.bundle_fit import check_bundle
from ansible_collections.ew_ai.worker.plugins.module_utils.host.preflight import Finding, Host, Wanted
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import gpu_holders, gpus, port_tls
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.base import account
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.systemd import Systemd
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.systemd_scope import SYSTEM, Scope, of_login
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisors import UNIT_DIRECTORY

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
WANTED: dict[str, t.Any] = {
    "deploys": {"type": "bool", "default": True},
    "needs_own_index": {"type": "bool", "default": False},
    "channels": {"type": "list", "elements": "str", "default": []},
    "environment_name": {"type": "str"},
    "backend": {"type": "str", "default": "auto"},
    "executable": {"type": "str"},
    "user": {"type": "str"},
    "bind_to_unit": {"type": "str"},
    "limits": {"type": "dict"},
    "bundle": {"type": "dict"},
    "gpus": {"type": "dict", "default": {}},
    "gpu_sharing": {"type": "bool", "default": False},
}


def systemd_version() -> t.Optional[int]:
    """The number in the first line of ``systemctl --version``, or None."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


def scope_of(wanted: Wanted) -> Scope:
    """Whose systemd is meant."""
    return of_login(user_manager.own_login()) if wanted.scope == "user" else SYSTEM


def has_unit(name: str, scope: Scope) -> bool:
    """Whether systemd knows the unit; where it does not tell, ew_worker finds out."""
    try:
        command = ["systemctl", *scope.words, "show", "--property", "LoadState", "--value", "--", name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env={**os.environ, **scope.variables})
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode != 0 or done.stdout.strip() != "not-found"


def foreign_units(wanted: Wanted, host: Host, instances: t.Sequence[str]) -> list[Finding]:
    """Units of somebody else, or of another root, whose names the worker would take."""
    if host.systemd_version is None or (host.uid == 0) == (wanted.scope == "user") or preflight.choose_supervisor(wanted, host) != "systemd":
        return []
    try:
        Systemd(Layout(wanted.root).worker(wanted.name), None, scope_of(wanted)).check_ours(instances)
    except WorkerError as error:
        return [Finding(error.code, error.message, error.remedy)]
    return []


def raise_for(findings: list[dict[str, t.Any]], result: dict[str, t.Any]) -> None:
    """Raise WorkerError with every finding; a single one keeps its own code."""
    if not findings:
        return
    if len(findings) == 1:
        only = findings[0]
        raise WorkerError(only["check"], only["msg"], only["remedy"], **{**result, "failures": findings})
    lines = "\n".join(f"  {number}. {each['msg']} {each['remedy']}" for number, each in enumerate(findings, 1))
    raise WorkerError(
        "preflight", f"{len(findings)} things stand in the way:\n{lines}", "Fix them and run the same command again.", **{**result, "failures": findings}
    )


def wanted_of(options: t.Mapping[str, t.Any]) -> Wanted:
    """What the run wants of this host."""
    wanted = options["wanted"]
    return Wanted(
        options["root"],
        options["name"],
        tuple(options["ports"] or ()),
        options["bind"],
        options["supervisor"],
        options["scope"],
        options["minimum_disk_mb"],
        wanted["user"] or "",
        wanted["deploys"],
        wanted["bind_to_unit"] or "",
    )


def inspect(options: t.Mapping[str, t.Any], warn: t.Callable[[str], None]) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    """(facts, findings) about this host."""
    host = preflight.look(systemd_version)
    wanted = wanted_of(options)
    unnamed = preflight.check_names(wanted)
    findings = preflight.check_platform(wanted, host) + unnamed + preflight.check_ports(wanted) + preflight.check_venv(wanted, host)
    findings += preflight.check_network(options["network"], wanted)
    findings += files_findings(options["files"], wanted, host)
    findings += preflight.check_user(wanted, host.uid) + preflight.check_unit(wanted, host, lambda name: has_unit(name, scope_of(wanted)))
    user_findings = check_login(options, wanted, host)
    findings += user_findings
    if options["ports"] is not None:
        findings += preflight.check_instances(options["instances"], wanted.ports)
    if not unnamed:
        findings += preflight.check_root(wanted, host.uid) + (foreign_units(wanted, host, options["instances"]) if not user_findings else [])
        if options["wanted"]["bundle"]:
            findings += check_bundle(wanted, host, options["wanted"]["bundle"])
        findings += gpu_findings(wanted, options["wanted"])
    if wanted.deploys:
        findings += backend_findings(options["wanted"])
    active = states.active(store.load(wanted.root, wanted.name)) if not unnamed else None
    if active is None and wanted.deploys and not unnamed and not options["offline"]:
        findings += sources_findings(options, warn)
    facts = facts_of(wanted, host, active)
    doubtful = preflight.check_accounts(options["accounts"], wanted.user)
    findings += preflight.check_numbers(wanted.minimum_disk_mb, options["lease_timeout"], options["keep"]) + doubtful
    facts["users_missing"] = [] if doubtful else preflight.missing_users(options["accounts"])
    supervisord = options["supervisord_findings"] if facts["supervisor"] == "supervisord" else []
    return facts, [*supervisord, *map(dataclasses.asdict, findings)]


def check_login(options: t.Mapping[str, t.Any], wanted: Wanted, host: Host) -> list[Finding]:
    """What keeps this account from having units of its own, where it is to have some."""
    if wanted.scope != "user" or host.systemd_version is None or preflight.choose_supervisor(wanted, host) != "systemd":
        return []
    starts = (options["lease"] or {}).get("verb") not in ("stop", "uninstall")
    return user_scope.check(user_manager.own_login(), options["linger"], options["wanted"]["limits"] or {}, starts)


def files_findings(files: t.Mapping[str, str], wanted: Wanted, host: Host) -> list[Finding]:
    """Files that are not there, and those for the worker's port that its process could not read, or that others could exchange before it does."""
    credentials = host.uid == 0 and preflight.choose_supervisor(wanted, host) == "systemd"
    found = []
    for variable, path in files.items():
        missing = preflight.check_files({variable: path})
        found += missing
        if missing or not variable.startswith("worker_tls."):
            continue
        try:
            port_tls.check_one(variable, str(path), credentials, account(wanted.user))
        except WorkerError as error:
            found.append(Finding(error.code, error.message.replace(f"Option '{variable}'", variable), error.remedy))
    return found


def gpu_findings(wanted: Wanted, given: t.Mapping[str, t.Any]) -> list[Finding]:
    """GPUs that are not here, or another instance's."""
    if not given["gpus"]:
        return []
    held = {} if given["gpu_sharing"] else gpu_holders.holders(wanted.root, (UNIT_DIRECTORY, user_manager.own_login().units))
    refused = gpu_holders.refusals(Layout(wanted.root).worker(wanted.name).home, given["gpus"], gpus.found(), gpus.has_amd(), held)
    hint = " A hook that loads it belongs to before_preflight (worker_hooks)."
    return [
        Finding(each.code, each.message.replace("Option 'instances.gpus'", "worker_instances.gpus"), each.remedy + hint * (each.code == "gpu_unknown"))
        for each in refused
    ]


def facts_of(wanted: Wanted, host: Host, active: t.Optional[states.Record]) -> dict[str, t.Any]:
    """What the later stages go by."""
    return {
        "supervisor": preflight.choose_supervisor(wanted, host),
        "systemd_version": host.systemd_version,
        "python": sys.executable,
        "python_version": ".".join(str(part) for part in host.python_version),
        "uid": host.uid,
        "active_generation": active["number"] if active else None,
        "active_environment": active["environment"]["prefix"] if active else None,
    }


def backend_findings(wanted: t.Mapping[str, t.Any]) -> list[Finding]:
    """A program for the environment that was named and is not here, or that root must not run. Looks at files alone."""
    try:
        refuse_absent_program(wanted["backend"], wanted["executable"])
    except WorkerError as error:
        words = error.message.replace("Option 'executable'", "worker_conda_path").replace("\n", " ")
        return [Finding(error.code, words, error.remedy.replace("executable", "worker_conda_path").replace("backend:", "worker_backend:"))]
    return []


def sources_findings(options: t.Mapping[str, t.Any], warn: t.Callable[[str], None]) -> list[Finding]:
    """Channels and indexes that do not answer, where nothing is deployed and no environment is there: then something must be fetched.

    Requirements may well be met by the channels alone: that pip's own index does not answer is only a warning.
    """
    # A converged run asks nobody and needs none of these.
    from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place
    from ansible_collections.ew_ai.worker.plugins.module_utils.environment.prefixes import find
    from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import strip_credentials

    wanted = options["wanted"]
    try:
        place = Place(options["root"], Layout(options["root"]).cache, wanted["environment_name"])
        if wanted["environment_name"] and any(each.state == "complete" for each in find(place)):
            return []
        own = own_indexes() if wanted["needs_own_index"] else []
    except WorkerError as error:
        return [Finding(error.code, error.message, error.remedy)]
    channels, indexes = ([strip_credentials(each) for each in listed] for listed in (wanted["channels"], [*options["addresses"], *own]))
    found = preflight.check_sources(channels, indexes)
    doubtful = [each for each in found if each.details["address"] in map(strip_credentials, own)]
    for each in doubtful:
        warn(f"{each.msg} {each.remedy}")
    return [each for each in found if each not in doubtful]


def own_indexes() -> list[str]:
    """The indexes of pip's own settings on this host."""
    from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import combine, pip_settings

    settings = combine(pip_settings(os.environ, str(pathlib.Path.home())), None, (), ())
    return [] if settings.no_index else [each for each in (settings.index_url, *settings.extra_index_urls) if each]


def work(options: t.Mapping[str, t.Any], check_mode: bool, warn: t.Callable[[str], None]) -> dict[str, t.Any]:
    """Look, fail with everything found, else take the lease."""
    os.environ.update(network.variables(options["network"]))
    facts, findings = inspect(options, warn)
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
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "source": {"type": "str"},
            "requirements_file": {"type": "str", "default": "requirements.txt"},
            "extra_files": {"type": "list", "elements": "str", "default": []},
            "ignore": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int"},
            "instances": {"type": "list", "elements": "str", "default": []},
            "bind": {"type": "str", "default": "127.0.0.1"},
            "settings": {"type": "dict"},
            "environment_settings": {"type": "dict"},
            "health_settings": {"type": "dict"},
            "toolchain_settings": {"type": "dict"},
            "health_tls": {"type": "dict"},
            "health_tls_remote": {"type": "dict"},
            "secrets": {"type": "dict", "no_log": True},
            "hooks": {"type": "dict"},
            "asker": {"type": "str", "default": ""},
            "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
            "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
            "linger": {"type": "bool", "default": True},
            "accounts": {"type": "list", "elements": "str", "default": []},
            "minimum_disk_mb": {"type": "int", "default": 1000},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "offline": {"type": "bool", "default": False},
            "network": network.ARGUMENT,
            "bundle": {"type": "str", "default": ""},
            "verb": {"type": "str", "default": "deploy"},
            "lease": {"type": "dict", "options": LEASE},
            "keep": {"type": "int", "default": 3},
            "lease_timeout": {"type": "int", "default": 7200},
            "files": {"type": "dict", "default": {}},
            "take_lease": {"type": "bool", "default": False},
            "over_from": {"type": "str", "default": ""},
            "controller_findings": {"type": "list", "elements": "dict", "default": []},
            "supervisord_findings": {"type": "list", "elements": "dict", "default": []},
            "wanted": {"type": "dict", "options": WANTED, "apply_defaults": True},
        },
        supports_check_mode=True,
        # Only keeps the options, among them a proxy's password, out of the system's log.
        no_log=True,
    )
    options = dict(module.params)
    network.hide(module.params, module.no_log_values)
    run_module(module, lambda: work(options, module.check_mode, module.warn), EMPTY)


if __name__ == "__main__":
    main()
