#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings a bundle to the host, once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_bundle
short_description: Brings a bundle to a host, from which it deploys without a route out
version_added: 0.2.0
author:
  - EW AI (@ew-ai)
description:
  - Compares every file of the bundle with what its maker recorded, on the controller once, and on the host again as it is unpacked.
  - A bundle that is there already is not sent. Those that were used last are kept, one for each worker below O(root) and a spare one.
extends_documentation_fragment:
  - ew_ai.worker.attributes
attributes:
  async:
    description: Supports being run with the C(async) keyword.
    support: none
options:
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
    required: true
  source:
    description: The archive on the controller, as M(ew_ai.worker.worker_bundle_archive) makes it. A relative path counts from where Ansible was started.
    type: str
    required: true
  bundle:
    description: Set by the action plugin, the id. Not for playbooks.
    type: str
  bytes:
    description: Set by the action plugin, the size of all files. Not for playbooks.
    type: int
    default: 0
  package:
    description: Set by the action plugin, the archive on the host. Not for playbooks.
    type: path
seealso:
  - module: ew_ai.worker.worker_bundle_archive
"""

EXAMPLES = r"""
- name: Bring the packages
  ew_ai.worker.worker_bundle:
    root: /opt/ew_ai_worker
    source: bundles/worker.tar
  register: bundle

- name: Build the environment from them
  ew_ai.worker.conda_env:
    root: /opt/ew_ai_worker
    name: ew_ai_worker
    python_version: "3.11"
    mirror: "{{ bundle.bundle.path }}/channel"
    find_links: ["{{ bundle.bundle.path }}/wheels"]
    offline: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, each with C(what), C(id) and C(status).
  type: list
  elements: dict
  returned: always
  sample: [{what: bundle, id: bundles/1f2e3d4c5b6a7988, status: created}]
bundle:
  description: The bundle, with C(id), C(path) and C(bytes). In check mode it need not be there yet.
  type: dict
  returned: always
  sample: {id: 1f2e3d4c5b6a7988, path: /opt/ew_ai_worker/bundles/1f2e3d4c5b6a7988, bytes: 123456789}
created:
  description: Whether it was not there before.
  type: bool
  returned: always
missing:
  description: Whether it is not there and has to be sent. Between the action plugin and the module only.
  type: bool
  returned: never
sent_bytes:
  description: How many bytes were sent to the host.
  type: int
  returned: always
elapsed:
  description: How long it took, in seconds.
  type: float
  returned: always
code:
  description: A word for what failed, V(bad_bundle), V(disk_full) or V(transfer_failed).
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.bundle.store import Bundles
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_root

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "root": {"type": "path", "required": True},
    "source": {"type": "str", "required": True},
    "bundle": {"type": "str"},
    "bytes": {"type": "int", "default": 0},
    "package": {"type": "path"},
}
EMPTY: dict[str, t.Any] = {"bundle": {"id": None, "path": None, "bytes": None}, "created": False, "sent_bytes": 0}


def work(options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Without a package, only tell whether one is needed: the action plugin then comes back with it."""
    root, bundle, size = check_root("root", options["root"]), options["bundle"] or "", options["bytes"]
    if not re.fullmatch("[0-9a-f]{16}", bundle):
        raise OptionError("bundle", bundle, "an id has 16 hexadecimal digits", "Leave it out: the action plugin reads it from the archive.")
    actions = Actions()
    store = Bundles(root, actions, check_mode)
    if options["package"] is None:
        missing = store.require(bundle, size)
        done = {"created": missing, "missing": missing}
    else:
        done = {"created": store.add(bundle, options["package"], size)}
    return {"bundle": {"id": bundle, "path": store.path(bundle), "bytes": size}, **done, **actions.as_result()}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run_module(module, lambda: work(module.params, module.check_mode), EMPTY)


if __name__ == "__main__":
    main()
