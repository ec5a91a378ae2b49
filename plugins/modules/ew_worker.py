#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the instances of a worker under systemd or supervisord."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ew_worker
short_description: Runs the instances of a worker under systemd or supervisord
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Writes, starts, stops and removes all instances of one worker on a host in one call.
  - Under systemd each instance is a unit C(<name>@<instance>.service) with a drop-in of its own, and C(<name>.target) is all of them.
    Under supervisord the worker has a supervisord of its own.
  - An instance is restarted only when its process runs with other values than are wanted, which is read from the process itself.
  - Whether a started worker answers calls is the matter of M(ew_ai.worker.grpc_health).
extends_documentation_fragment:
  - ew_ai.worker.attributes
requirements:
  - Python package C(supervisor) (4.2 or newer) on the host, where O(supervisor=supervisord).
  - systemd 247 or newer on the host, where O(supervisor=systemd).
options:
  name:
    description:
      - Name of the worker, of lower-case letters, digits, C(_) and C(-). Workers of different names on one host do not see each other.
      - Under systemd it must not be the name of a target or a template of somebody else, nor that of a worker below another O(root).
    type: str
    required: true
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
    required: true
  instances:
    description:
      - The instances of the worker.
      - Without it the module acts on every instance that the host has, which is of use for stopping, starting and removing.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the instance, of lower-case letters, digits, C(_) and C(-).
        type: str
        required: true
      ports:
        description: Its ports, at least one where O(release) is given. The first is C({port}) in O(arguments).
        type: list
        elements: int
      env:
        description: Variables of this instance alone; they win over O(env).
        type: dict
      gpus:
        description:
          - Its GPUs, by the UUIDs that C(nvidia-smi -L) prints, set as C(CUDA_VISIBLE_DEVICES) with C(CUDA_DEVICE_ORDER=PCI_BUS_ID).
            A number is refused, for it changes with the machine's hardware.
          - Where NVIDIA's driver tells its GPUs (C(/proc/driver/nvidia)), one that is not there is refused.
          - Under systemd, with O(sandbox) other than V(none), an instance finds the device nodes of these GPUs and of no others.
        type: list
        elements: str
  gpu_sharing:
    description:
      - Whether an instance may have a GPU that another instance has too, of this worker or of another one on the host.
      - Without it that is refused, whether the other instance runs just now or not.
    type: bool
    default: false
  state:
    description:
      - V(present) writes the files of the instances and starts nothing.
      - V(started) writes them, starts what does not run, and restarts what runs with other values.
      - V(stopped) stops them, by SIGTERM and after O(stop_timeout) by SIGKILL. Their files stay as they are.
      - V(restarted) is V(started) with a restart of everything.
      - V(absent) stops and removes them. Their data and log files stay.
      - V(started) and V(restarted) also work without O(release), on the files as they are.
    type: str
    choices: [present, started, stopped, restarted, absent]
    default: started
  only:
    description: Names of instances to act on; the others are left as they are.
    type: list
    elements: str
  exclusive:
    description:
      - Whether to remove the instances that are not listed in O(instances).
      - Together with O(only), of these only those are removed that hold a port which a chosen instance is to get.
    type: bool
    default: false
  enabled:
    description:
      - Whether the instances start with the machine (systemd), or with their supervisord.
      - Without it, started instances are enabled, stopped ones are disabled, and V(present) leaves it as it is.
    type: bool
  force_restart:
    description: Whether O(state=started) restarts running instances in any case. With O(only) it is about those.
    type: bool
    default: false
  generation:
    description: Number of the generation. An instance that would get no other values keeps the number that it runs with.
    type: int
  release:
    description:
      - Absolute path of the release, the working directory of the instances.
      - Without it no file is written, and the instances must exist. Not a link, under which a running process would mix two versions.
    type: path
  python:
    description: Absolute path of the Python interpreter of the environment.
    type: path
  path:
    description: The C(PATH) of the instances; it wins over the one in O(activation).
    type: str
  activation:
    description: Variables of the activated environment, as M(ew_ai.worker.conda_env) returns them.
    type: dict
  module:
    description: The Python module that is run, as C(<python> -m <module>).
    type: str
    default: worker.main
  arguments:
    description:
      - Its arguments, in which C({port}), C({bind}), C({index}) (place in the list, from 0) and C({instance}) are filled in, and the
        paths of O(tls).
      - Without it they are C(--port {port}), and C(--bind {bind}) after it where O(bind) is given, because not every worker knows that one.
    type: list
    elements: str
  bind:
    description:
      - Address to listen on.
      - The worker finds it in C(EW_BIND) in any case, V(127.0.0.1) where it is not given.
    type: str
  user:
    description:
      - The account that the instances run as. It must exist.
      - Without it they run as the user who runs the module. Only root can give another one.
    type: str
  env:
    description:
      - Variables of the instances. They win over those that the module sets, but for the reserved ones that begin with C(EW_).
      - Everybody on the host can read them. Use O(secrets) for what is secret.
    type: dict
  secrets:
    description:
      - Variables of the instances that nobody but root and the service user can read. They stand in a file of mode 0600 (systemd),
        or one that root and the group of the service user read (supervisord).
      - What this module prints never shows them; in log lines of the worker, values of less than six characters are not masked.
      - Mutually exclusive with O(secrets_file).
    type: dict
  secrets_file:
    description:
      - Absolute path on the host of a file with a JSON object, whose names and values have the effect that they would have as O(secrets).
      - In check mode it may be absent, and counts as empty then. Mutually exclusive with O(secrets).
    type: path
  tls:
    description:
      - Files on the host with which the instances secure their ports. What the worker does with them is its own matter.
      - It finds their paths in C(EW_TLS_CERT), C(EW_TLS_KEY) and C(EW_TLS_CLIENT_CA), and where O(arguments) has C({tls_cert}), C({tls_key})
        and C({tls_client_ca}).
      - Under the system's systemd they are handed on as credentials, and need to be readable by root alone. Elsewhere the account of the instances
        must be able to read them.
      - After a renewal the instances have to be restarted.
    type: dict
    suboptions:
      cert:
        description: PEM file with the certificate, and those between it and the authority.
        type: path
        required: true
      key:
        description: PEM file with its key.
        type: path
        required: true
      client_ca:
        description: PEM file with the authorities whose certificates callers must have.
        type: path
  restart:
    description: When a process that ended by itself is started again.
    type: dict
    suboptions:
      policy:
        description: After every end, after one with an error, or never.
        type: str
        choices: [always, on-failure, "no"]
        default: always
      delay:
        description: Seconds before it is started again.
        type: float
        default: 2
      burst:
        description: How many starts there are within O(restart.window). After that the instance stays failed.
        type: int
        default: 5
      window:
        description: Seconds, see O(restart.burst).
        type: float
        default: 300
  stop_timeout:
    description: Seconds between SIGTERM and SIGKILL. The worker's own grace must be shorter.
    type: int
    default: 10
  limits:
    description: What one instance may use. Only for O(supervisor=systemd).
    type: dict
    suboptions:
      memory:
        description: Memory such as V(8G), beyond which its processes are killed.
        type: str
      cpu:
        description: Processor cores such as V(1.5).
        type: float
      tasks:
        description: Processes and threads.
        type: int
      files:
        description: Open files.
        type: int
      memlock:
        description: Locked memory such as V(1G), or V(infinity).
        type: str
  sandbox:
    description:
      - V(standard) makes the whole system read-only to the instance but for its own directories, hides homes and devices, and takes away every privilege.
      - V(strict) also takes executable memory, which PyTorch needs, and the view of other processes.
      - V(none) takes nothing.
      - Under supervisord there is no sandbox. V(standard) is taken for V(none) there, and V(strict) is refused.
    type: str
    choices: [standard, strict, none]
    default: standard
  writable_paths:
    description: Absolute paths that the instances may write, apart from their own directories. They must exist. Only for O(supervisor=systemd).
    type: list
    elements: path
  unit_overrides:
    description:
      - Directives that are added to the unit of each instance, as a dictionary of sections with dictionaries of directives.
      - A list writes a directive several times. An empty text resets it. Only for O(supervisor=systemd).
    type: dict
  bind_to_unit:
    description:
      - A unit such as V(gateway.service) that must exist. When it stops, starts or crashes, all instances do.
      - A deploy does not start it. Instances that were started while it did not run follow it from its next start on.
      - Only for O(supervisor=systemd).
    type: str
  supervisor:
    description:
      - What runs the instances.
      - V(auto) takes the one that the worker has on this host already, else systemd where it runs and the module runs as root, else supervisord.
        With O(scope=user) it is systemd.
      - Where the worker has one already, the other one is refused.
    type: str
    choices: [auto, systemd, supervisord]
    default: auto
  scope:
    description:
      - Whether units are the system's, which root alone can make, or those of the account that runs the module (C(systemctl --user)).
      - With V(user) nothing takes effect that needs privileges. O(sandbox=strict) and O(writable_paths) are refused then, and so is each of
        O(limits) that the account's systemd cannot enforce. O(bind_to_unit) is a unit of the account.
      - Under supervisord the user who runs the module decides, and V(user) is refused.
    type: str
    choices: [system, user]
    default: system
  linger:
    description:
      - Whether the account is to linger with O(scope=user), so that its instances start with the machine and outlive its sessions.
      - Where it does not linger yet it turns that on for itself, if the host lets it; else the module fails with the code V(no_linger).
      - Lingering is never turned off.
    type: bool
    default: true
seealso:
  - module: ew_ai.worker.ew_worker_info
  - module: ew_ai.worker.grpc_health
"""

EXAMPLES = r"""
- name: Run two instances of a release
  ew_ai.worker.ew_worker:
    name: ew-worker
    root: /opt/ew_ai_worker
    release: /opt/ew_ai_worker/releases/0123456789abcdef
    python: /opt/ew_ai_worker/envs/ew_ai_worker-0123456789ab-1/bin/python
    user: ew-worker
    instances:
      - name: "0"
        ports: [50051]
      - name: "1"
        ports: [50052]

- name: Stop one of them and keep it down over a reboot
  ew_ai.worker.ew_worker:
    name: ew-worker
    root: /opt/ew_ai_worker
    only: ["1"]
    state: stopped

- name: Let them follow a gateway, with a GPU each and a memory limit
  ew_ai.worker.ew_worker:
    name: ew-worker
    root: /opt/ew_ai_worker
    release: /opt/ew_ai_worker/releases/0123456789abcdef
    python: /opt/ew_ai_worker/envs/ew_ai_worker-0123456789ab-1/bin/python
    user: ew-worker
    bind_to_unit: gateway.service
    limits:
      memory: 16G
    instances:
      - name: "0"
        ports: [50051]
        gpus: [GPU-5c7e1a2b-0000-1111-2222-333344445555]

- name: Run an instance as a unit of the account itself, without root
  ew_ai.worker.ew_worker:
    name: ew-worker
    root: ~/.local/share/ew_ai_worker
    release: ~/.local/share/ew_ai_worker/releases/0123456789abcdef
    python: ~/.local/share/ew_ai_worker/envs/ew_ai_worker-0123456789ab-1/bin/python
    scope: user
    instances:
      - name: "0"
        ports: [50051]

- name: Remove the worker's instances
  ew_ai.worker.ew_worker:
    name: ew-worker
    root: /opt/ew_ai_worker
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  returned: always
  type: list
  elements: dict
  sample:
    - what: instance
      id: ew-worker@0
      status: restarted
supervisor:
  description: What runs the instances.
  returned: always
  type: str
  sample: systemd
scope:
  description: Whether they are the system's or the user's.
  returned: always
  type: str
  sample: system
instances:
  description: The instances that were acted on, as found afterwards.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the instance.
      type: str
      sample: "0"
    id:
      description: Name of the instance on the host.
      type: str
      sample: ew-worker@0
    unit:
      description: What the supervisor calls it.
      type: str
      sample: ew-worker@0.service
    state:
      description:
        - One of V(running), V(starting), V(stopped), V(failed) and V(absent).
        - An instance that waits for its next automatic start is V(starting).
      type: str
      sample: running
    enabled:
      description: Whether it starts with the machine, or with its supervisord.
      type: bool
    pid:
      description: Its main process, or null.
      type: int
      sample: 4711
    started_at:
      description: When that process was started, ISO 8601 in UTC, or null.
      type: str
      sample: "2026-01-05T09:08:07Z"
    stopped_at:
      description: When this call told its process to stop, ISO 8601 in UTC, or null.
      type: str
    restarts:
      description: How often it was restarted by itself since it was last started on purpose.
      type: int
    ports:
      description: The ports that it was given.
      type: list
      elements: int
      sample: [50051]
    generation:
      description: Number of the generation that the process runs, or that its files name where none runs.
      type: int
      sample: 7
    release:
      description: Path of the release that it runs.
      type: str
      sample: /opt/ew_ai_worker/releases/0123456789abcdef
    environment:
      description: Prefix of the environment that it runs in.
      type: str
      sample: /opt/ew_ai_worker/envs/ew_ai_worker-0123456789ab-1
    effective:
      description: Digest of all values that have an effect on the process.
      type: str
      sample: 00112233445566778899aabbccddeeff
    changed:
      description: Whether this call changed it, or would.
      type: bool
    result:
      description: How it ended last, such as V(success), V(exit-code), V(signal), V(timeout) (killed), V(start-limit-hit) or V(orphaned).
      type: str
      sample: success
    exit_status:
      description: Exit status of the process that ended last, negative for a signal, or null.
      type: int
    reason:
      description: Why a failed instance failed, where its supervisor says it.
      type: str
    memory_bytes:
      description: Resident memory of the process and all that it started, or null.
      type: int
      sample: 104857600
    cpu_seconds:
      description: Processor time of the process and all that it started, or null.
      type: float
      sample: 1.5
batches:
  description:
    - The instances that are started or restarted, in the order in which that is done.
    - First come those that are down, together, then those that run, one by one. Those that hand ports to each other are one step,
      in which all of them are stopped before the first is started.
    - From check mode, it tells how to call the module in steps with O(only), and with O(exclusive) where that is set.
  returned: always
  type: list
  elements: list
  sample: [["1"], ["0"]]
removed:
  description: Names of the instances that were removed.
  returned: always
  type: list
  elements: str
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 2.1
code:
  description:
    - The kind of the failure, such as V(start_failed) (an instance did not stay up), V(port_in_use) (somebody else listens on a wanted port),
      V(gpu_unknown) (the host does not have a wanted GPU), V(gpu_taken) (another instance has it),
      V(other_supervisor) (the worker is under another supervisor), V(other_scope) (its units are in the other scope),
      V(no_user_manager) (no systemd runs for the account), V(no_linger) (the account may not linger),
      V(foreign_unit) (a unit of this name is not of this worker),
      V(stale_unit) (a process runs with other values than its files have) or V(invalid_option).
  returned: on failure
  type: str
  sample: start_failed
remedy:
  description: What to do next.
  returned: on failure
  type: str
  sample: "Read its log: journalctl -u ew-worker@0.service -n 100"
failed_instance:
  description: The instance that did not stay up.
  returned: on failure with RV(code=start_failed)
  type: str
  sample: "0"
stale_instance:
  description: The instance whose process has other values than its files.
  returned: on failure with RV(code=stale_unit)
  type: str
  sample: "0"
log:
  description: Its last lines.
  returned: on failure with RV(code=start_failed)
  type: list
  elements: str
cause:
  description: What usually lies behind such an end, or an empty text.
  returned: on failure with RV(code=start_failed)
  type: str
  sample: the environment lacks the package of 'numpy', or the release lacks the file
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.module import hide_secrets, run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import options
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.manage import manage

INSTANCE = {
    "name": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "int"},
    "env": {"type": "dict"},
    "gpus": {"type": "list", "elements": "str"},
}
RESTART = {
    "policy": {"type": "str", "choices": ["always", "on-failure", "no"], "default": "always"},
    "delay": {"type": "float", "default": 2},
    "burst": {"type": "int", "default": 5},
    "window": {"type": "float", "default": 300},
}
TLS = {
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "client_ca": {"type": "path"},
}
LIMITS = {
    "memory": {"type": "str"},
    "cpu": {"type": "float"},
    "tasks": {"type": "int"},
    "files": {"type": "int"},
    "memlock": {"type": "str"},
}
OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "instances": {"type": "list", "elements": "dict", "options": INSTANCE},
    "gpu_sharing": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "started", "stopped", "restarted", "absent"], "default": "started"},
    "only": {"type": "list", "elements": "str"},
    "exclusive": {"type": "bool", "default": False},
    "enabled": {"type": "bool"},
    "force_restart": {"type": "bool", "default": False},
    "generation": {"type": "int"},
    "release": {"type": "path"},
    "python": {"type": "path"},
    "path": {"type": "str"},
    "activation": {"type": "dict"},
    "module": {"type": "str", "default": "worker.main"},
    "arguments": {"type": "list", "elements": "str"},
    "bind": {"type": "str"},
    "user": {"type": "str"},
    "env": {"type": "dict"},
    "secrets": {"type": "dict", "no_log": True},
    "secrets_file": {"type": "path", "no_log": False},
    "tls": {"type": "dict", "options": TLS},
    "restart": {"type": "dict", "options": RESTART},
    "stop_timeout": {"type": "int", "default": 10},
    "limits": {"type": "dict", "options": LIMITS},
    "sandbox": {"type": "str", "choices": ["standard", "strict", "none"], "default": "standard"},
    "writable_paths": {"type": "list", "elements": "path"},
    "unit_overrides": {"type": "dict"},
    "bind_to_unit": {"type": "str"},
    "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "linger": {"type": "bool", "default": True},
}
EMPTY: dict[str, t.Any] = {"supervisor": None, "scope": None, "instances": [], "batches": [], "removed": []}


def work(module: AnsibleModule, given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result, of which no secret is printed, wherever it was given."""
    secrets = options.secrets(given, module.check_mode)
    module.no_log_values |= options.masked_values(secrets.values())
    return manage({**given, "secrets": secrets}, module.check_mode, module.warn)


def main() -> None:
    module = AnsibleModule(
        argument_spec=OPTIONS,
        required_by={"release": ("python", "instances"), "python": ("release",)},
        required_if=[("state", "present", ("release",))],
        mutually_exclusive=[("secrets", "secrets_file")],
        supports_check_mode=True,
    )
    given = hide_secrets(module)
    run_module(module, lambda: work(module, given), EMPTY)


if __name__ == "__main__":
    main()
