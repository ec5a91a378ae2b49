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
      - V(present) finds or records the generation for O(release), O(conda_environment), O(settings) and O(secrets).
      - V(finished) concludes O(generation) with O(verdict), makes a good one the active one, writes the endpoints and the log, prunes,
        and gives the lease back whatever happens. Trouble with the log or with pruning is a warning.
      - V(absent) forgets every generation and removes the releases and environments that no other worker needs.
    type: str
    choices: [present, finished, absent]
    default: present
  release:
    description: The release, with C(id) and C(path). Required for O(state=present); O(state=finished) reads it in check mode, where nothing has recorded it.
    type: dict
  conda_environment:
    description: The environment, with C(prefix), C(fingerprint), C(build), C(python) and C(activation). Used as O(release).
    type: dict
  settings:
    description: The options of M(ew_ai.worker.ew_worker) that the instances get, without secrets. Used as O(release).
    type: dict
  secrets:
    description:
      - The secret variables of the instances. They belong to the generation as O(settings) do, so that other secrets make another one.
      - They are kept on the host in a file that only its owner may read, and removed with the generation.
      - The generations themselves have no more than a keyed digest of them.
    type: dict
  force:
    description: Whether to deploy again what was rolled back.
    type: bool
    default: false
  generation:
    description: Number of the generation that O(state=finished) is about. Without it only the log is written and the lease given back.
    type: int
  verdict:
    description:
      - What became of O(generation). V(unverified) is a good one whose health was not asked for.
      - V(failed) says nothing against a generation that was active and healthy before; then something else failed.
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
    description:
      - Where the instances of this host listen, written for whoever routes calls.
      - Check mode foretells a change of where they listen, not one of their C(status), which is not known before.
    type: list
    elements: dict
  log:
    description: An entry for the deploy log; appended where something changed or failed.
    type: dict
  lease_run:
    description:
      - The run that calls. Where it has lost the lease of the worker to another run, nothing is changed and the task fails with the code
        V(lease_lost); otherwise its lease is renewed.
      - With O(state=finished) its lease is given back at the end.
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
    conda_environment: "{{ environment_of_worker }}"
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
secrets_file:
  description:
    - Path on the host of the secrets of RV(generation) with O(state=present), a JSON object of values by name; null where it has none.
    - Null in check mode for those that are not kept yet.
  type: str
  returned: always
  sample: /opt/ew_ai_worker/workers/ew-worker/secrets/generation-4.json
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
  description: A word for the failure, such as V(rolled_back), V(lease_lost), V(unknown_generation), V(locked) or V(newer_state).
  type: str
  returned: failure
holder:
  description: Who has the lease now, or null.
  type: dict
  returned: failure with RV(code=lease_lost)
remedy:
  description: What to do next.
  type: str
  returned: failure
"""

import contextlib
import datetime
import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.boundaries import boundary
from ansible_collections.ew_ai.worker.plugins.module_utils.bounds import at_least
from ansible_collections.ew_ai.worker.plugins.module_utils.environment import pruning
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked, read_json, write_json
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, locks, secret_files, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.job import end_jobs
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.module import hide_secrets, run_module
from ansible_collections.ew_ai.worker.plugins.module_utils.names import check_name, check_root
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import users_of
from ansible_collections.ew_ai.worker.plugins.module_utils.release.store import Store
from ansible_collections.ew_ai.worker.plugins.module_utils.salt import make_salt, read_salt
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.options import variables

EMPTY: dict[str, t.Any] = {"generation": None, "new": False, "previous": None, "secrets_file": None, "pruned": [], "last": False}
# What equals no digest: in check mode there may be no salt yet.
UNKNOWN = "unknown"


class GenerationManager:
    """Carries one call: options as typed attributes, one method for each state."""

    def __init__(self, options: t.Mapping[str, t.Any], check_mode: bool, warn: t.Callable[[str], None]) -> None:
        self.options = options
        self.check_mode = check_mode
        self.warn = warn
        self.root: str = check_root("root", options["root"])
        self.name: str = check_name("name", options["name"])
        at_least("keep", options["keep"], 1)
        at_least("generation", options["generation"] or 1, 1)
        self.paths = Layout(self.root).worker(self.name)
        # In check mode nobody has a lease.
        self.run_id: str = "" if check_mode else options["lease_run"] or ""
        self.secrets = dict(variables("secrets", options["secrets"]))
        self.actions = Actions()
        self.now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")

    def run(self) -> dict[str, t.Any]:
        """The result of the state asked for."""
        result = {"present": self.present, "finished": self.finished, "absent": self.absent}[self.options["state"]]()
        return {**result, **self.actions.as_result()}

    def holding(self, lock: t.Callable[[], t.ContextManager[None]]) -> t.ContextManager[None]:
        """The lock; in check mode, which writes nothing, none."""
        return contextlib.nullcontext() if self.check_mode else lock()

    def holding_state(self) -> t.ContextManager[None]:
        return self.holding(lambda: locks.of_state(self.root, self.name))

    def refuse_without_lease(self) -> None:
        """Another run may have taken over meanwhile, and what this one knows is out of date."""
        if self.run_id:
            lease.renew(self.root, self.name, self.run_id)

    def warn_of_trouble(self, what: str, work: t.Callable[[], None]) -> None:
        """Do what is no reason to fail: the worker serves all the same."""
        try:
            work()
        except WorkerError as error:
            self.warn(f"{what}: {error}")
        except OSError as error:
            self.warn(f"{what}: {error.strerror}{f' ({error.filename})' if error.filename else ''}.")

    def present(self) -> dict[str, t.Any]:
        """Find or record the generation of what is wanted."""
        refuse_incomplete("release", self.options["release"], ("id", "path"))
        refuse_incomplete("conda_environment", self.options["conda_environment"], ("prefix", "fingerprint"))
        with self.holding_state():
            self.refuse_without_lease()
            found = store.load(self.root, self.name)
            wanted = states.Wanted(self.options["release"], self.options["conda_environment"], self.options["settings"], self.secrets_digest())
            candidate = states.choose(found, wanted, self.options["force"])
            if not candidate.recorded:
                self.actions.add("generation", f"{self.name}/{candidate.number}", "created")
                self.actions.differ("generation", summary(candidate.previous), summary({"number": candidate.number, **vars(wanted)}))
            path = self.keep_secrets(candidate)
            if not candidate.recorded and not self.check_mode:
                store.save(self.root, self.name, states.record_candidate(found, wanted, candidate, self.now, path))
                boundary("generation.recorded")
        return {"generation": candidate.number, "new": candidate.new, "previous": candidate.previous, "secrets_file": path}

    def secrets_digest(self) -> t.Optional[str]:
        if not self.secrets:
            return None
        if not self.check_mode:
            os.makedirs(self.paths.home, exist_ok=True)
        salt = read_salt(self.paths.salt) if self.check_mode else make_salt(self.paths.salt)
        return secret_files.digest_of(self.secrets, salt) if salt else UNKNOWN

    def keep_secrets(self, candidate: states.Candidate) -> t.Optional[str]:
        """Where the secrets of the candidate are kept, written unless they are there; None without any, or where check mode wrote none."""
        if not self.secrets:
            return None
        path = self.paths.generation_secrets(candidate.number)
        if secret_files.read(path) == self.secrets:
            return path
        if candidate.recorded:
            self.actions.add("generation", f"{self.name}/{candidate.number}", "changed")
        return None if self.check_mode else secret_files.write(self.paths, candidate.number, self.secrets)

    def finished(self) -> dict[str, t.Any]:
        """Conclude the generation: what others act on comes first, then what may fail without harm, and the lease goes in any case."""
        number, pruned = self.options["generation"], list[str]()
        try:
            with self.holding_state():
                self.refuse_without_lease()
                found = self.recorded()
                after, kept = self.concluded(found)
                doomed = {path for each in after["generations"] if states.find(kept, each["number"]) is None for path in paths_of(each)}
                # Whoever is killed before all of it is removed leaves the rest to the next run.
                kept = states.with_doomed(kept, doomed)
                self.write_state(found, kept)
            self.write_endpoints()
            self.warn_of_trouble("The deploy log was not written", self.write_log)
            if number is not None:
                self.warn_of_trouble("What is not needed any more was not removed", lambda: self.prune(kept, pruned))
        finally:
            if self.run_id:
                lease.give_back(self.root, self.name, self.run_id)
        return {"generation": number, "previous": states.active(found), "pruned": pruned}

    def recorded(self) -> states.State:
        """The state; in check mode with the candidate in it, which the real run would have recorded by now."""
        found = store.load(self.root, self.name)
        number = self.options["generation"]
        if number is None or not self.check_mode or states.find(found, number) is not None:
            return found
        release, environment = self.options["release"] or {"id": "", "path": ""}, self.options["conda_environment"] or {"prefix": "", "fingerprint": ""}
        candidate = states.Candidate(number, True, False, states.active(found))
        return states.record_candidate(found, states.Wanted(release, environment, self.options["settings"] or {}), candidate, self.now)

    def concluded(self, found: states.State) -> tuple[states.State, states.State]:
        """The state with the verdict, and the same without what is too old."""
        if self.options["generation"] is None:
            return found, found
        verdict = self.options["verdict"]
        after = states.conclude(found, self.options["generation"], verdict, self.options["reason"], self.now, self.options["rolled_back_from"])
        return after, after if verdict == states.FAILED else self.without_old(after)

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
            boundary("generation.concluded")
            self.warn_of_trouble("Old secrets were not removed", lambda: secret_files.forget(self.paths, after))

    def prune(self, coming: states.State, pruned: list[str]) -> None:
        doomed = states.doomed(coming)
        with self.holding(lambda: locks.of_root(self.root)):
            self.remove_unneeded(coming, doomed, pruned)
        Store(self.root, self.actions, self.check_mode).tidy()
        left = set(store.unneeded(self.root, coming, doomed))
        if left != doomed and not self.check_mode:
            with self.holding_state():
                self.refuse_without_lease()
                # Read again: the wait for the root's lock was one without the lock of the state.
                now = store.load(self.root, self.name)
                left = set(store.unneeded(self.root, now, states.doomed(now)))
                store.save(self.root, self.name, states.with_doomed({**now, states.DOOMED: []}, left))

    def remove_unneeded(self, coming: states.State, doomed: set[str], pruned: list[str]) -> None:
        """Remove what nobody needs, each path added to ``pruned``; nothing while another run may rely on what no generation names yet.

        Only under the lock of the root.
        """
        for path in () if self.others_at_work() else self.unneeded(coming, doomed):
            if self.check_mode or self.remove(path):
                self.actions.add("release" if is_release(path) else "environment", os.path.relpath(path, self.root), "removed")
                pruned.append(os.path.relpath(path, self.root))
                boundary("generation.pruned")

    def others_at_work(self) -> list[str]:
        return [each for each in store.workers(self.root) if each != self.name and lease.current(self.root, each) is not None]

    def unneeded(self, coming: states.State, doomed: set[str]) -> list[str]:
        """What only generations that are gone named, and what runs brought that never came to a generation, in a day."""
        moment = time.time() - store.ORPHAN_AGE
        releases = Store(self.root, self.actions, self.check_mode)
        left = {releases.path(each) for each in releases.older_than(moment)}
        # Environments of other names may be somebody's own.
        prefixes = doomed | {record["environment"]["prefix"] for record in coming["generations"]}
        for name in {pruning.name_of(path) for path in prefixes if not is_release(path)} - {None}:
            left.update(pruning.older_than(self.root, str(name), moment))
        return [path for path in store.unneeded(self.root, coming, doomed | left) if path in doomed or not users_of(path)]

    def remove(self, path: str) -> bool:
        if not is_release(path):
            return pruning.remove(self.root, path)
        Store(self.root, self.actions, self.check_mode).discard(os.path.basename(path))
        return True

    def write_endpoints(self) -> None:
        wanted = self.options["endpoints"]
        if wanted is None or self.endpoints_are(wanted):
            return
        self.actions.add("endpoints", self.name, "changed")
        if not self.check_mode:
            write_json(self.paths.endpoints, {"worker": self.name, "endpoints": wanted})
            boundary("generation.endpoints.written")

    def endpoints_are(self, wanted: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
        """Whether the file tells these. A broken one is written anew. Who will answer is not known before: check mode compares all but that."""
        found: t.Any = None
        with contextlib.suppress(WorkerError):
            found = read_json(self.paths.endpoints)
        if not self.check_mode:
            return bool(found == {"worker": self.name, "endpoints": wanted})
        return isinstance(found, dict) and without_status(found.get("endpoints")) == without_status(wanted)

    def write_log(self) -> None:
        if self.options["log"] and not self.check_mode:
            store.append_log(self.root, self.name, {"at": self.now, **self.options["log"]})
            boundary("generation.logged")

    def absent(self) -> dict[str, t.Any]:
        """Forget the worker; with the last one of the root goes everything that the workers shared."""
        if not os.path.isdir(self.root):
            return {"last": True}
        pruned: list[str] = []
        # No other worker's first deploy begins before this has ended.
        with self.holding(lambda: locks.of_root(self.root)):
            with self.holding_state():
                self.refuse_without_lease()
                found = store.load(self.root, self.name)
                forgotten = {**states.empty(self.name), "next": found["next"]}
                doomed = states.doomed(found).union(*(paths_of(each) for each in found["generations"]))
                self.forget(found, forgotten)
            self.warn_of_trouble("What is not needed any more was not removed", lambda: self.remove_unneeded(forgotten, doomed, pruned))
            self.warn_of_trouble("What stays is not known", lambda: self.warn_of_what_stays(forgotten, doomed))
            self.remove_home()
            pruned += self.remove_shared()
            return {"pruned": pruned, "previous": states.active(found), "last": self.is_last()}

    def warn_of_what_stays(self, forgotten: states.State, doomed: set[str]) -> None:
        """Nobody will remember what only this worker named, where a run of another one kept it from being removed."""
        others, left = self.others_at_work(), store.unneeded(self.root, forgotten, doomed)
        if others and left and not self.check_mode:
            paths = ", ".join(os.path.relpath(each, self.root) for each in left)
            self.warn(
                f"A run for {others[0]} is at work below {self.root} and may be about to use what this worker leaves: {paths} stay. "
                "Where nothing comes to use them they go with a deploy after a day, or with the last worker there."
            )

    def forget(self, found: states.State, forgotten: states.State) -> None:
        if found["generations"]:
            self.actions.add("generation", self.name, "removed")
            self.actions.differ("active generation", found["active"], None)
        if not self.check_mode:
            if found["generations"]:
                store.save(self.root, self.name, forgotten)
            secret_files.forget(self.paths, forgotten)
            boundary("generation.forgotten")

    def remove_home(self) -> None:
        """Remove what belongs to the generations, and with purge everything."""
        # The lease of this very run is nothing that anybody put there.
        if self.options["purge"] and set(list_names(self.paths.home)) - {"lease.json"}:
            self.actions.add("data", f"workers/{self.name}", "removed")
        if self.check_mode:
            return
        for path in (self.paths.state, self.paths.endpoints, self.paths.lease, self.paths.salt):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        boundary("generation.home.emptied")
        remove_if_empty(self.paths.home)
        if self.options["purge"]:
            store.remove_tree(self.paths.home)

    def is_last(self) -> bool:
        """Whether no other worker is deployed below the root, and none is being deployed."""
        others = [name for name in store.workers(self.root) if name != self.name]
        return not any(os.path.exists(Layout(self.root).worker(name).state) or lease.current(self.root, name) for name in others)

    def remove_shared(self) -> list[str]:
        """Remove what the workers share, where this was the last one. Only under the lock of the root; returns the names below it."""
        layout = Layout(self.root)
        if not self.is_last():
            return []
        shared = [layout.releases, layout.envs, layout.toolchain, layout.cache, layout.bundles]
        doomed = [os.path.relpath(path, self.root) for path in shared if os.path.isdir(path)]
        for name in doomed:
            self.actions.add("shared", name, "removed")
        if not self.check_mode:
            end_jobs(layout.jobs)
            with contextlib.ExitStack() as held:
                held_locks = [name for name in list_names(layout.locks) if name != os.path.basename(locks.root_lock(self.root))]
                for name in held_locks:
                    # Whoever works without a lease ends first.
                    held.enter_context(locked(os.path.join(layout.locks, name), locks.STATE_TIMEOUT, "what the workers share"))
                for path in shared:
                    store.remove_tree(path)
                for name in held_locks:
                    os.unlink(os.path.join(layout.locks, name))
            os.unlink(locks.root_lock(self.root))
            for directory in (layout.locks, layout.workers(), self.root):
                remove_if_empty(directory)
        return doomed


def refuse_incomplete(option: str, value: t.Mapping[str, t.Any], keys: t.Sequence[str]) -> None:
    """Raise OptionError where a generation could not be read again."""
    missing = [key for key in keys if not isinstance(value.get(key), str)]
    if missing:
        raise OptionError(option, dict(value), f"it has no text under {missing[0]!r}", "Give it as the module before has returned it.")


def is_release(path: str) -> bool:
    """Whether the path below the root is that of a release, as against an environment."""
    return os.path.basename(os.path.dirname(path)) == "releases"


def list_names(directory: str) -> list[str]:
    """The names in the directory, none where there is no such directory."""
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def without_status(endpoints: t.Any) -> t.Optional[list[dict[str, t.Any]]]:
    """Who listens where; None where that is no list of endpoints."""
    if not isinstance(endpoints, list) or not all(isinstance(each, dict) for each in endpoints):
        return None
    return [{key: value for key, value in each.items() if key != "status"} for each in endpoints]


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
    return {
        "number": record["number"],
        "release": record["release"]["id"],
        "environment": record["environment"]["prefix"],
        "settings": record["settings"],
        "secrets": record["secrets_digest"],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "finished", "absent"], "default": "present"},
            "release": {"type": "dict"},
            "conda_environment": {"type": "dict"},
            "settings": {"type": "dict"},
            "secrets": {"type": "dict", "no_log": True},
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
        required_if=[("state", "present", ["release", "conda_environment", "settings"])],
        required_by={"generation": ["verdict"]},
        supports_check_mode=True,
    )
    options = hide_secrets(module)
    run_module(module, lambda: GenerationManager(options, module.check_mode, module.warn).run(), EMPTY)


if __name__ == "__main__":
    main()
