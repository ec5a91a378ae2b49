#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Puts one immutable copy of the worker directory on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_release
short_description: Puts the worker directory on a host, as an immutable release
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Hashes the worker directory on the controller, and sends it where the host has no release with that content yet.
    The id of a release follows from its content alone, so a run that finds it sends and packs nothing.
  - A release is complete or not there. No process uses it until an instance is started from it.
  - A worker directory is either C(<dir>/worker/main.py), or the package itself, C(<dir>/main.py), which becomes C(<release>/worker/).
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
    description:
      - On the controller, a directory, a tar or zip archive, or C(git+<url>@<ref>), with C(#subdirectory=<path>) behind it if need be.
        A relative path counts from where Ansible was started.
      - In a directory, links that stay inside are kept, and what links that lead outside point to is copied. Archives and repositories
        may have links that stay inside only. Submodules of a repository are not fetched.
      - Required for O(state=present).
    type: str
  requirements_file:
    description: The requirements file, from the worker directory. The default need not exist, any other must.
    type: str
    default: requirements.txt
  extra_files:
    description:
      - Other files that the environment is built from, from the worker directory. Those that end with C(.yml), C(.yaml), or C(.json), and
        C(@EXPLICIT) lists of any name, are environment files, all others constraint files.
      - What they include, and the local packages that they name, must be in the worker directory.
    type: list
    elements: str
    default: []
  ignore:
    description:
      - Patterns of what to leave out, beside those in C(.workerignore) in the worker directory and the default ones.
      - The default ones leave out C(.git), C(.env), keys (C(*.pem), C(*.key), C(id_rsa*) and others), caches, virtual environments and
        C(node_modules). A later V(!pattern) takes back in.
      - The syntax is that of C(.gitignore), with V(*), V(?), V(**), V([a-z]), V(!), a V(/) at the start or the end, and V(\\) before a
        character that is to mean itself.
    type: list
    elements: str
    default: []
  release:
    description: The id of the release to remove. Required for O(state=absent).
    type: str
  state:
    description:
      - V(present) makes sure that the release is there.
      - V(absent) removes it, unless a process or a generation uses it.
    type: str
    choices: [present, absent]
    default: present
  package:
    description: Set by the action plugin, the tar file on the host that holds the release. Not for playbooks.
    type: path
  content:
    description: Set by the action plugin, what the source is. Not for playbooks.
    type: dict
    suboptions:
      layout:
        description: V(flat) or V(nested).
        type: str
      files:
        description: How many files and links there are.
        type: int
        default: 0
      bytes:
        description: The size of all files.
        type: int
        default: 0
seealso:
  - module: ew_ai.worker.conda_env
  - module: ew_ai.worker.ew_worker
"""

EXAMPLES = r"""
- name: Put the worker directory on the host
  ew_ai.worker.worker_release:
    root: /opt/ew_ai_worker
    source: ./worker
  register: release

- name: Take it from a repository, without its tests
  ew_ai.worker.worker_release:
    root: /opt/ew_ai_worker
    source: git+https://git.example.com/team/worker.git@v1.4.0
    ignore:
      - /tests/

- name: Remove a release that nothing uses any more
  ew_ai.worker.worker_release:
    root: /opt/ew_ai_worker
    release: 1f2e3d4c5b6a7988
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, each with C(what), C(id) and C(status).
  type: list
  elements: dict
  returned: always
  sample: [{what: release, id: releases/1f2e3d4c5b6a7988, status: created}]
release:
  description: The release, with C(id), C(path), C(layout), C(files) and C(bytes). In check mode it need not be there yet.
  type: dict
  returned: always
  sample: {id: 1f2e3d4c5b6a7988, path: /opt/ew_ai_worker/releases/1f2e3d4c5b6a7988, layout: nested, files: 12, bytes: 48213}
created:
  description: Whether the release was not there before.
  type: bool
  returned: always
missing:
  description: Whether the release is not there and has to be sent. Between the action plugin and the module only.
  type: bool
  returned: never
requirements:
  description: Path of the requirements file on the host, or null.
  type: str
  returned: always
requirement_files:
  description: The text of the requirements file, of O(extra_files), and of all that they include, by path on the host, without credentials.
  type: dict
  returned: always
extra_files:
  description: Path on the host of each of O(extra_files), by the path that was given.
  type: dict
  returned: always
sent_bytes:
  description: How many bytes were sent to the host.
  type: int
  returned: always
elapsed:
  description: How long it took, in seconds.
  type: float
  returned: always
code:
  description: A word for what failed, such as V(no_worker), V(unreadable), V(broken_link), V(disk_full), V(in_use).
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
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_root
from ansible_collections.ew_ai.worker.plugins.module_utils.release.options import ARGUMENTS, EMPTY, REQUIRED_IF
from ansible_collections.ew_ai.worker.plugins.module_utils.release.store import Store


def work(options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Without a package, only tell whether one is needed: the action plugin then comes back with it."""
    root, release = check_root("root", options["root"]), options["release"] or ""
    if not re.fullmatch("[0-9a-f]{16}", release):
        raise OptionError("release", release, "an id has 16 hexadecimal digits", f"See what there is: ls {root}/releases")
    actions = Actions()
    store = Store(root, actions, check_mode)
    content = options["content"] or {"layout": None, "files": None, "bytes": None}
    done: dict[str, bool] = {}
    if options["state"] == "absent":
        store.remove(release)
    elif options["package"] is None:
        missing = store.require(release, content["bytes"] or 0, content["files"] or 0)
        done = {"created": missing, "missing": missing}
    else:
        done = {"created": store.add(release, options["package"], content["bytes"] or 0, content["files"] or 0)}
    return {"release": {"id": release, "path": store.path(release), **content}, **done, **actions.as_result()}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, required_if=REQUIRED_IF, supports_check_mode=True)
    run_module(module, lambda: work(module.params, module.check_mode), EMPTY)


if __name__ == "__main__":
    main()
