# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""When waiting ends: a state machine that is told what each probe found and at what time. It reads no clock."""

from __future__ import annotations

import dataclasses
import typing as t

from .model import Change, Patience

# Probes that follow each other at once (a probe took longer than the interval) leave the target this much air.
SHORTEST_PAUSE = 0.05


@dataclasses.dataclass(frozen=True)
class Step:
    """state: again, healthy or failed; with again, the seconds until the next probe."""

    state: str
    delay: float = 0.0


class Wait:
    """Counts probes of one target towards an end. Times are seconds of one monotonic clock."""

    def __init__(self, patience: Patience, started: float) -> None:
        self._patience = patience
        self._started = started
        self._misses = 0
        self._streak = 0
        self._matched_at: t.Optional[float] = None
        self.probes = 0
        self.history: list[Change] = []

    def observe(self, status: str, matched: bool, final: bool, probe_started: float, now: float) -> Step:
        """Take in one probe. matched: it found what is waited for. final: no later one can."""
        self.probes += 1
        if not self.history or self.history[-1].status != status:
            self.history.append(Change(round(now - self._started, 3), status))
        step = self._match(now) if matched else self._miss(final)
        if step.state != "again":
            return step
        spent = now - probe_started
        return Step("again", max(SHORTEST_PAUSE, step.delay - spent))

    def _match(self, now: float) -> Step:
        self._streak += 1
        if self._matched_at is None:
            self._matched_at = now
        stable_in = self._matched_at + self._patience.stable_for - now
        if self._streak < self._patience.success_threshold:
            return Step("again", self._patience.interval)
        if stable_in > 0:
            return Step("again", min(self._patience.interval, stable_in))
        return Step("healthy")

    def _miss(self, final: bool) -> Step:
        self._streak = 0
        self._matched_at = None
        self._misses += 1
        if final or self._misses >= self._patience.attempts:
            return Step("failed")
        return Step("again", self._patience.interval)
