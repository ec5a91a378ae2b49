#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tells what runs of a worker, and its last log lines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ew_worker_info
short_description: Tells what runs of a worker, and its last log lines
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Reads every instance of a worker on a host from its supervisor and from the processes themselves. An empty list where there is none.
  - Works too where the worker's supervisord does not run.
extends_documentation_fragment:
  - ew_ai.worker.attributes.info
options:
  name:
    description: Name of the worker.
    type: str
    required: true
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
    required: true
  only:
    description: Names of the instances to tell of. Each must exist.
    type: list
    elements: str
  supervisor:
    description:
      - What runs the instances.
      - V(auto) takes the one that the worker has on this host, else systemd where it runs and the module runs as root, else supervisord.
    type: str
    choices: [auto, systemd, supervisord]
    default: auto
  scope:
    description: Whether to look at units of the system or at those of the account that runs the module.
    type: str
    choices: [system, user]
    default: system
  logs:
    description:
      - How many of the last log lines of each instance to return.
      - The secrets that M(ew_ai.worker.worker_generation) keeps for the worker are masked in them, but for those of less than six characters.
    type: int
    default: 0
seealso:
  - module: ew_ai.worker.ew_worker
"""

EXAMPLES = r"""
- name: Look at a worker and the last 20 lines of each instance
  ew_ai.worker.ew_worker_info:
    name: ew-worker
    root: /opt/ew_ai_worker
    logs: 20
  register: found

- name: Show its processes
  ansible.builtin.debug:
    msg: "{{ found['instances'] | map(attribute='pid') }}"
"""

RETURN = r"""
actions:
  description: Always empty, for this module changes nothing.
  returned: always
  type: list
  elements: dict
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
  description: Every instance, or those of O(only), ordered by name.
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
logs:
  description:
    - The last lines of each instance by its name, oldest first, as dictionaries of C(time) (ISO 8601 in UTC, or empty) and C(line).
    - A line of a log file has the time that it begins with, else that of the line before.
  returned: always
  type: dict
  sample:
    "0":
      - time: "2026-01-05T09:08:07.123Z"
        line: Listening on 127.0.0.1:50051
elapsed:
  description: Seconds that it took.
  returned: always
  type: float
  sample: 0.1
code:
  description: The kind of the failure.
  returned: on failure
  type: str
  sample: supervisor_unreachable
remedy:
  description: What to do next.
  returned: on failure
  type: str
  sample: "kill 4711"
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.inform import inform

OPTIONS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "root": {"type": "path", "required": True},
    "only": {"type": "list", "elements": "str"},
    "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    "scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
    "logs": {"type": "int", "default": 0},
}
EMPTY: dict[str, t.Any] = {"supervisor": None, "scope": None, "instances": [], "logs": {}}


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    run_module(module, lambda: inform(module.params), EMPTY)


if __name__ == "__main__":
    main()
