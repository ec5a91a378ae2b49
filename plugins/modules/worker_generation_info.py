#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the generations of a worker on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_generation_info
short_description: Tells the generations of a worker
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Reads what M(ew_ai.worker.worker_generation) keeps, and who holds the lease.
extends_documentation_fragment:
  - ew_ai.worker.attributes
  - ew_ai.worker.attributes.info
options:
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
    required: true
  name:
    description: Name of the worker.
    type: str
    required: true
  rollback_to:
    description:
      - What to go back to. Either the number of a generation, or the id of a release, 16 hexadecimal digits.
      - Numbers are those of one host. Of a release the good generation is taken that was active last, on each host under its own number.
      - Without it the good generation is taken that was active last before the active one.
    type: str
  force:
    description: Whether O(rollback_to) may name a generation that failed, or that was never concluded.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: See what a rollback would take
  ew_ai.worker.worker_generation_info:
    root: /opt/ew_ai_worker
    name: ew-worker
  register: generations

- name: See which generation has a release
  ew_ai.worker.worker_generation_info:
    root: /opt/ew_ai_worker
    name: ew-worker
    rollback_to: 4f1d8c02aa9b3e57
"""

RETURN = r"""
actions:
  description: Always empty, this module changes nothing.
  type: list
  elements: dict
  returned: always
elapsed:
  description: How long the module worked, in seconds.
  type: float
  returned: always
active:
  description: The whole record of the active generation, or null before the first deploy.
  type: dict
  returned: always
generations:
  description: Every record, oldest first.
  type: list
  elements: dict
  returned: always
lease:
  description: Who works on the worker at this moment, or null.
  type: dict
  returned: always
rollback_target:
  description:
    - The record that a rollback would take, or null.
    - A record has C(number), C(release), C(environment), C(settings), C(secrets_digest), C(secrets_file), C(created_at), C(activated_at)
      and C(verdict). C(secrets_file) is the path of its secrets on the host, null without any.
  type: dict
  returned: always
code:
  description: A word for the failure, such as V(unknown_generation) or V(not_good).
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_name, check_root

EMPTY: dict[str, t.Any] = {"active": None, "generations": [], "lease": None, "rollback_target": None}


def read(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result's keys for ``root``, ``name``, ``rollback_to`` and ``force``."""
    root, name = check_root("root", options["root"]), check_name("name", options["name"])
    found = store.load(root, name)
    holder = lease.current(root, name)
    return {
        "active": states.active(found),
        "generations": found["generations"],
        "lease": dataclasses.asdict(holder) if holder else None,
        "rollback_target": states.rollback_target(found, options["rollback_to"], options["force"]),
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "rollback_to": {"type": "str"},
            "force": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run_module(module, lambda: read(module.params), EMPTY)


if __name__ == "__main__":
    main()
