# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Call workers over and over, and count what was lost: the proof that a deploy interrupts nobody."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from worker import STOP_SIGNALS
from worker import inference_pb2 as pb2
from worker import inference_pb2_grpc as pb2_grpc

# A refused call returns at once; without a pause the loop would count thousands for one short gap.
PAUSE_AFTER_LOSS = 0.02
STREAM_RESPONSES = 20

Stub = pb2_grpc.InferenceServiceStub


@dataclass
class Tally:
    """What all callers saw. A call is lost when it ended with anything but an answer; a stream, when it ended early.

    `longest_gap` is the longest time, in seconds, in which no call of any caller was answered.
    """

    calls: int = 0
    lost: int = 0
    lost_by: Counter[str] = field(default_factory=Counter)
    answered_by: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    longest_gap: float = 0.0
    first_loss: str = ""
    _closed: bool = False
    _last_answer: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, seconds: float, origin: pb2.Origin) -> None:
        """Count an answered call that took `seconds`."""
        now = time.monotonic()
        with self._lock:
            self.calls += 1
            self.latencies.append(seconds)
            self.answered_by[f"generation {origin.generation or '-'} pid {origin.pid}"] += 1
            self._see_gap(now)
            self._last_answer = now

    def missed(self, reason: str, details: str) -> None:
        """Count a call lost for `reason`, a gRPC status or a word."""
        with self._lock:
            self.calls += 1
            self.lost += 1
            self.lost_by[reason] += 1
            self.first_loss = self.first_loss or f"{reason}: {details}"

    def close(self) -> None:
        """The gap that is open now counts as well, and none after: the last calls only finish."""
        with self._lock:
            self._see_gap(time.monotonic())
            self._closed = True

    def summary(self, seconds: float) -> dict[str, object]:
        """Plain values for printing; times in the units that the keys name."""
        latencies = sorted(self.latencies)
        return {
            "seconds": round(seconds, 2),
            "calls": self.calls,
            "lost": self.lost,
            "calls_per_second": round(self.calls / seconds, 1) if seconds else 0.0,
            "latency_ms": {"p50": _quantile(latencies, 0.5), "p99": _quantile(latencies, 0.99)},
            "longest_gap_ms": round(self.longest_gap * 1000),
            "answered_by": dict(self.answered_by),
            "lost_by": dict(self.lost_by),
            "first_loss": self.first_loss,
        }

    def _see_gap(self, now: float) -> None:
        if not self._closed:
            self.longest_gap = max(self.longest_gap, now - self._last_answer)


def run(connect: Callable[[], grpc.Channel], seconds: float, callers: int, streams: int, timeout: float, wait_for_ready: bool) -> dict[str, object]:
    """Call from `callers` threads, and from `streams` more with streams, for `seconds` or until SIGTERM or SIGINT.

    0 seconds: until a signal. Each caller has a channel of its own, made by `connect`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    over, tally, began = threading.Event(), Tally(), time.monotonic()
    kinds = [infer_once] * callers + [stream_once] * streams
    threads = [threading.Thread(target=_call_until, args=(over, tally, connect, kind, timeout, wait_for_ready)) for kind in kinds]
    try:
        for thread in threads:
            thread.start()
        signal.sigtimedwait(STOP_SIGNALS, seconds if seconds else 1e6)
        over.set()
        tally.close()
        for thread in threads:
            thread.join()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return tally.summary(time.monotonic() - began)


def infer_once(stub: Stub, timeout: float, wait_for_ready: bool) -> pb2.Origin:
    answer: pb2.InferResponse = stub.Infer(pb2.InferRequest(features=[0.3, -0.4]), timeout=timeout, wait_for_ready=wait_for_ready)
    return answer.origin


def stream_once(stub: Stub, timeout: float, wait_for_ready: bool) -> pb2.Origin:
    """One stream of about two seconds; ValueError where it ended early without an error."""
    wanted = pb2.InferStreamRequest(inputs=[pb2.InferRequest(features=[0.3, -0.4])], repeat=STREAM_RESPONSES, interval_ms=100)
    answers: list[pb2.InferResponse] = list(stub.InferStream(wanted, timeout=timeout, wait_for_ready=wait_for_ready))
    if len(answers) != STREAM_RESPONSES:
        raise ValueError(f"{len(answers)} of {STREAM_RESPONSES} responses")
    return answers[-1].origin


def _call_until(
    over: threading.Event,
    tally: Tally,
    connect: Callable[[], grpc.Channel],
    once: Callable[[Stub, float, bool], pb2.Origin],
    timeout: float,
    wait_for_ready: bool,
) -> None:
    with connect() as channel:
        stub = Stub(channel)  # type: ignore[no-untyped-call]
        while not over.is_set():
            began = time.monotonic()
            try:
                origin = once(stub, timeout, wait_for_ready)
            except grpc.RpcError as error:
                tally.missed(error.code().name, error.details() or "")
                over.wait(PAUSE_AFTER_LOSS)
            except ValueError as error:
                tally.missed("SHORT_STREAM", str(error))
            else:
                tally.answered(time.monotonic() - began, origin)


def _quantile(ordered: list[float], part: float) -> float | None:
    """In milliseconds; None where nothing was measured."""
    return round(ordered[int(part * (len(ordered) - 1))] * 1000, 2) if ordered else None
