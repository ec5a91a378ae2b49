# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When waiting ends: the state machine under a clock that only the test moves."""

from __future__ import annotations

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.health import fleet, model
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Address, Change, Patience, Probing, Target, Verdict

FINAL = Verdict(model.REFUSED, "process_gone", "process", "", final=True)
FOUND = {
    "s": Verdict(model.SERVING, "serving", "rpc", ""),
    "n": Verdict(model.NOT_SERVING, "not_serving", "rpc", ""),
    "r": Verdict(model.REFUSED, "connection_refused", "connect", ""),
    "u": Verdict(model.UNIMPLEMENTED, "unimplemented", "rpc", ""),
    "g": FINAL,
}


class Script:
    """A target that finds what the letters say, one a probe (the last one for ever), and time that passes as told."""

    target = Target("w", Address("127.0.0.1", 1))

    def __init__(self, letters: str, cost: float = 0.0) -> None:
        self.letters, self.cost, self.now, self.pauses = letters, cost, 100.0, []  # type: ignore[var-annotated]

    def clock(self) -> float:
        return self.now

    def probe(self) -> Verdict:
        self.now += self.cost
        letter = self.letters[0]
        self.letters = self.letters[1:] or letter
        return FOUND[letter]

    def pause(self, seconds: float, verdict: Verdict, matched: bool) -> None:
        self.pauses.append(round(seconds, 3))
        self.now += seconds


@pytest.mark.parametrize(
    ("letters", "patience", "healthy", "probes", "elapsed"),
    [
        ("s", Patience(), True, 1, 0),
        ("rrs", Patience(), True, 3, 4),
        ("r", Patience(attempts=3), False, 3, 4),
        ("r", Patience(attempts=1), False, 1, 0),
        ("g", Patience(attempts=100), False, 1, 0),
        ("rrg", Patience(attempts=100), False, 3, 4),
        ("s", Patience(success_threshold=3), True, 3, 4),
        ("ssnsss", Patience(success_threshold=3), True, 6, 10),
        # Probes that match use up no attempt.
        ("s", Patience(attempts=1, success_threshold=5), True, 5, 8),
        ("sns", Patience(attempts=1, success_threshold=2), False, 2, 2),
        ("s", Patience(stable_for=5), True, 4, 5),
        ("ssns", Patience(stable_for=5), True, 7, 11),
        ("sn", Patience(attempts=1, stable_for=60), False, 2, 2),
        ("s", Patience(stable_for=3, success_threshold=4), True, 4, 6),
        ("sn", Patience(wanted="not_serving"), True, 2, 2),
        ("sr", Patience(wanted="refused"), True, 2, 2),
        # With protocol auto, no health service is accepted.
        ("ru", Patience(), True, 2, 2),
        # A target that flaps uses up its attempts.
        ("snsnsnsnsn", Patience(attempts=3, success_threshold=2), False, 6, 10),
    ],
)
def test_when_it_ends(letters: str, patience: Patience, healthy: bool, probes: int, elapsed: float) -> None:
    script = Script(letters)
    outcome = fleet.wait_for(script, Probing(), patience, script.clock)
    assert (outcome.healthy, outcome.attempts, outcome.elapsed) == (healthy, probes, elapsed)


def test_intervals_count_from_start_to_start() -> None:
    script = Script("r", cost=0.5)
    outcome = fleet.wait_for(script, Probing(), Patience(attempts=3, interval=2), script.clock)
    assert script.pauses == [1.5, 1.5]
    assert outcome.elapsed == 4.5


def test_a_probe_longer_than_the_interval_is_followed_by_a_breath() -> None:
    script = Script("r", cost=5)
    fleet.wait_for(script, Probing(), Patience(attempts=2, interval=2), script.clock)
    assert script.pauses == [0.05]


def test_history_holds_changes_only() -> None:
    script = Script("rrrnns")
    outcome = fleet.wait_for(script, Probing(), Patience(), script.clock)
    assert outcome.history == (Change(0, "refused"), Change(6, "not_serving"), Change(10, "serving"))


@pytest.mark.parametrize(("protocol", "healthy"), [("auto", True), ("grpc", False)])
def test_no_health_service(protocol: str, healthy: bool) -> None:
    script = Script("u")
    assert fleet.wait_for(script, Probing(protocol=protocol), Patience(attempts=2), script.clock).healthy is healthy
