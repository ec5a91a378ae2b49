# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each fault switch of the example worker does what its help says, shown on a real process."""

from __future__ import annotations

import datetime
import signal
import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.example_worker_kit import (
    FOREVER,
    LONG,
    NOT_SERVING,
    POINT,
    SERVICE,
    SERVING,
    Start,
    Worker,
    check,
    code_of,
    directory,
    is_silent,
    pb2,
    start,
    stub,
    wait_serving,
)
from tests.integration.module_driver import run_module
from tests.shared import opened, wait_until

__all__ = ["directory", "start"]  # fixtures
# Seconds from the start of the process to the fault: enough to serve before, on a busy machine too
SOON = "5"


def test_fault_exit_at_once(start: Start) -> None:
    assert start("--test-exit-code", "7").ended() == 7


@pytest.mark.parametrize(("code", "expected"), [("", 1), ("0", 0)])
def test_fault_exit_after(start: Start, code: str, expected: int) -> None:
    worker = start(EW_TEST_EXIT_AFTER=SOON, EW_TEST_EXIT_CODE=code)
    wait_serving(worker)
    assert worker.ended() == expected
    assert "test fault: exiting after 5.0 s" in worker.said()


def test_fault_crash_after_calls(start: Start) -> None:
    worker = start("--test-crash-after-calls", "2")
    wait_serving(worker)
    with worker.channel() as channel:
        for _call in range(2):
            stub(channel).Infer(POINT, timeout=LONG)
            assert check(channel, SERVICE) == SERVING
        assert code_of(lambda: stub(channel).Infer(POINT, timeout=LONG)) == grpc.StatusCode.UNAVAILABLE
    assert worker.ended() == -signal.SIGABRT


def test_fault_freeze(start: Start) -> None:
    worker = start("--test-freeze-after", SOON)
    wait_serving(worker)
    stat = Path(f"/proc/{worker.process.pid}/stat")
    wait_until(lambda: stat.read_text("ascii").rpartition(")")[2].split()[0] == "T", "the process is stopped")
    assert is_silent(worker)
    socket.create_connection(("127.0.0.1", worker.port), timeout=LONG).close()
    worker.process.send_signal(signal.SIGCONT)
    assert worker.stop() == 0


def verdict_on(worker: Worker) -> tuple[str, str]:
    """What grpc_health tells of it."""
    found = run_module("grpc_health", {"targets": [{"address": f"127.0.0.1:{worker.port}"}], "attempts": 1, "rpc_timeout": 3, "on_failure": "warn"})
    return found["targets"][0]["status"], found["targets"][0]["code"]


def test_fault_hold_gil(start: Start) -> None:
    worker = start("--test-hold-gil-after", SOON)
    wait_serving(worker)
    worker.wait_to_say("test fault: hanging in native code")
    wait_until(lambda: is_silent(worker), "it hangs")
    socket.create_connection(("127.0.0.1", worker.port), timeout=LONG).close()
    assert verdict_on(worker) == ("frozen", "hung")
    worker.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(0.5)


def test_fault_hold_threads(start: Start) -> None:
    worker = start("--test-hold-threads-after", SOON, "--threads", "3")
    wait_serving(worker)
    worker.wait_to_say("test fault: holding all 3 threads")
    wait_until(lambda: is_silent(worker), "every thread is held")
    assert verdict_on(worker) == ("saturated", "saturated")
    with worker.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LONG)
        assert next(watch).status == SERVING
    assert worker.stop() == 0
    assert "every call finished" in worker.said(), "the threads that are held did not hold it up"


def test_real_calls_in_every_thread_look_the_same(start: Start) -> None:
    worker = start("--threads", "2")
    wait_serving(worker)
    with worker.channel() as channel:
        slow = pb2.InferStreamRequest(inputs=[POINT], repeat=1000, interval_ms=1000)
        busy = [stub(channel).InferStream(slow, timeout=FOREVER) for _thread in range(2)]
        for answers in busy:
            next(answers)
        assert is_silent(worker)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LONG)
        assert next(watch).status == SERVING
        for answers in busy:
            answers.cancel()
        assert check(channel, "") == SERVING


def test_fault_ignore_sigterm(start: Start) -> None:
    worker = start(EW_TEST_IGNORE_SIGTERM="1")
    wait_serving(worker)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_to_say("test fault: ignoring SIGTERM")
    with worker.channel() as channel:
        assert stub(channel).Infer(POINT, timeout=LONG).origin.pid == worker.process.pid
    worker.process.send_signal(signal.SIGINT)
    assert worker.ended() == 0


def test_fault_never_listen(start: Start) -> None:
    worker = start("--test-never-listen")
    worker.wait_to_say("test fault: not listening at all")
    assert [each for each in opened(worker.process.pid) if each.startswith("socket:")] == []
    assert worker.stop() == 0


def test_fault_listen_delay(start: Start) -> None:
    worker = start("--test-listen-delay", "0.7")
    wait_serving(worker)
    waits, listens = (when(worker, text) for text in ("test fault: not listening for 0.7 s", " listening on "))
    assert (listens - waits).total_seconds() >= 0.7


def when(worker: Worker, text: str) -> datetime.datetime:
    """The time of the only line of its log that has the text."""
    (line,) = [line for line in worker.said().splitlines() if text in line]
    return datetime.datetime.fromisoformat(line.split()[0])


def test_fault_serving_delay(start: Start) -> None:
    worker = start("--test-serving-delay", SOON)
    with worker.channel() as channel:
        assert (check(channel, ""), check(channel, SERVICE)) == (SERVING, NOT_SERVING)
        assert code_of(lambda: stub(channel).Infer(POINT, timeout=LONG)) == grpc.StatusCode.UNAVAILABLE
        wait_serving(worker)
        assert stub(channel).Infer(POINT, timeout=LONG).label


def test_fault_not_serving(start: Start) -> None:
    worker = start("--test-not-serving")
    worker.wait_to_say("model loaded")
    with worker.channel() as channel:
        assert (check(channel, ""), check(channel, SERVICE)) == (NOT_SERVING, NOT_SERVING)
        assert stub(channel).Infer(POINT, timeout=LONG).label
    assert worker.stop() == 0


def test_fault_no_health(start: Start) -> None:
    worker = start("--test-no-health")
    worker.wait_to_say("model loaded")
    with worker.channel() as channel:
        assert code_of(lambda: check(channel, "")) == grpc.StatusCode.UNIMPLEMENTED
        assert stub(channel).Infer(POINT, timeout=LONG).label
    assert worker.stop() == 0
