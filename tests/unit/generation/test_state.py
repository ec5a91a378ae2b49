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


def wanted(release: str = "r1", fingerprint: str = "f1", build: int = 1, port: int = 1, secrets: t.Optional[str] = None) -> states.Wanted:
    """What a deploy of one release wants."""
    return states.Wanted(
        {"id": release, "path": f"/x/releases/{release}"},
        {"prefix": f"/x/envs/e-{fingerprint}-{build}", "fingerprint": fingerprint, "build": build},
        {"port": port},
        secrets,
    )


def deployed(*history: tuple[states.Wanted, str]) -> states.State:
    """The state after those deploys, a minute between two, each with its verdict."""
    state = states.empty("ew-worker")
    for minute, (each, verdict) in enumerate(history):
        now = f"2026-01-02T03:{minute:02}:05.000+00:00"
        candidate = states.choose(state, each, force=True)
        state = states.conclude(states.record_candidate(state, each, candidate, now), candidate.number, verdict, "", now)
    return state


def test_first_deploy_is_number_one() -> None:
    candidate = states.choose(states.empty("ew-worker"), wanted())
    assert candidate == states.Candidate(1, True, False, None)


def test_same_again_is_the_active_one() -> None:
    state = deployed((wanted(), "healthy"))
    candidate = states.choose(state, wanted())
    assert (candidate.number, candidate.new) == (1, False)
    assert states.record_candidate(state, wanted(), candidate, NOW) == state


@pytest.mark.parametrize("changed", [wanted(release="r2"), wanted(fingerprint="f2"), wanted(build=2), wanted(port=2), wanted(secrets="s1")])
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
    with pytest.raises(WorkerError, match=r"no generation 9 .* there are: 1 \(release r1, healthy\)\.") as caught:
        states.rollback_target(deployed((wanted(), "healthy")), "9")
    assert caught.value.code == "unknown_generation"


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


def test_those_that_served_last_stay_whatever_their_number() -> None:
    """2 failed at first and served after 3."""
    x, y = wanted("r2"), wanted("r3")
    state = deployed((wanted(), "healthy"), (x, "failed"), (y, "healthy"), (x, "healthy"), (wanted("r4"), "healthy"))
    assert [each["number"] for each in states.drop_old(state, 2)["generations"]] == [2, 4]


X, Y, Z = wanted("00000000000000aa"), wanted("00000000000000bb"), wanted("00000000000000cc")


@pytest.mark.parametrize(
    ("history", "active", "target"),
    [
        # What failed is taken up again under its number and becomes the active one: the one that served last is newer.
        ([(X, "healthy"), (Y, "failed"), (Z, "healthy"), (Y, "healthy")], 2, 3),
        ([(X, "healthy"), (Y, "failed"), (Z, "healthy"), (Y, "failed")], 3, 1),
        ([(X, "healthy"), (Y, "failed"), (Y, "failed"), (Y, "healthy")], 2, 1),
        ([(X, "unverified"), (Y, "healthy"), (Z, "healthy")], 3, 2),
        ([(X, "failed"), (Y, "healthy")], 2, None),
    ],
)
def test_rollback_goes_to_the_one_that_served_last(history: list[tuple[states.Wanted, str]], active: int, target: t.Optional[int]) -> None:
    state = deployed(*history)
    assert state["active"] == active
    assert (states.rollback_target(state) or {}).get("number") == target


def test_a_converged_deploy_does_not_activate_again() -> None:
    state = deployed((X, "healthy"), (Y, "healthy"), (Y, "healthy"))
    assert [each["activated_at"] for each in state["generations"]] == ["2026-01-02T03:00:05.000+00:00", "2026-01-02T03:01:05.000+00:00"]


def test_a_passing_failure_says_nothing_against_what_was_healthy() -> None:
    """A gateway was down in a run that changed nothing: the next deploy can still be rolled back to this one."""
    state = deployed((X, "healthy"))
    assert states.conclude(state, 1, "failed", "the gateway is down", NOW) == state
    state = deployed((X, "healthy"), (X, "failed"), (Y, "healthy"))
    assert (states.rollback_target(state) or {})["number"] == 1


def test_a_failure_counts_where_health_was_never_seen() -> None:
    state = deployed((X, "unverified"), (X, "failed"), (Y, "healthy"))
    assert states.rollback_target(state) is None


# 1 X healthy, 2 X with another port and rolled back, 3 Y failed, 4 Z healthy and active
MIXED = deployed((X, "healthy"), (wanted(X.release["id"], port=2), "healthy"), (Y, "failed"), (Z, "healthy"))
MIXED["generations"][1]["verdict"]["status"] = "rolled_back"


@pytest.mark.parametrize(
    ("to", "force", "number"),
    [
        ("1", False, 1),
        ("2", False, 2),
        ("04", False, 4),
        ("3", True, 3),
        (X.release["id"], False, 1),
        (Y.release["id"], True, 3),
        (Z.release["id"], False, 4),
    ],
)
def test_rollback_to_a_number_or_a_release(to: str, force: bool, number: int) -> None:
    target = states.rollback_target(MIXED, to, force)
    assert target is not None
    assert target["number"] == number


def test_a_release_that_was_only_rolled_back_can_be_named() -> None:
    state = deployed((X, "healthy"), (Y, "healthy"))
    state = states.conclude(state, 1, "healthy", "", NOW, rolled_back_from=2)
    assert (states.rollback_target(state, Y.release["id"]) or {})["number"] == 2


@pytest.mark.parametrize(
    ("to", "code", "words"),
    [
        ("3", "not_good", r"generation 3 of ew-worker ever served well here: 3 \(release 00000000000000bb, failed\)\. Those that did: 1 .*, 2 .*, 4 "),
        (Y.release["id"], "not_good", "worker_force=true"),
        ("9", "unknown_generation", "there are: 1 .*, 2 .*, 3 .*, 4 "),
        ("00000000000000ee", "unknown_generation", "there are: 1 "),
        ("", "invalid_option", "neither the number"),
        ("-1", "invalid_option", "neither the number"),
        ("0123456789ABCDEF", "invalid_option", "neither the number"),
        ("\u00b2", "invalid_option", "neither the number"),
    ],
)
def test_what_is_no_target(to: str, code: str, words: str) -> None:
    with pytest.raises(WorkerError, match=words) as caught:
        states.rollback_target(MIXED, to)
    assert caught.value.code == code


def test_a_candidate_is_no_target() -> None:
    state = deployed((X, "healthy"))
    state = states.record_candidate(state, Y, states.choose(state, Y), NOW)
    with pytest.raises(WorkerError) as caught:
        states.rollback_target(state, "2")
    assert caught.value.code == "not_good"


def test_verdict_that_does_not_change_keeps_its_time() -> None:
    state = deployed((wanted(), "healthy"))
    assert states.conclude(state, 1, "healthy", "again", "2027-01-01T00:00:00+00:00") == state
