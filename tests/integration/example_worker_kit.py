# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the example workers share: worker processes, stubs, waits; the worker's package can be imported after it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.shared import PATIENCE, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES / "worker"))

from worker import inference_pb2, inference_pb2_grpc  # noqa: E402

pb2 = inference_pb2
pb2_grpc = inference_pb2_grpc

SERVICE = "ew.ai.v1.InferenceService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
POINT = pb2.InferRequest(features=[0.3, -0.4])
LONG = PATIENCE  # the limit of a call that is expected to be short
FOREVER = 600.0  # a stream that a worker which stops must not wait for
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (INFO|WARNING|ERROR|CRITICAL) worker[.\w]*: \S.*")


class Worker:
    """One running worker process; its log is a file."""

    def __init__(self, directory: Path, log: Path, argv: tuple[str, ...], environ: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("EW_", "STATE_"))}
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker.main", *argv],
                cwd=directory,
                env={**inherited, "PYTHONUNBUFFERED": "1", **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self.log.read_text("utf-8")

    def wait_to_say(self, pattern: str) -> re.Match[str]:
        """Wait for the pattern in its log; its end before that is a failure."""
        wait_until(lambda: re.search(pattern, self.said()) or self.process.poll() is not None, f"the worker says {pattern!r}")
        found = re.search(pattern, self.said())
        assert found, f"ended with {self.process.returncode} before it said {pattern!r}:\n{self.said()}"
        return found

    @property
    def port(self) -> int:
        return int(self.wait_to_say(r"(?:listening on \S+|started on) port (\d+)")[1])

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)])

    def ended(self) -> int:
        """Wait for the exit status; negative for the signal that ended it."""
        return self.process.wait(LONG)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the worker directory, so that the checkout stays as it is."""
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
    return Path(shutil.copytree(EXAMPLES / "worker", tmp_path_factory.mktemp("nested") / "worker directory", ignore=ignore))


@pytest.fixture
def start(directory: Path, tmp_path: Path) -> Iterator[Start]:
    """Start workers on free ports; all end with the test."""
    running: list[Worker] = []

    def one(*argv: str, at: Path = directory, port: int = 0, **environ: str) -> Worker:
        running.append(Worker(at, tmp_path / f"{len(running)}.log", ("--port", str(port), *argv), environ))
        return running[-1]

    yield one
    for worker in running:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@pytest.fixture(scope="module")
def shared(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One healthy worker for the tests that leave it as it is."""
    worker = Worker(directory, tmp_path_factory.mktemp("shared") / "log", ("--port", "0"), {"EW_GENERATION": "3"})
    wait_serving(worker)
    yield worker
    assert worker.stop() == 0


def stub(channel: grpc.Channel) -> inference_pb2_grpc.InferenceServiceStub:
    return inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]


def wait_serving(worker: Worker) -> None:
    with worker.channel() as channel:
        for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LONG):
            if answer.status == SERVING:
                return


def check(channel: grpc.Channel, service: str, timeout: float = LONG) -> int:
    status: int = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout).status
    return status


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """The status of a call that must fail."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    code: grpc.StatusCode = failed.value.code()
    return code


def client(directory: Path, worker: Worker, *argv: str) -> subprocess.CompletedProcess[str]:
    address = f"--address=127.0.0.1:{worker.port}"
    return subprocess.run([sys.executable, "-m", "worker.client", address, *argv], cwd=directory, capture_output=True, text=True, timeout=60, check=False)


def is_silent(worker: Worker) -> bool:
    """Whether Check has no answer on a new connection, though it waits longer than a busy machine needs."""
    with worker.channel() as channel:
        try:
            check(channel, "", timeout=3)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                raise
            return True
    return False


def threads(pid: int) -> dict[int, bool]:
    """The threads of a process; each with whether it leaves SIGTERM to others. One that ends meanwhile is left out."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            (mask,) = re.findall(r"^SigBlk:\s+(\w+)$", (task / "status").read_text("ascii"), re.MULTILINE)
            found[int(task.name)] = bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
    return found
