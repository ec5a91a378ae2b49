# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""All targets side by side, a thread each: the wait takes as long as the slowest, not as all of them."""

from __future__ import annotations

import dataclasses
import threading
import time
import typing as t

from . import verdict as judge
from .model import Outcome, Patience, Probing, Target, Verdict
from .owner import Ports, Watchman
from .probe import Prober
from .wait import Wait


class Probe(t.Protocol):
    """What ``wait_for`` needs of a Prober."""

    target: Target

    def probe(self) -> Verdict: ...

    def pause(self, seconds: float, verdict: Verdict, matched: bool) -> None: ...


def wait_for_all(targets: t.Sequence[Target], probing: Probing, patience: Patience) -> list[Outcome]:
    """An outcome for each target, in their order. Every channel is closed and every thread ended when it returns."""
    ports = Ports({target.address.port for target in targets if target.expect_pid is not None})
    outcomes: dict[int, Outcome] = {}
    failures: list[BaseException] = []

    def work(index: int, target: Target) -> None:
        watchman = Watchman(target.expect_pid, ports) if target.expect_pid is not None else None
        prober = Prober(target, probing, patience, watchman)
        try:
            outcomes[index] = dataclasses.replace(wait_for(prober, probing, patience, time.monotonic), decided_at=time.time())
        except BaseException as error:
            failures.append(error)
        finally:
            prober.close()

    threads = [threading.Thread(target=work, args=pair, name=pair[1].name, daemon=True) for pair in enumerate(targets)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [outcomes[index] for index in range(len(targets))]


def wait_for(prober: Probe, probing: Probing, patience: Patience, clock: t.Callable[[], float]) -> Outcome:
    """Probe one target until it is as wanted, or patience is at its end."""
    started = clock()
    wait = Wait(patience, started)
    while True:
        probe_started = clock()
        verdict = prober.probe()
        matched = judge.matches(verdict, patience, probing)
        step = wait.observe(verdict.status, matched, verdict.final, probe_started, clock())
        if step.state != "again":
            elapsed = round(clock() - started, 3)
            return Outcome(prober.target, verdict, step.state == "healthy", wait.probes, elapsed, tuple(wait.history))
        prober.pause(step.delay, verdict, matched)
