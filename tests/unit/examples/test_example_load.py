# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the load of the example's client counts. Time is given, not waited for."""

from __future__ import annotations

import pytest
from worker import inference_pb2 as pb2
from worker import load


def tally_at(times: list[float], monkeypatch: pytest.MonkeyPatch) -> load.Tally:
    """A tally whose clock shows the given times, one a reading."""
    clock = iter(times)
    monkeypatch.setattr("worker.load.time.monotonic", lambda: next(clock))
    return load.Tally(_last_answer=next(clock))


def test_calls_losses_and_the_longest_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = tally_at([0.0, 0.1, 1.6, 1.7, 2.0, 9.0], monkeypatch)
    old, new = pb2.Origin(generation="1", pid=10), pb2.Origin(generation="2", pid=11)
    tally.answered(0.010, old)
    tally.missed("UNAVAILABLE", "refused")
    tally.missed("CANCELLED", "stopped")
    tally.answered(0.020, new)
    tally.answered(0.030, new)
    tally.close()
    tally.answered(0.040, new)
    assert tally.summary(4.0) == {
        "seconds": 4.0,
        "calls": 6,
        "lost": 2,
        "calls_per_second": 1.5,
        "latency_ms": {"p50": 20.0, "p99": 30.0},
        "longest_gap_ms": 1500,
        "answered_by": {"generation 1 pid 10": 1, "generation 2 pid 11": 3},
        "lost_by": {"UNAVAILABLE": 1, "CANCELLED": 1},
        "first_loss": "UNAVAILABLE: refused",
    }


def test_a_gap_without_an_end_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = tally_at([0.0, 0.5, 3.5], monkeypatch)
    tally.answered(0.001, pb2.Origin())
    tally.close()
    summary = tally.summary(3.5)
    assert summary["longest_gap_ms"] == 3000
    assert summary["answered_by"] == {"generation - pid 0": 1}


def test_nothing_called(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = tally_at([0.0], monkeypatch).summary(0.0)
    assert (summary["calls"], summary["calls_per_second"]) == (0, 0.0)
    assert summary["latency_ms"] == {"p50": None, "p99": None}
