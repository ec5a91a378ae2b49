# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The generations of one worker on one host: pure decisions over the state file's data. Needs nothing of Ansible.

A record is ``{"number", "release": {"id", "path"}, "environment": {"prefix", "fingerprint", "build", …}, "settings": {…},
"created_at", "verdict": {"status", "at", "message"}}``; the state ``{"version": 1, "worker", "active", "next", "generations": [record]}``.
"""

from __future__ import annotations

import copy
import dataclasses
import typing as t

from ..errors import WorkerError

Record = dict[str, t.Any]
State = dict[str, t.Any]

VERSION = 1
CANDIDATE, HEALTHY, FAILED, UNVERIFIED, ROLLED_BACK = "candidate", "healthy", "failed", "unverified", "rolled_back"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a deploy wants to run. settings: the options of the instances, without any secret."""

    release: t.Mapping[str, t.Any]
    environment: t.Mapping[str, t.Any]
    settings: t.Mapping[str, t.Any]

    def same_as(self, record: Record, any_build: bool = False) -> bool:
        """Whether the record runs the same. any_build: a rebuilt environment of the same contents counts as the same."""
        ours, theirs = self.environment, record["environment"]
        return bool(
            record["release"]["id"] == self.release["id"]
            and theirs["fingerprint"] == ours["fingerprint"]
            and (any_build or theirs["prefix"] == ours["prefix"])
            and record["settings"] == dict(self.settings)
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


def record_candidate(state: State, wanted: Wanted, candidate: Candidate, now: str) -> State:
    """The state with the candidate in it."""
    if candidate.recorded:
        return state
    following = copy.deepcopy(state)
    following["generations"].append(
        {
            "number": candidate.number,
            "release": dict(wanted.release),
            "environment": dict(wanted.environment),
            "settings": dict(wanted.settings),
            "created_at": now,
            "verdict": {"status": CANDIDATE, "at": now, "message": ""},
        }
    )
    following["next"] = candidate.number + 1
    return following


def conclude(state: State, number: int, status: str, message: str, now: str, rolled_back_from: t.Optional[int] = None) -> State:
    """The state after the verdict on a generation.

    healthy and unverified make it the active one; failed leaves the active one as it is.
    rolled_back_from: the generation that an operator left for this one. An unchanged verdict keeps its time.
    """
    following = copy.deepcopy(state)
    record = find(following, number)
    if record is None:
        raise WorkerError(
            "unknown_generation", f"There is no generation {number} of {state['worker']}.", "See which there are: the status playbook lists them."
        )
    if record["verdict"]["status"] != status:
        record["verdict"] = {"status": status, "at": now, "message": message}
    if status in (HEALTHY, UNVERIFIED):
        following["active"] = number
    left = find(following, rolled_back_from) if rolled_back_from != number else None
    if left is not None:
        left["verdict"] = {"status": ROLLED_BACK, "at": now, "message": f"rolled back to generation {number}"}
    return following


def rollback_target(state: State, to: t.Optional[int] = None) -> t.Optional[Record]:
    """The generation to go back to: ``to``, else the newest good one older than the active one, else any other good one.

    Returns None where there is none. Raises WorkerError ``unknown_generation`` where ``to`` does not exist.
    """
    if to is not None:
        record = find(state, to)
        if record is None:
            numbers = ", ".join(str(each["number"]) for each in state["generations"]) or "none"
            raise WorkerError("unknown_generation", f"There is no generation {to} of {state['worker']}; there are: {numbers}.", "Choose one of them.")
        return record
    good = [each for each in state["generations"] if each["verdict"]["status"] in (HEALTHY, UNVERIFIED) and each["number"] != state["active"]]
    older = [each for each in good if state["active"] is None or each["number"] < state["active"]]
    return max(older or good, key=lambda each: int(each["number"]), default=None)


def drop_old(state: State, keep: int) -> State:
    """The state with the active generation, the one that a rollback would take, and the newest up to ``keep`` in all."""
    target = rollback_target(state)
    kept = {state["active"], target["number"] if target else None}
    for record in sorted(state["generations"], key=lambda each: -int(each["number"])):
        if len(kept - {None}) >= keep:
            break
        kept.add(record["number"])
    following = copy.deepcopy(state)
    following["generations"] = [each for each in following["generations"] if each["number"] in kept]
    return following
