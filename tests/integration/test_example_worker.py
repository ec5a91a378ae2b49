# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example workers as real processes, called over real connections: what they promise while they serve and when they stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.example_worker_kit import (
    EXAMPLES,
    FOREVER,
    LOG_LINE,
    LONG,
    NOT_SERVING,
    POINT,
    SERVICE,
    SERVING,
    Start,
    Worker,
    check,
    client,
    code_of,
    directory,
    pb2,
    shared,
    start,
    stub,
    threads,
    wait_serving,
)
from tests.shared import wait_until

__all__ = ["directory", "shared", "start"]  # fixtures


# While it serves


def test_answers_tell_who_answered(start: Start) -> None:
    worker = start(EW_GENERATION="7", EW_INSTANCE="b", EW_RELEASE="abc123")
    wait_serving(worker)
    with worker.channel() as channel:
        answer = stub(channel).Infer(POINT, timeout=LONG)
    assert answer.label in ("red", "green", "blue")
    assert sum(answer.probabilities) == pytest.approx(1.0)
    assert answer.origin == pb2.Origin(generation="7", instance="b", release="abc123", pid=worker.process.pid, code_version="1")
    assert worker.stop() == 0
    lines = worker.said().splitlines()
    assert len(lines) >= 5
    assert [line for line in lines if not LOG_LINE.fullmatch(line)] == []


def test_a_stream_comes_in_order_and_in_time(shared: Worker) -> None:
    request = pb2.InferStreamRequest(inputs=[POINT, pb2.InferRequest(features=[-0.5, 0.2])], repeat=2, interval_ms=100)
    began = time.monotonic()
    with shared.channel() as channel:
        answers = list(stub(channel).InferStream(request, timeout=LONG))
    assert [answer.index for answer in answers] == [0, 1, 2, 3]
    assert [answer.probabilities for answer in answers[:2]] == [answer.probabilities for answer in answers[2:]]
    assert time.monotonic() - began >= 0.3


def test_training_lowers_the_loss_and_survives_a_restart(start: Start, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for trained in (0, 150):
        worker = start(STATE_DIRECTORY=str(state), EW_INSTANCE="a")
        wait_serving(worker)
        with worker.channel() as channel:
            assert stub(channel).Infer(POINT, timeout=LONG).trained_epochs == trained
            progress = list(stub(channel).Train(pb2.TrainRequest(epochs=150, report_every=50), timeout=LONG))
            assert stub(channel).Infer(POINT, timeout=LONG).trained_epochs == trained + 150
        assert [each.epoch for each in progress] == [0, 50, 100, 150]
        assert [each.saved for each in progress] == [False, False, False, True]
        assert progress[-1].loss < progress[0].loss / 2
        assert progress[-1].accuracy > progress[0].accuracy
        assert worker.stop() == 0
    assert [each.name for each in state.iterdir()] == ["model-a.npz"]


@pytest.mark.parametrize("ruin", ["broken", "unwritable"])
def test_an_unusable_checkpoint_stops_nobody(start: Start, tmp_path: Path, ruin: str) -> None:
    state = tmp_path / "state"
    if ruin == "broken":
        state.mkdir()
        (state / "model.npz").write_bytes(b"cut off")
    else:
        state.write_text("a file where the directory should be")
    worker = start(EW_STATE_DIR=str(state))
    wait_serving(worker)
    with worker.channel() as channel:
        *_rest, last = stub(channel).Train(pb2.TrainRequest(epochs=3), timeout=LONG)
    assert last.saved == (ruin == "broken")
    assert "WARNING" in worker.said()
    assert str(state / "model.npz") in worker.said()
    if ruin == "broken":
        assert (state / "model.npz.bad").read_bytes() == b"cut off"


@pytest.mark.parametrize(
    ("method", "request_", "reason"),
    [
        ("Infer", pb2.InferRequest(features=[1.0]), "features has 1 numbers: exactly 2"),
        ("Infer", pb2.InferRequest(features=[1.0, float("nan")]), "every number must be finite"),
        ("InferStream", pb2.InferStreamRequest(inputs=[POINT], interval_ms=60_001), "interval_ms is 60001: at most 60000"),
        ("InferStream", pb2.InferStreamRequest(inputs=[POINT], repeat=1_000_001), "over 1000000"),
        ("InferStream", pb2.InferStreamRequest(inputs=[pb2.InferRequest()]), "features has 0 numbers"),
        ("Train", pb2.TrainRequest(epochs=1_000_001), "epochs is 1000001: at most 1000000"),
        ("Train", pb2.TrainRequest(learning_rate=-1), "learning_rate is -1.0: over 0 and at most 2"),
        ("Train", pb2.TrainRequest(learning_rate=float("nan")), "learning_rate is nan"),
    ],
)
def test_bad_arguments_are_refused_with_the_reason(shared: Worker, method: str, request_: object, reason: str) -> None:
    with shared.channel() as channel:
        call = getattr(stub(channel), method)
        with pytest.raises(grpc.RpcError) as failed:
            call(request_, timeout=LONG) if method == "Infer" else list(call(request_, timeout=LONG))
    assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason in (failed.value.details() or "")


def test_one_training_at_a_time_and_a_left_one_ends(shared: Worker) -> None:
    endless = pb2.TrainRequest(epochs=1_000_000, report_every=1)
    with shared.channel() as channel, shared.channel() as other:
        first = stub(channel).Train(endless, timeout=FOREVER)
        next(first)
        assert code_of(lambda: next(stub(other).Train(endless, timeout=LONG))) == grpc.StatusCode.ABORTED
        first.cancel()

        def again() -> bool:
            try:
                return len(list(stub(other).Train(pb2.TrainRequest(epochs=1), timeout=LONG))) == 2
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.ABORTED:
                    raise
                return False

        wait_until(again, "the cancelled training has ended")


def test_health_of_both_names(shared: Worker) -> None:
    with shared.channel() as channel:
        assert (check(channel, ""), check(channel, SERVICE)) == (SERVING, SERVING)
        assert code_of(lambda: check(channel, "no.such.Service")) == grpc.StatusCode.NOT_FOUND


def test_client_prints_and_exits(directory: Path, shared: Worker) -> None:
    answer = client(directory, shared, "--json", "infer", "--features", "0.1", "-0.2")
    assert (answer.returncode, json.loads(answer.stdout)["origin"]["generation"]) == (0, "3"), answer.stderr
    rows = client(directory, shared, "train", "--epochs", "4", "--report-every", "2").stdout.splitlines()
    assert rows[0].split() == ["epoch", "epochs", "loss", "accuracy", "saved", "generation", "pid"]
    assert [row.split()[0] for row in rows[1:]] == ["0", "2", "4"]
    streamed = client(directory, shared, "--json", "stream", "--repeat", "3", "--interval-ms", "10").stdout.splitlines()
    assert [json.loads(line)["index"] for line in streamed] == [0, 1, 2]
    failed = client(directory, shared, "infer", "--features", "1", "2", "3")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert re.fullmatch(r"error: infer at 127\.0\.0\.1:\d+: INVALID_ARGUMENT: features has 3 numbers.*\n", failed.stderr)


def test_load_loses_nothing_at_a_healthy_worker(directory: Path, shared: Worker) -> None:
    argv = [sys.executable, "-m", "worker.client", f"--address=127.0.0.1:{shared.port}", "--json", "load", "--seconds=0"]
    with subprocess.Popen(argv, cwd=directory, stdout=subprocess.PIPE, text=True) as load:
        try:
            wait_until(lambda: any(threads(load.pid).values()), "the load has begun")
            with pytest.raises(subprocess.TimeoutExpired):
                load.wait(0.5)
            load.send_signal(signal.SIGTERM)
            seen = json.loads(load.communicate(timeout=LONG)[0])
        finally:
            load.kill()
    assert (load.returncode, seen["lost"]) == (0, 0)
    assert seen["answered_by"] == {f"generation 3 pid {shared.process.pid}": seen["calls"]}


def test_load_tells_what_was_lost(directory: Path, start: Start) -> None:
    worker = start("--test-crash-after-calls", "5")
    wait_serving(worker)
    done = client(directory, worker, "--json", "load", "--seconds", "3", "--callers", "2", "--streams", "1")
    seen = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert seen["calls"] - seen["lost"] <= 5 < seen["calls"]
    assert seen["lost"] == sum(seen["lost_by"].values())
    assert seen["first_loss"].startswith("UNAVAILABLE: ")
    assert seen["longest_gap_ms"] > 300


# Stopping


def test_sigterm_finishes_the_running_stream_and_tells_watchers(start: Start) -> None:
    worker = start("--grace", "60")
    wait_serving(worker)
    with worker.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LONG)
        assert next(watch).status == SERVING
        answers = stub(channel).InferStream(pb2.InferStreamRequest(inputs=[POINT], repeat=11, interval_ms=100), timeout=LONG)
        next(answers)
        worker.process.send_signal(signal.SIGTERM)
        assert [answer.status for answer in watch] == [NOT_SERVING]
        assert watch.code() == grpc.StatusCode.OK
        with worker.channel() as late:
            assert code_of(lambda: stub(late).Infer(POINT, timeout=LONG)) == grpc.StatusCode.UNAVAILABLE
        assert len(list(answers)) == 10
    assert worker.ended() == 0
    # Not the end of the grace: the watcher, whose stream has no end, did not hold it up.
    assert "every call finished" in worker.said()


def test_what_outlives_the_grace_is_cut_off_and_training_is_kept(start: Start, tmp_path: Path) -> None:
    worker = start("--grace", "0.5", EW_STATE_DIR=str(tmp_path / "state"))
    wait_serving(worker)
    with worker.channel() as channel:
        answers = stub(channel).InferStream(pb2.InferStreamRequest(inputs=[POINT], repeat=1000, interval_ms=1000), timeout=FOREVER)
        progress = stub(channel).Train(pb2.TrainRequest(epochs=1_000_000, report_every=1_000), timeout=FOREVER)
        next(answers)
        next(progress)
        assert worker.stop() == 0
        assert code_of(lambda: list(answers)) in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert "cutting off 2 calls" in worker.said()
    assert (tmp_path / "state" / "model.npz").exists()


def test_drain_still_accepts_calls_after_not_serving(start: Start) -> None:
    worker = start("--drain", "5")
    wait_serving(worker)
    with worker.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""), timeout=LONG)
        assert next(watch).status == SERVING
        worker.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        with worker.channel() as new:
            assert stub(new).Infer(POINT, timeout=LONG).origin.pid == worker.process.pid
    assert worker.ended() == 0


def test_no_thread_can_take_sigterm_but_the_one_that_waits(start: Start) -> None:
    # numpy's threads once could: a SIGTERM that reached them ended the process at once.
    worker = start()
    wait_serving(worker)
    found = threads(worker.process.pid)
    assert len(found) > 3
    # The kernel takes a signal out of the mask while its thread waits for it.
    assert [thread for thread, blocks in found.items() if not blocks] in ([], [worker.process.pid])


def test_sigterm_before_the_model_is_loaded(start: Start) -> None:
    worker = start("--test-serving-delay", "600")
    assert worker.port
    assert worker.stop() == 0


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "SO_REUSEPORT"])
def test_a_taken_port_is_an_error_with_its_own_status(start: Start, shares: bool) -> None:
    with socket.socket() as holder:
        if shares:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        worker = start(port=port)
        assert worker.ended() == 69
    (line,) = worker.said().splitlines()
    assert LOG_LINE.fullmatch(line)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use; another process holds it" in line


# The flat layout


def test_the_flat_worker_runs_as_the_package_worker(start: Start, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "flat-worker", tmp_path / "release" / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    worker = start(at=tmp_path / "release", EW_GENERATION="2")
    with worker.channel() as channel:
        progress = list(stub(channel).Train(pb2.TrainRequest(epochs=10), timeout=LONG))
        assert progress[-1].loss < progress[0].loss / 2
        answer = stub(channel).Infer(POINT, timeout=LONG)
        assert (answer.label, answer.origin.generation, answer.origin.pid) == ("green", "2", worker.process.pid)
        assert len(list(stub(channel).InferStream(pb2.InferStreamRequest(inputs=[POINT], repeat=3), timeout=LONG))) == 3
        assert code_of(lambda: check(channel, "")) == grpc.StatusCode.UNIMPLEMENTED
    assert listens_everywhere(worker.port)
    assert worker.stop() == -signal.SIGTERM


def listens_everywhere(port: int) -> bool:
    """Whether a socket listens on the port at the address that means every one."""
    for table, anywhere in (("tcp6", "0" * 32), ("tcp", "0" * 8)):
        path = Path("/proc/net") / table
        rows = [line.split() for line in path.read_text("ascii").splitlines()[1:]] if path.exists() else []
        if any(row[1] == f"{anywhere}:{port:04X}" and row[3] == "0A" for row in rows):
            return True
    return False


# Generated code


# Statuses are set while watchers come and go: grpcio-health-checking's own servicer stands still within the first few.
WATCHED = """
import threading
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from worker.server import NOT_SERVING, SERVING, Server

server = Server(4, lambda added: None)
port = server.listen("127.0.0.1", 0)
rounds = []

def watch():
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]) as channel:
        while True:
            call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
            try:
                next(call), next(call)
            except grpc.RpcError:
                pass
            call.cancel()
            rounds.append(1)

watchers = [threading.Thread(target=watch, daemon=True) for _ in range(4)]
for each in watchers:
    each.start()
while len(rounds) < 400:
    server.set_health("", SERVING)
    server.set_health("", NOT_SERVING)
print("set", flush=True)
"""


def test_a_watcher_that_leaves_while_a_status_is_set_locks_nothing_up(directory: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", WATCHED + "import os; os._exit(0)\n"], cwd=directory, capture_output=True, text=True, timeout=LONG, check=False
        )
    except subprocess.TimeoutExpired as hung:
        raise AssertionError(f"the server stands still: {hung.stderr!r}") from hung
    assert (done.stdout, done.returncode) == ("set\n", 0), done.stderr


def test_generated_code_is_what_the_pinned_tools_write() -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        pytest.skip("uv, which fetches the pinned grpcio-tools, is not installed")
    argv = (EXAMPLES / "worker" / "generate.py").read_text("utf-8")
    pinned = re.findall(r"--with (\S+==\S+)", argv)
    assert len(pinned) == 2
    withs = [word for one in pinned for word in ("--with", one)]
    run = [uv, "run", "--quiet", "--no-project", "--no-build", "--python", sys.executable, *withs, "python", "generate.py", "--check"]
    done = subprocess.run(run, cwd=EXAMPLES / "worker", capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and "grpcio-tools" in done.stderr + done.stdout and "differs" not in done.stdout:
        reason = (done.stderr.strip() or "uv says nothing").splitlines()[-1]
        pytest.skip(f"the pinned tools cannot be had here: {reason}")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
