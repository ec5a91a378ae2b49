# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The generations of one worker on one host: pure decisions over the state file's data. Needs nothing of Ansible.

A record is ``{"number", "release": {"id", "path"}, "environment": {"prefix", "fingerprint", "build", …}, "settings": {…},
"secrets_digest", "secrets_file", "created_at", "activated_at", "verdict": {"status", "at", "message"}}``; secrets_file is the path of its
secrets on the host, activated_at when it last became the active one; both are null where there is none.
The state is ``{"version": 1, "worker", "active", "next", "generations": [record]}``, and with releases and environments that only
generations named that are gone, and that are still to be removed, ``"doomed": [path]``.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import typing as t

from ..errors import OptionError, WorkerError

Record = dict[str, t.Any]
State = dict[str, t.Any]

VERSION = 1
CANDIDATE, HEALTHY, FAILED, UNVERIFIED, ROLLED_BACK = "candidate", "healthy", "failed", "unverified", "rolled_back"
DOOMED = "doomed"
GOOD = (HEALTHY, UNVERIFIED)
_NUMBER = re.compile(r"[0-9]{1,9}")
_RELEASE = re.compile(r"[0-9a-f]{16}")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a deploy wants to run. settings: the options of the instances, without any secret.

    secrets_digest: names the secrets, None without any.
    """

    release: t.Mapping[str, t.Any]
    environment: t.Mapping[str, t.Any]
    settings: t.Mapping[str, t.Any]
    secrets_digest: t.Optional[str] = None

    def same_as(self, record: Record, any_build: bool = False) -> bool:
        """Whether the record runs the same. any_build: a rebuilt environment of the same contents counts as the same."""
        ours, theirs = self.environment, record["environment"]
        return bool(
            record["release"]["id"] == self.release["id"]
            and theirs["fingerprint"] == ours["fingerprint"]
            and (any_build or theirs["prefix"] == ours["prefix"])
            and record["settings"] == dict(self.settings)
            and record["secrets_digest"] == self.secrets_digest
        )


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Which number a deploy works under. new: it is not the active one; recorded: a record of it exists already."""

    number: int
    new: bool
    recorded: bool
    previous: t.Optional[Record]


def empty(worker: str) -> State:
    """The state of a worker that was never deployed."""
    return {"version": VERSION, "worker": worker, "active": None, "next": 1, "generations": []}


def is_state(data: t.Mapping[str, t.Any]) -> bool:
    """Whether the data has the form of a state: all keys, and records with all of theirs."""
    records = data.get("generations")
    return set(data) >= {"worker", "active", "next"} and isinstance(records, list) and all(_is_record(each) for each in records)


def _is_record(data: t.Any) -> bool:
    keys = {"number", "settings", "secrets_digest", "secrets_file", "created_at", "activated_at"}
    parts = {"release": {"id", "path"}, "environment": {"prefix", "fingerprint"}, "verdict": {"status", "at", "message"}}
    return isinstance(data, dict) and set(data) >= keys and all(isinstance(data.get(name), dict) and set(data[name]) >= parts[name] for name in parts)


def find(state: State, number: t.Optional[int]) -> t.Optional[Record]:
    """The record of that number, or None."""
    return next((each for each in state["generations"] if each["number"] == number), None)


def active(state: State) -> t.Optional[Record]:
    """The record that the instances should run, or None before the first deploy."""
    return find(state, state["active"])


def choose(state: State, wanted: Wanted, force: bool = False) -> Candidate:
    """The generation that a deploy of ``wanted`` works under.

    Raises WorkerError ``rolled_back`` where an operator went back from exactly this, unless ``force``.
    """
    current = active(state)
    if current is not None and wanted.same_as(current):
        return Candidate(current["number"], False, True, current)
    # What serves cannot be what is refused: whoever insisted on it may rebuild its environment.
    force = force or (current is not None and wanted.same_as(current, any_build=True))
    for record in reversed(state["generations"]):
        status = record["verdict"]["status"]
        if status == ROLLED_BACK and wanted.same_as(record, any_build=True) and not force:
            raise WorkerError(
                "rolled_back",
                f"Generation {record['number']} of {state['worker']} is this same release {wanted.release['id']} with the same environment "
                f"and settings, and it was rolled back at {record['verdict']['at']}.",
                "Deploy a changed worker directory, or insist: add -e worker_force=true",
                generation=record["number"],
            )
        if status in (CANDIDATE, FAILED) and wanted.same_as(record):
            return Candidate(record["number"], True, True, current)
    return Candidate(state["next"], True, False, current)


def record_candidate(state: State, wanted: Wanted, candidate: Candidate, now: str, secrets_file: t.Optional[str] = None) -> State:
    """The state with the candidate in it. secrets_file: where its secrets are, None without any."""
    if candidate.recorded:
        return state
    following = copy.deepcopy(state)
    following["generations"].append(
        {
            "number": candidate.number,
            "release": dict(wanted.release),
            "environment": dict(wanted.environment),
            "settings": dict(wanted.settings),
            "secrets_digest": wanted.secrets_digest,
            "secrets_file": secrets_file,
            "created_at": now,
            "activated_at": None,
            "verdict": {"status": CANDIDATE, "at": now, "message": ""},
        }
    )
    following["next"] = candidate.number + 1
    return following


def conclude(state: State, number: int, status: str, message: str, now: str, rolled_back_from: t.Optional[int] = None) -> State:
    """The state after the verdict on a generation.

    healthy and unverified make it the active one; failed leaves the active one as it is, and says nothing against it where it was
    healthy before: then something else failed. rolled_back_from: the generation that an operator left for this one. An unchanged
    verdict keeps its time.
    """
    following = copy.deepcopy(state)
    record = find(following, number)
    if record is None:
        raise WorkerError(
            "unknown_generation", f"There is no generation {number} of {state['worker']}.", "See which there are: the status playbook lists them."
        )
    if status == FAILED and number == state["active"] and record["verdict"]["status"] == HEALTHY:
        return following
    if record["verdict"]["status"] != status:
        record["verdict"] = {"status": status, "at": now, "message": message}
    if status in GOOD and following["active"] != number:
        following["active"] = number
        record["activated_at"] = now
    left = find(following, rolled_back_from) if rolled_back_from != number else None
    if left is not None:
        left["verdict"] = {"status": ROLLED_BACK, "at": now, "message": f"rolled back to generation {number}"}
    return following


def rollback_target(state: State, to: t.Optional[str] = None, force: bool = False) -> t.Optional[Record]:
    """The generation to go back to: the good one that was active last before the active one, or what ``to`` names.

    to: a number, or the id of a release, whose good generation that was active last is meant (one that was rolled back where there is
    no other). force: take also what failed. Returns None where nothing is named and there is none.
    Raises OptionError, WorkerError ``unknown_generation`` where there is no such generation, and ``not_good``.
    """
    if to is not None:
        return _named(state, to, force)
    good = [each for each in state["generations"] if each["verdict"]["status"] in GOOD and each["number"] != state["active"]]
    return max(good, key=_age, default=None)


def _named(state: State, to: str, force: bool) -> Record:
    if _RELEASE.fullmatch(to):
        what, found = f"generation with the release {to}", [each for each in state["generations"] if each["release"]["id"] == to]
    elif _NUMBER.fullmatch(to):
        what, found = f"generation {int(to)}", [each for each in state["generations"] if each["number"] == int(to)]
    else:
        remedy = "Give a number, or a release's 16 hexadecimal digits; the status playbook lists both."
        raise OptionError("rollback_to", to, "it is neither the number of a generation nor the id of a release", remedy)
    if not found:
        raise WorkerError("unknown_generation", f"There is no {what} of {state['worker']}; there are: {_listed(state['generations'])}.", "Choose one of them.")
    for statuses in (GOOD, (ROLLED_BACK,), (FAILED, CANDIDATE) if force else ()):
        fitting = [each for each in found if each["verdict"]["status"] in statuses]
        if fitting:
            return max(fitting, key=_age)
    good = [each for each in state["generations"] if each["verdict"]["status"] in (*GOOD, ROLLED_BACK)]
    raise WorkerError(
        "not_good",
        f"No {what} of {state['worker']} ever served well here: {_listed(found)}. Those that did: {_listed(good)}.",
        "Choose one of these, or insist: add -e worker_force=true",
    )


def _listed(records: t.Sequence[Record]) -> str:
    """``1 (release 0123456789abcdef, healthy), 2 (…)``."""
    return ", ".join(f"{each['number']} (release {each['release']['id']}, {each['verdict']['status']})" for each in records) or "none"


def _age(record: Record) -> tuple[str, int]:
    """Orders generations by when they were last made the active one; those that never were by when they were recorded."""
    return record["activated_at"] or record["created_at"], record["number"]


def doomed(state: State) -> set[str]:
    """What is still to be removed of generations that are gone."""
    return set(state.get(DOOMED, ()))


def with_doomed(state: State, paths: t.Collection[str]) -> State:
    """The state with these paths beside those that it has already to be removed; without the key where there are none."""
    listed = sorted(doomed(state).union(paths))
    following = {key: value for key, value in state.items() if key != DOOMED}
    return {**following, DOOMED: listed} if listed else following


def drop_old(state: State, keep: int) -> State:
    """The state with the active generation, the one that a rollback would take, and those that served last up to ``keep`` in all."""
    target = rollback_target(state)
    kept = {state["active"], target["number"] if target else None}
    for record in sorted(state["generations"], key=_age, reverse=True):
        if len(kept - {None}) >= keep:
            break
        kept.add(record["number"])
    following = copy.deepcopy(state)
    following["generations"] = [each for each in following["generations"] if each["number"] in kept]
    return following
