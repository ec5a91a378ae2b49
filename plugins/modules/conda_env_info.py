#!/usr/bin/python

# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: conda_env_info
short_description: Tell which builds of a conda environment are on a host
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - Tells what is in environments that M(ew_ai.worker.conda_env) has built, and in any other prefix of conda, mamba, micromamba,
    or rattler, and names what is broken in them. Starts no program and changes nothing.
extends_documentation_fragment:
  - ew_ai.worker.attributes
  - ew_ai.worker.attributes.info
options:
  name:
    description:
      - Name of the environment. Exactly one of O(name) and O(prefix) is required.
    type: str
  prefix:
    description:
      - Exact path of the environment, whatever made it.
    type: path
  root:
    description:
      - Directory that holds environments.
    type: path
    default: /opt/ew_ai_worker
seealso:
  - module: ew_ai.worker.conda_env
"""

EXAMPLES = r"""
- name: Look at the builds of the worker's environment
  ew_ai.worker.conda_env_info:
    name: ew_ai_worker
  register: builds

- name: Show what was changed by hand
  ansible.builtin.debug:
    msg: "{{ builds['environments'] | map(attribute='drift') | flatten }}"

- name: Look at an environment that somebody made with conda
  ew_ai.worker.conda_env_info:
    prefix: /srv/miniforge3/envs/train
"""

RETURN = r"""
actions:
  description: Always empty.
  returned: always
  type: list
  elements: dict
code:
  description: A stable word for what went wrong.
  returned: failure
  type: str
  sample: broken_file
elapsed:
  description: Seconds that the module took.
  returned: always
  type: float
environments:
  description: Every build that is on the host, in the order of their paths; for O(prefix) at most one.
  returned: always
  type: list
  elements: dict
  contains:
    prefix:
      description: Path of the environment.
      type: str
    state:
      description:
        - V(complete), V(partial) (left by a killed run), V(broken) (its record cannot be read), or V(foreign) (not made
          by the module; also what stands in the place of the link of O(name)).
      type: str
    fingerprint:
      description: 64 hexadecimal digits over the contents; null unless it is complete.
      type: str
    build:
      description: Number of the build.
      type: int
    created_at:
      description: When it was completed, ISO 8601 in UTC; null unless it is complete.
      type: str
    python:
      description: Path of its Python.
      type: str
    python_version:
      description: Version of its Python.
      type: str
    backend:
      description: Name, version, and executable of what created it; null unless it is complete.
      type: dict
    tool:
      description: What made it, V(conda), V(mamba), V(micromamba), or V(rattler), null where nothing tells.
      type: str
    packages:
      description:
        - What was recorded, as returned by M(ew_ai.worker.conda_env); unless it is complete, what the records of the tool and the
          Python packages on disk tell.
      type: dict
    broken:
      description: What is broken, such as records that cannot be read, files that are gone, and what killed tools have left.
      type: list
      elements: dict
      contains:
        path:
          description: What it is about.
          type: str
        problem:
          description: What is wrong with it.
          type: str
    activation:
      description: Variables of the activated environment; null unless it is complete.
      type: dict
    drift:
      description: What has changed since, package by package.
      type: list
      elements: dict
    linked:
      description: Whether the link for people points to it.
      type: bool
link:
  description: Path of the link for people, null where there is none.
  returned: always
  type: str
  sample: /opt/ew_ai_worker/envs/ew_ai_worker
remedy:
  description: What to do next.
  returned: failure
  type: str
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inventory import take_inventory
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place, record_path
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.prefixes import find, is_our_link
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.record import Found, look
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module

RECORDED = ("created_at", "python", "python_version", "backend", "packages", "activation")


def look_anyway(path: str, build: int = 0) -> Found:
    """As ``look``, but one whose record cannot be read is told as such."""
    try:
        return look(path, build)
    except WorkerError:
        return Found(path, "broken", build, what="is no record of this version of the module")
    except OSError:
        # What it is about is among the broken.
        return Found(path, "broken", build)


def environments_of(place: Place) -> list[Found]:
    """Those of the place, and what stands where the link of the name belongs and is not a link to one of them."""
    found = [each for each in find(place, look_anyway) if each.state != "absent"]
    if place.link is not None and os.path.lexists(place.link) and not is_our_link(place):
        found.append(Found(place.link, "foreign"))
    return sorted(found, key=lambda each: each.path)


def describe(found: Found, place: Place) -> dict[str, t.Any]:
    """One entry of ``environments``."""
    inventory = take_inventory(found.path)
    broken = list(inventory.broken)
    if found.state == "broken" and found.what:
        broken.append({"path": record_path(found.path), "problem": found.what})
    seen = {name: getattr(inventory, name) for name in ("python", "python_version", "packages")} if found.state != "complete" else {}
    return {
        **{key: found.record.get(key) for key in RECORDED},
        **seen,
        "prefix": found.path,
        "state": found.state,
        "fingerprint": found.fingerprint or None,
        "build": found.build,
        "tool": (found.record.get("backend") or {}).get("name") or inventory.tool,
        "broken": broken,
        "drift": list(found.drift),
        "linked": place.link is not None and os.path.islink(place.link) and os.readlink(place.link) == os.path.basename(found.path),
    }


def work(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result's keys. Raises WorkerError."""
    place = wanted_place(options)
    environments = [describe(found, place) for found in environments_of(place)]
    return {"environments": environments, "link": place.link if place.link is not None and os.path.islink(place.link) else None}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str"},
            "prefix": {"type": "path"},
            "root": {"type": "path", "default": "/opt/ew_ai_worker"},
        },
        supports_check_mode=True,
        mutually_exclusive=[("name", "prefix")],
        required_one_of=[("name", "prefix")],
    )
    run_module(module, lambda: work(module.params), {"environments": [], "link": None})


if __name__ == "__main__":
    main()
