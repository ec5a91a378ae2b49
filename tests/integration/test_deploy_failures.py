# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Workers that do not come up: the generation before answers again at the end, and the failure says what to do."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import typing as t

import pytest

from tests.figures import tell
from tests.integration.clean_room import left_in
from tests.integration.deploy_driver import ENDS_AT_ONCE, Data, Place

pytestmark = pytest.mark.slow

# Enough attempts to import everything and listen on a busy machine
SOON: Data = {"worker_health_attempts": 12, "worker_health_interval": 1}
# It accepts connections and has an answer to none: its service is never SERVING before, and it does not hear SIGTERM
FROZEN = {"EW_TEST_SERVING_DELAY": "600", "EW_TEST_FREEZE_AFTER": "3"}
IMPATIENT: Data = {
    "worker_health_attempts": 6,
    "worker_health_interval": 1,
    "worker_health_connect_timeout": 2,
    "worker_health_rpc_timeout": 2,
    "worker_health_services": ["ew.ai.v1.InferenceService"],
    "worker_stop_timeout": 3,
}
# variables of the bad worker, code of the failure, stage, what its last log lines have, other settings of the deploy
BAD: dict[str, tuple[Data, str, str, str, Data]] = {
    "exits at once": ({ENDS_AT_ONCE: "3"}, "start_failed", "instances", "ends at once with status 3", {}),
    "exits while it loads": ({"EW_TEST_EXIT_AFTER": "15", "EW_TEST_LISTEN_DELAY": "60"}, "process_gone", "health", "exiting after 15.0 s with code 1", {}),
    "exits after some service": ({"EW_TEST_EXIT_AFTER": "15"}, "process_gone", "health", "exiting after 15.0 s with code 1", {"worker_health_stable_for": 60}),
    "never answers": ({"EW_TEST_NEVER_LISTEN": "1"}, "connection_refused", "health", "test fault", SOON),
    "answers NOT_SERVING": ({"EW_TEST_NOT_SERVING": "1"}, "not_serving", "health", "listening on", SOON),
    "accepts and stays silent": (FROZEN, "stopped", "health", "stopping this process by SIGSTOP", IMPATIENT),
}


class Good:
    """A worker of two instances with one healthy generation; every bad deploy must end with it as it was."""

    def __init__(self, place: Place) -> None:
        self.worker = place.worker(place.copy("good", version="good"), 2)
        self.bad_source = place.copy("bad", version="bad")
        self.worker.deploy()


@pytest.fixture(scope="module")
def good(place: Place) -> Good:
    return Good(place)


@pytest.mark.xdist_group("deploy-failures")
class TestWithAnEarlierGeneration:
    @pytest.mark.parametrize("case", BAD)
    def test_the_earlier_generation_answers_again(self, good: Good, case: str) -> None:
        environ, code, stage, said, patience = BAD[case]
        worker = good.worker
        before = [worker.ask(index) for index in (0, 1)]
        run = worker.run("deploy", worker_dir=str(good.bad_source), worker_env=environ, **patience)

        assert run.status == 2, run.output
        assert run.host["success"] is False
        failure = run.failure
        assert (failure["code"], failure["stage"]) == (code, stage), failure
        assert any(said in line for line in failure["logs"]), failure["logs"]
        assert re.search(r"ansible-playbook ew_ai\.worker\.logs|tail ", failure["remedy"]), failure["remedy"]
        assert failure["restored"] == f"Generation {before[0]['generation']} serves again."
        after = [worker.ask(index) for index in (0, 1)]
        for name in ("generation", "code_version", "instance"):
            assert [each[name] for each in after] == [each[name] for each in before]
        assert worker.endpoints() == {"0": "serving", "1": "serving"}
        tell(f"{case}: gap in service {run.host['gapMs']} ms, {run.seconds:.0f} s in all")
        assert isinstance(run.host["gapMs"], int)
        assert 0 < run.host["gapMs"] < run.host["durationMs"]
        # Only the first instance was tried where the fault shows before the second one's turn
        if case != "exits after some service":
            assert after[1]["pid"] == before[1]["pid"]
        for text in (f"code: {code}", failure["restored"], failure["logs"][-1], "gap in service"):
            assert text in run.output


def test_without_an_earlier_generation_the_new_instances_end_stopped(place: Place) -> None:
    environ, code, _stage, _said, patience = BAD["answers NOT_SERVING"]
    worker = place.worker(worker_env=environ, **patience)
    run = worker.run("deploy")
    assert run.failure["code"] == code
    assert run.failure["restored"] == "There was no previous generation; the new instances were stopped."
    assert run.failure["restored"] in run.output
    assert run.host["gapMs"] is None
    (row,) = worker.rows().values()
    assert (row["state"], row["enabled"], row["pid"]) == ("stopped", False, None)
    assert worker.state()["active"] is None


def test_a_worker_that_takes_90_s_to_load_passes_with_the_defaults(place: Place) -> None:
    worker = place.worker(worker_env={"EW_TEST_LISTEN_DELAY": "90"})
    run = worker.deploy()
    assert run.seconds > 90
    assert worker.ask()["generation"] == "1"
    assert worker.endpoints() == {"0": "serving"}


LISTEN = """
import socket, sys, time
listener = socket.socket()
if sys.argv[2] == "shared":
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print("ready", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def foreign_listener(port: int, how: str) -> t.Iterator[subprocess.Popen[str]]:
    """Somebody else's process on the port."""
    process = subprocess.Popen([sys.executable, "-c", LISTEN, str(port), how], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_foreign_processes_on_the_ports_are_named_before_anything_is_changed(clean_place: Place) -> None:
    worker = clean_place.worker(count=3)
    with foreign_listener(worker.port + 1, "alone") as one, foreign_listener(worker.port + 2, "shared") as other:
        run = worker.run("deploy")
    assert (run.failure["code"], run.failure["stage"]) == ("preflight", "preflight")
    for port, process in ((worker.port + 1, one), (worker.port + 2, other)):
        assert re.search(rf"Port {port} on 127\.0\.0\.1 is held by pid {process.pid} \(\S*python\S* -c import socket, sys", run.failure["message"])
        assert f"Stop it (kill {process.pid}), or choose another worker_port" in run.failure["message"]
    assert run.failure["restored"] == "Nothing that serves was touched."
    assert run.changed == 0
    assert left_in(clean_place.data) == []
