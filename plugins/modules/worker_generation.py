#!/usr/bin/python
# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The generations of a worker on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worker_generation
short_description: Keeps the generations of a worker
version_added: 0.1.0
author:
  - EW AI (@ew-ai)
description:
  - A generation is one numbered record of what a worker runs on a host, its release, its environment and its settings, with its last verdict.
  - Records a candidate before the instances are changed, concludes it afterwards, prunes what no generation needs, and gives the lease back.
  - The role P(ew_ai.worker.worker#role) calls it; there is little reason to call it alone.
extends_documentation_fragment:
  - ew_ai.worker.attributes
options:
  root:
    description: Absolute path below which everything of the workers on the host lives.
    type: path
    required: true
  name:
    description: Name of the worker.
    type: str
    required: true
  state:
    description:
      - V(present) finds or records the generation for O(release), O(environment) and O(settings).
      - V(finished) concludes O(generation) with O(verdict), makes a good one the active one, prunes, writes the log and gives the lease back.
      - V(absent) forgets every generation and removes the releases and environments that no other worker needs.
    type: str
    choices: [present, finished, absent]
    default: present
  release:
    description: The release, with C(id) and C(path). Required for O(state=present); O(state=finished) reads it in check mode, where nothing has recorded it.
    type: dict
  environment:
    description: The environment, with C(prefix), C(fingerprint), C(build), C(python) and C(activation). Used as O(release).
    type: dict
  settings:
    description: The options of M(ew_ai.worker.ew_worker) that the instances get, without secrets. Used as O(release).
    type: dict
  force:
    description: Whether to deploy again what was rolled back.
    type: bool
    default: false
  generation:
    description: Number of the generation that O(state=finished) is about. Without it only the log is written and the lease given back.
    type: int
  verdict:
    description: What became of O(generation). V(unverified) is a good one whose health was not asked for.
    type: str
    choices: [healthy, failed, unverified]
  reason:
    description: One sentence about the verdict.
    type: str
    default: ""
  rolled_back_from:
    description: Number of the generation that an operator left for O(generation).
    type: int
  keep:
    description: How many generations stay, the active one and the one that a rollback would take among them.
    type: int
    default: 3
  endpoints:
    description: Where the instances of this host listen, written for whoever routes calls.
    type: list
    elements: dict
  log:
    description: An entry for the deploy log; appended where something changed or failed.
    type: dict
  lease_run:
    description: The run whose lease is given back.
    type: str
  purge:
    description: Whether O(state=absent) removes the data of the instances, the logs and the record of the deploys too.
    type: bool
    default: false
seealso:
  - module: ew_ai.worker.worker_generation_info
"""

EXAMPLES = r"""
- name: Find the number to deploy under
  ew_ai.worker.worker_generation:
    root: /opt/ew_ai_worker
    name: ew-worker
    release: "{{ release.release }}"
    environment: "{{ environment_of_worker }}"
    settings: "{{ settings }}"
  register: generation

- name: Conclude it
  ew_ai.worker.worker_generation:
    root: /opt/ew_ai_worker
    name: ew-worker
    state: finished
    generation: "{{ generation.generation }}"
    verdict: healthy
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode.
  type: list
  elements: dict
  returned: always
  sample: [{"what": "generation", "id": "ew-worker/4", "status": "created"}]
elapsed:
  description: How long the module worked, in seconds.
  type: float
  returned: always
generation:
  description: The number that the deploy works under.
  type: int
  returned: always
  sample: 4
new:
  description: Whether it differs from the active generation.
  type: bool
  returned: always
previous:
  description: The whole record of the generation that was active before, or null.
  type: dict
  returned: always
pruned:
  description: What was removed, or would be, below the root.
  type: list
  elements: str
  returned: always
last:
  description: Whether O(state=absent) left no other worker below the root.
  type: bool
  returned: always
code:
  description: A word for the failure, such as V(rolled_back).
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import datetime
import os
import shutil
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.files import read_json, write_json
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.job import end_jobs
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_name, check_root
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import users_of

EMPTY: dict[str, t.Any] = {"generation": None, "new": False, "previous": None, "pruned": [], "last": False}


class GenerationManager:
    """Carries one call: options as typed attributes, one method for each state."""

    def __init__(self, module: AnsibleModule) -> None:
        self.options: dict[str, t.Any] = module.params
        self.check_mode: bool = module.check_mode
        self.root: str = check_root("root", self.options["root"])
        self.name: str = check_name("name", self.options["name"])
        self.actions = Actions()
        self.now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

    def run(self) -> dict[str, t.Any]:
        """The result of the state asked for."""
        result = {"present": self.present, "finished": self.finished, "absent": self.absent}[self.options["state"]]()
        return {**result, **self.actions.as_result()}

    def present(self) -> dict[str, t.Any]:
        """Find or record the generation of what is wanted."""
        found = store.load(self.root, self.name)
        wanted = states.Wanted(self.options["release"], self.options["environment"], self.options["settings"])
        candidate = states.choose(found, wanted, self.options["force"])
        if not candidate.recorded:
            self.actions.add("generation", f"{self.name}/{candidate.number}", "created")
            self.actions.differ("generation", summary(candidate.previous), summary({"number": candidate.number, **self.wanted_record()}))
        if not candidate.recorded and not self.check_mode:
            store.save(self.root, self.name, states.record_candidate(found, wanted, candidate, self.now))
        return {"generation": candidate.number, "new": candidate.new, "previous": candidate.previous}

    def wanted_record(self) -> dict[str, t.Any]:
        return {name: self.options[name] for name in ("release", "environment", "settings")}

    def finished(self) -> dict[str, t.Any]:
        """Conclude the generation; what cannot change any more is written last, the lease goes at the very end."""
        found = self.recorded()
        number = self.options["generation"]
        pruned: list[str] = []
        if number is not None:
            after = states.conclude(found, number, self.options["verdict"], self.options["reason"], self.now, self.options["rolled_back_from"])
            kept = self.without_old(after) if self.options["verdict"] != states.FAILED else after
            self.write_state(found, kept)
            dropped = [each for each in after["generations"] if states.find(kept, each["number"]) is None]
            pruned = self.prune(kept, dropped)
        self.write_endpoints()
        if self.options["log"] and not self.check_mode:
            store.append_log(self.root, self.name, {"at": self.now, **self.options["log"]})
        if self.options["lease_run"] and not self.check_mode:
            lease.give_back(self.root, self.name, self.options["lease_run"])
        return {"generation": number, "previous": states.active(found), "pruned": pruned}

    def recorded(self) -> states.State:
        """The state; in check mode with the candidate in it, which the real run would have recorded by now."""
        found = store.load(self.root, self.name)
        number = self.options["generation"]
        if number is None or not self.check_mode or states.find(found, number) is not None:
            return found
        release, environment = self.options["release"] or {"path": ""}, self.options["environment"] or {"prefix": ""}
        candidate = states.Candidate(number, True, False, states.active(found))
        return states.record_candidate(found, states.Wanted(release, environment, self.options["settings"] or {}), candidate, self.now)

    def without_old(self, state: states.State) -> states.State:
        """The state without the old generations, but for those that a process still runs: installed is not started.

        What a generation that stays has in common with an old one keeps nothing: most share their environment.
        """
        kept = states.drop_old(state, self.options["keep"])["generations"]
        numbers = {each["number"] for each in kept}
        staying = {path for each in kept for path in paths_of(each)}

        def stays(record: states.Record) -> bool:
            return record["number"] in numbers or any(users_of(path) for path in paths_of(record) - staying)

        return {**state, "generations": [each for each in state["generations"] if stays(each)]}

    def write_state(self, found: states.State, after: states.State) -> None:
        if after == found:
            return
        if after["active"] != found["active"]:
            self.actions.add("generation", f"{self.name}/{after['active']}", "activated")
        else:
            self.actions.add("generation", f"{self.name}/{self.options['generation']}", "concluded")
        self.actions.differ("active generation", found["active"], after["active"])
        if not self.check_mode:
            store.save(self.root, self.name, after)

    def prune(self, coming: states.State, dropped: list[states.Record]) -> list[str]:
        paths = store.prunable(self.root, coming, dropped, time.time())
        for path in paths:
            self.actions.add("release" if "/releases/" in path else "environment", os.path.relpath(path, self.root), "removed")
            if not self.check_mode:
                store.remove_tree(path)
        return [os.path.relpath(path, self.root) for path in paths]

    def write_endpoints(self) -> None:
        wanted = self.options["endpoints"]
        path = Layout(self.root).worker(self.name).endpoints
        if wanted is None or read_json(path) == {"worker": self.name, "endpoints": wanted}:
            return
        self.actions.add("endpoints", self.name, "changed")
        if not self.check_mode:
            write_json(path, {"worker": self.name, "endpoints": wanted})

    def absent(self) -> dict[str, t.Any]:
        """Forget the worker; with the last one of the root goes everything that the workers shared."""
        found = store.load(self.root, self.name)
        home = Layout(self.root).worker(self.name).home
        forgotten = {**states.empty(self.name), "next": found["next"]}
        if found["generations"]:
            self.actions.add("generation", self.name, "removed")
            self.actions.differ("active generation", found["active"], None)
            if not self.check_mode:
                store.save(self.root, self.name, forgotten)
        pruned = self.prune(forgotten, found["generations"])
        # The lease of this very run is nothing that anybody put there.
        if self.options["purge"] and set(list_names(home)) - {"lease.json"}:
            self.actions.add("data", f"workers/{self.name}", "removed")
        if not self.check_mode:
            self.remove_files(home)
        if self.options["purge"] and not self.check_mode and os.path.isdir(home):
            store.remove_tree(home)
        return {"pruned": pruned + self.remove_shared(), "previous": states.active(found), "last": self.is_last()}

    def remove_files(self, home: str) -> None:
        for name in ("state.json", "endpoints.json", "lease.json", "salt"):
            path = os.path.join(home, name)
            if os.path.exists(path):
                os.unlink(path)
        remove_if_empty(home)

    def is_last(self) -> bool:
        """Whether no other worker is deployed below the root, and none is being deployed."""
        layout = Layout(self.root)
        others = [name for name in list_names(layout.workers()) if name != self.name]
        return not any(os.path.exists(layout.worker(name).state) or lease.current(self.root, name) for name in others)

    def remove_shared(self) -> list[str]:
        layout = Layout(self.root)
        if not os.path.isdir(self.root) or not self.is_last():
            return []
        if not self.check_mode:
            end_jobs(layout.jobs)
        doomed = [path for path in (layout.releases, layout.envs, layout.toolchain, layout.cache, layout.locks) if os.path.isdir(path)]
        for path in doomed:
            if path != layout.locks:
                self.actions.add("shared", os.path.relpath(path, self.root), "removed")
            if not self.check_mode:
                shutil.rmtree(path)
        if not self.check_mode:
            remove_if_empty(layout.workers())
            remove_if_empty(self.root)
        return [os.path.relpath(path, self.root) for path in doomed]


def list_names(directory: str) -> list[str]:
    """The names in the directory, none where there is no such directory."""
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def remove_if_empty(directory: str) -> None:
    """Remove the directory unless something is in it."""
    if os.path.isdir(directory) and not os.listdir(directory):
        os.rmdir(directory)


def paths_of(record: states.Record) -> set[str]:
    """The directories that a generation needs."""
    return {record["release"]["path"], record["environment"]["prefix"]}


def summary(record: t.Optional[states.Record]) -> t.Optional[dict[str, t.Any]]:
    """What a person compares of two generations."""
    if record is None:
        return None
    return {"number": record["number"], "release": record["release"]["id"], "environment": record["environment"]["prefix"], "settings": record["settings"]}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "finished", "absent"], "default": "present"},
            "release": {"type": "dict"},
            "environment": {"type": "dict"},
            "settings": {"type": "dict"},
            "force": {"type": "bool", "default": False},
            "generation": {"type": "int"},
            "verdict": {"type": "str", "choices": ["healthy", "failed", "unverified"]},
            "reason": {"type": "str", "default": ""},
            "rolled_back_from": {"type": "int"},
            "keep": {"type": "int", "default": 3},
            "endpoints": {"type": "list", "elements": "dict"},
            "log": {"type": "dict"},
            "lease_run": {"type": "str"},
            "purge": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["release", "environment", "settings"])],
        required_by={"generation": ["verdict"]},
        supports_check_mode=True,
    )
    run_module(module, lambda: GenerationManager(module).run(), EMPTY)


if __name__ == "__main__":
    main()
