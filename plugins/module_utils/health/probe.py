# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One target: a probe now, and the pause until the next one, which ends early when something happens."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from . import model
from . import verdict as judge
from .model import Answer, Patience, Probing, Reach, Target, Verdict
from .owner import Watchman
from .reach import reach

# How often a pause looks whether the expected process still lives.
_LOOK = 0.5


class Prober:
    """Holds a gRPC channel from the first successful connection on: close it always."""

    def __init__(self, target: Target, probing: Probing, patience: Patience, watchman: t.Optional[Watchman]) -> None:
        self.target = target
        self._probing = probing
        self._patience = patience
        self._watchman = watchman
        self._client: t.Any = None
        self._last: t.Optional[Verdict] = None
        self._woken = False
        self._deaf = False

    def probe(self) -> Verdict:
        """One look at the target. Never raises for anything that the target does."""
        verdict = self._gone() or self._look()
        # A Watch that woke us for nothing would do so again and again.
        if self._woken and self._last is not None and (self._last.status, self._last.service) == (verdict.status, verdict.service):
            self._deaf = True
        self._woken = False
        self._last = verdict
        return verdict

    def pause(self, seconds: float, verdict: Verdict, matched: bool) -> None:
        """Wait, at most for ``seconds``: less when the expected process dies or a Watch tells of a change worth a probe."""
        end = time.monotonic() + seconds
        listen = not self._deaf and self._patience.wanted != model.REFUSED and judge.may_wake(verdict, self._probing)
        while (left := end - time.monotonic()) > 0:
            if self._gone() is not None:
                return
            if not listen:
                time.sleep(min(left, _LOOK))
            elif self._listen(min(left, _LOOK), verdict, matched):
                return

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _listen(self, seconds: float, verdict: Verdict, matched: bool) -> bool:
        def wake(answer: Answer) -> bool:
            return judge.wakes(answer, verdict, matched, self._patience.wanted)

        answer = self._open().wait(verdict.service or self.target.services[0], seconds, wake)
        if answer is None:
            return False
        self._woken = True
        return True

    def _gone(self) -> t.Optional[Verdict]:
        """The verdict on an expected process that has ended. Who waits for that looks at the port instead."""
        if self._watchman is None or self._patience.wanted == model.REFUSED or not self._watchman.gone():
            return None
        return _ended(self._watchman, final=True)

    def _look(self) -> Verdict:
        grpc_wanted = self._probing.protocol != "tcp"
        first = reach(self.target, self._probing.connect_timeout, http2=grpc_wanted)
        # gRPC has the last word on TLS: its library may accept what ours does not.
        worth_asking = grpc_wanted and (first.passed or first.phase == "tls")
        verdict = self._ask(first) if worth_asking else judge.of_reach(first)
        return verdict if self._watchman is None else self._with_owner(verdict, first, self._watchman)

    def _ask(self, first: Reach) -> Verdict:
        answers = self._call(first)
        if first.passed and any(answer.code == "UNAVAILABLE" for answer in answers):
            # The channel may still believe what was true before: ask again over a new one.
            self.close()
            answers = self._call(first)
        again = first
        if first.passed and any(answer.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE") for answer in answers):
            again = reach(self.target, self._probing.connect_timeout)
        late = again.passed and any(answer.code == "DEADLINE_EXCEEDED" for answer in answers)
        hangs = late and not self._open().rejects(self._probing.rpc_timeout)
        verdict = judge.of_services([judge.of_answer(answer, again, hangs) for answer in answers], self._patience.wanted)
        return dataclasses.replace(verdict, connect_ms=first.connect_ms)

    def _call(self, first: Reach) -> list[Answer]:
        # A new channel connects within the call: give that the time which our own connection took.
        connecting = 2 * (first.connect_ms or 0) / 1000 if self._client is None else 0
        timeout = self._probing.rpc_timeout + connecting
        client = self._open()
        answers: list[Answer] = client.watch(timeout, False) if self._probing.method == "watch" else client.check(timeout, False)
        return answers

    def _open(self) -> t.Any:
        if self._client is None:
            # Late, since a probe of a port alone needs no grpcio.
            from .rpc import Client

            self._client = Client(self.target, self._probing.connect_timeout)
        return self._client

    def _with_owner(self, verdict: Verdict, first: Reach, watchman: Watchman) -> Verdict:
        if verdict.code in model.NOBODY_LISTENS:
            return verdict
        ownership = watchman.owns(self.target.address, first.peer_pid)
        if ownership.code == "owner_elsewhere" and first.phase in ("resolve", "connect") and not first.passed:
            return verdict
        if ownership.code == "owner_hidden":
            return dataclasses.replace(verdict, warning=ownership.reason)
        if ownership.code and watchman.gone():
            # It ended between the probe and the look at its sockets.
            return _ended(watchman, final=self._patience.wanted != model.REFUSED)
        if ownership.code:
            return dataclasses.replace(verdict, status=model.WRONG_OWNER, code=ownership.code, phase="owner", reason=ownership.reason)
        if verdict.code == "connect_timeout":
            reason = "its queue of connections is full: the process accepts none"
            verdict = dataclasses.replace(verdict, status=model.FROZEN, code="backlog_full", reason=reason)
        if verdict.status == model.FROZEN and watchman.stopped():
            return dataclasses.replace(verdict, code="stopped", reason=f"the process {watchman.pid} is halted by a signal (state T)")
        return verdict


def _ended(watchman: Watchman, final: bool) -> Verdict:
    return Verdict(model.REFUSED, "process_gone", "process", f"the process {watchman.pid} has ended", final=final)
