# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which generation a deploy works under, which one a rollback takes, and which ones stay."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states

NOW = "2026-01-02T03:04:05+00:00"


def wanted(release: str = "r1", fingerprint: str = "f1", build: int = 1, port: int = 1) -> states.Wanted:
    """What a deploy of one release wants."""
    return states.Wanted(
        {"id": release, "path": f"/x/releases/{release}"},
        {"prefix": f"/x/envs/e-{fingerprint}-{build}", "fingerprint": fingerprint, "build": build},
        {"port": port},
    )


def deployed(*history: tuple[states.Wanted, str]) -> states.State:
    """The state after those deploys, each with its verdict."""
    state = states.empty("ew-worker")
    for each, verdict in history:
        candidate = states.choose(state, each, force=True)
        state = states.conclude(states.record_candidate(state, each, candidate, NOW), candidate.number, verdict, "", NOW)
    return state


def test_first_deploy_is_number_one() -> None:
    candidate = states.choose(states.empty("ew-worker"), wanted())
    assert candidate == states.Candidate(1, True, False, None)


def test_same_again_is_the_active_one() -> None:
    state = deployed((wanted(), "healthy"))
    candidate = states.choose(state, wanted())
    assert (candidate.number, candidate.new) == (1, False)
    assert states.record_candidate(state, wanted(), candidate, NOW) == state


@pytest.mark.parametrize("changed", [wanted(release="r2"), wanted(fingerprint="f2"), wanted(build=2), wanted(port=2)])
def test_any_difference_makes_a_new_one(changed: states.Wanted) -> None:
    state = deployed((wanted(), "healthy"))
    candidate = states.choose(state, changed)
    assert (candidate.number, candidate.new, candidate.previous) == (2, True, states.find(state, 1))


def test_candidate_of_a_killed_run_is_taken_up_again() -> None:
    state = deployed((wanted(), "healthy"))
    first = states.choose(state, wanted("r2"))
    state = states.record_candidate(state, wanted("r2"), first, NOW)
    again = states.choose(state, wanted("r2"))
    assert (again.number, again.new, again.recorded) == (2, True, True)


def test_failed_one_leaves_the_active_one() -> None:
    state = deployed((wanted(), "healthy"), (wanted("r2"), "failed"))
    assert state["active"] == 1


def test_trying_again_what_failed_keeps_its_number() -> None:
    state = deployed((wanted(), "healthy"), (wanted("r2"), "failed"))
    again = states.choose(state, wanted("r2"))
    assert (again.number, again.new, again.recorded) == (2, True, True)
    assert states.conclude(state, 2, "healthy", "", NOW)["active"] == 2


@pytest.mark.parametrize("source", [wanted("r2"), wanted("r2", build=7)])
def test_rolled_back_source_is_refused_unless_forced(source: states.Wanted) -> None:
    state = deployed((wanted(), "healthy"), (wanted("r2"), "healthy"))
    state = states.conclude(state, 1, "healthy", "", NOW, rolled_back_from=2)
    assert state["active"] == 1
    with pytest.raises(WorkerError, match=r"Generation 2 .*rolled back.*worker_force=true") as caught:
        states.choose(state, source)
    assert caught.value.code == "rolled_back"
    assert states.choose(state, source, force=True).number == 3


def test_environment_of_a_forced_source_can_be_rebuilt() -> None:
    state = deployed((wanted(), "healthy"), (wanted("r2"), "healthy"))
    state = states.conclude(state, 1, "healthy", "", NOW, rolled_back_from=2)
    forced = states.choose(state, wanted("r2"), force=True)
    state = states.conclude(states.record_candidate(state, wanted("r2"), forced, NOW), forced.number, "healthy", "", NOW)
    assert states.choose(state, wanted("r2", build=2)).number == 4


def test_unknown_number_is_an_error() -> None:
    with pytest.raises(WorkerError, match="no generation 9"):
        states.conclude(deployed((wanted(), "healthy")), 9, "healthy", "", NOW)
    with pytest.raises(WorkerError, match=r"no generation 9 .* there are: 1"):
        states.rollback_target(deployed((wanted(), "healthy")), 9)


@pytest.mark.parametrize(
    ("verdicts", "active", "expected"),
    [
        (["healthy"], 1, None),
        (["healthy", "healthy"], 2, 1),
        (["healthy", "failed", "healthy"], 3, 1),
        (["healthy", "healthy", "healthy"], 3, 2),
        (["unverified", "healthy"], 2, 1),
        (["healthy", "healthy"], 1, 2),
        (["failed", "failed"], None, None),
    ],
)
def test_rollback_takes_the_last_good_one(verdicts: list[str], active: t.Optional[int], expected: t.Optional[int]) -> None:
    state = deployed(*((wanted(f"r{number}"), verdict) for number, verdict in enumerate(verdicts)))
    target = states.rollback_target({**state, "active": active})
    assert (target or {}).get("number") == expected


@pytest.mark.parametrize(("keep", "kept"), [(1, [4, 5]), (2, [4, 5]), (3, [3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_old_ones_go_but_not_the_one_to_go_back_to(keep: int, kept: list[int]) -> None:
    state = deployed(*((wanted(f"r{number}"), "healthy") for number in range(5)))
    assert [each["number"] for each in states.drop_old(state, keep)["generations"]] == kept


def test_verdict_that_does_not_change_keeps_its_time() -> None:
    state = deployed((wanted(), "healthy"))
    assert states.conclude(state, 1, "healthy", "again", "2027-01-01T00:00:00+00:00") == state
