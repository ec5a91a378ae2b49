#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_toolchain
short_description: Make the virtual environment on a host that the other modules run in
version_added: 0.1.0
description:
  - Gives the host an interpreter that has what the modules of this collection import (grpcio, py-rattler, supervisor, uv),
    without touching the system's own packages.
  - The virtual environment C(<root>/toolchain/<fingerprint>) is built complete or not at all, from pinned requirements with hashes
    and from wheels alone. It is never changed afterwards. Other requirements, or another Python, make another one beside it.
  - Where the interpreter that runs the module already has every distribution that the requirements name, nothing is made.
    The version must be one of those pinned. For what the modules themselves import a version from a known lower bound on will do
    (grpcio 1.60, py-rattler 0.25, supervisor 4.2, typing-extensions 4.12, uv 0.13).
  - A host where nothing is to be done is answered by reading one file.
extends_documentation_fragment:
  - ew_ai.worker.attributes
  - ew_ai.worker.network
requirements:
  - The modules venv and ensurepip of Python (Debian and Ubuntu have them in the package python3-venv)
options:
  root:
    description: The directory below which everything of the collection lies on a host.
    type: path
    required: true
  requirements:
    description:
      - The text of a requirements file in which every package is pinned and hashed, as C(uv pip compile --generate-hashes) writes it.
      - Required with O(state=present).
    type: str
  state:
    description:
      - V(present) makes the toolchain where it is missing.
      - V(absent) removes every toolchain below O(root).
    type: str
    choices: [present, absent]
    default: present
  python:
    description: The interpreter to make the virtual environment from. The one that the module runs on, unless given.
    type: path
  index_url:
    description:
      - The package index, instead of the one in pip's own settings on the host (C(pip.conf), C(PIP_*)), which are in force otherwise.
      - Credentials in it are kept out of the arguments of processes and out of all output.
    type: str
  extra_index_urls:
    description: More package indexes, instead of those in pip's own settings.
    type: list
    elements: str
    default: []
  find_links:
    description: Directories on the host, or pages, with wheels, instead of those in pip's own settings.
    type: list
    elements: str
    default: []
  offline:
    description: Whether to ask no index. The wheels then come from O(find_links).
    type: bool
    default: false
  use_existing:
    description:
      - Whether, where the wanted toolchain is missing, any other complete one below O(root) will do, the newest of them. Then nothing is made.
      - Meant for work on what is deployed already. After an upgrade of the collection, which wants another toolchain, a worker can be
        looked at, stopped and rolled back without an index.
      - Where there is none at all, the wanted one is made as ever.
    type: bool
    default: false
  timeout:
    description: Seconds for each step of the build, and for another run that makes the same toolchain to end.
    type: int
    default: 900
notes:
  - In check mode on a host without the toolchain, RV(python) is the running interpreter, so that the modules after it can still plan.
seealso:
  - module: ansible.builtin.pip
author:
  - EW AI (@ew-ai)
"""

EXAMPLES = r"""
- name: Make the toolchain
  ew_ai.worker.worker_toolchain:
    root: /opt/ew_ai_worker
    requirements: "{{ lookup('ansible.builtin.file', 'toolchain.txt') }}"
  register: toolchain

- name: Run another module in it
  ew_ai.worker.grpc_health:
    targets:
      - address: 127.0.0.1:50051
  vars:
    ansible_python_interpreter: "{{ toolchain.python }}"

- name: Make it on a host without a way out, from wheels that were copied there
  ew_ai.worker.worker_toolchain:
    root: /opt/ew_ai_worker
    requirements: "{{ lookup('ansible.builtin.file', 'toolchain.txt') }}"
    find_links: [/srv/wheels]
    offline: true
"""

RETURN = r"""
python:
  description: The interpreter that has what the modules import. Empty with O(state=absent), and where the task failed.
  returned: always
  type: str
  sample: /opt/ew_ai_worker/toolchain/1f2e3d4c5b6a7980/bin/python
fingerprint:
  description: What names the toolchain, a hash over the requirements without comments, the Python version and the platform.
  returned: always
  type: str
  sample: 1f2e3d4c5b6a7980
created:
  description: Whether it was made now (in check mode, whether it would be).
  returned: always
  type: bool
  sample: false
exact:
  description: Whether RV(python) has just what O(requirements) ask for; with O(use_existing) it may be an older toolchain.
  returned: always
  type: bool
  sample: true
provided:
  description: Whether the running interpreter already has everything, so that there is no toolchain.
  returned: always
  type: bool
  sample: false
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: dict
  sample: [{"what": toolchain, "id": toolchain/1f2e3d4c5b6a7980, "status": created}]
diff:
  description: The packages of the toolchain before and after.
  returned: always
  type: dict
  sample: {"before": {"toolchain/1f2e3d4c5b6a7980": ""}, "after": {"toolchain/1f2e3d4c5b6a7980": "grpcio==1.85.1\n"}}
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
  sample: 0.004
code:
  description:
    - Why it failed. V(no_venv), V(no_network), V(disk_full), V(no_wheel), V(offline), V(hash_mismatch), V(unauthorized), V(tls_error),
      V(proxy_refused), V(verification_failed), V(foreign_directory), V(locked), V(timeout), V(invalid_option), V(install_failed) or V(os_error).
  returned: failure
  type: str
  sample: no_network
remedy:
  description: What to do next.
  returned: failure
  type: str
  sample: Let the host reach its package index.
"""

import sys
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils import network
from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.bounds import at_least
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.masking import hide_credentials
from ansible_collections.ew_ai.worker.plugins.module_utils.host import toolchain, toolchain_pip
from ansible_collections.ew_ai.worker.plugins.module_utils.job import Job
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_root
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import Begin

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "root": {"type": "path", "required": True},
    "requirements": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "python": {"type": "path"},
    "index_url": {"type": "str"},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "find_links": {"type": "list", "elements": "str", "default": []},
    "offline": {"type": "bool", "default": False},
    "network": network.ARGUMENT,
    "use_existing": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 900},
}
EMPTY: dict[str, t.Any] = {"python": "", "fingerprint": "", "created": False, "exact": False, "provided": False}
ADDRESS_OPTIONS = ("index_url", "extra_index_urls", "find_links")


def present(params: dict[str, t.Any], check_mode: bool, begin: Begin) -> dict[str, t.Any]:
    """Plan, and unless in check mode act. Raises WorkerError."""
    for option in ADDRESS_OPTIONS:
        toolchain_pip.refuse_blanks(option, params[option] if isinstance(params[option], list) else [params[option]])
    actions = Actions()
    wanted = toolchain.Toolchain(params["root"], params["requirements"], params["python"], actions)
    plan = wanted.plan(params["use_existing"])
    made = plan.state == "missing"
    network.apply(params["network"], needs_files=made and not check_mode)
    if made and not check_mode:
        sources = toolchain.Sources(params["index_url"], tuple(params["extra_index_urls"]), tuple(params["find_links"]), params["offline"])
        made = wanted.make(plan, sources, params["timeout"], begin(fingerprint=plan.fingerprint))
    if made:
        wanted.tell(plan)
    return {
        **actions.as_result(),
        "python": sys.executable if made and check_mode else plan.python,
        "fingerprint": plan.fingerprint,
        "created": made,
        "exact": plan.state != "older",
        "provided": plan.state == "provided",
    }


def absent(params: dict[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Remove every toolchain below the root."""
    actions = Actions()
    toolchain.remove_all(params["root"], actions, check_mode, params["timeout"])
    return actions.as_result()


def work(module: AnsibleModule, options: dict[str, t.Any]) -> dict[str, t.Any]:
    options["root"] = check_root("root", options["root"])
    at_least("timeout", options["timeout"], 1)
    job = Job(module, Layout(options["root"]).jobs)
    if options["state"] == "absent":
        return absent(options, module.check_mode)
    return present(options, module.check_mode, job.detach)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ["requirements"])],
        supports_check_mode=True,
        # Only keeps the options, which may carry credentials, out of the system's log.
        no_log=True,
    )
    options = hide_credentials(module.params, module.no_log_values, ADDRESS_OPTIONS)
    network.hide(module.params, module.no_log_values)
    run_module(module, lambda: work(module, options), EMPTY)


if __name__ == "__main__":
    main()
