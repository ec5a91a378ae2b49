# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deployed worker that is killed, that crashes again and again, and that will not stop."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal

import pytest

from tests.integration.deploy_driver import Place, Worker
from tests.shared import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-supervision")]

RECORD = re.compile(r"^(?P<time>\S+ \S+) \w+ (?P<text>.*)$", re.MULTILINE)


def records(worker: Worker, text: str) -> list[datetime.datetime]:
    """When supervisord wrote a line with the text into its own log."""
    log = (worker.home / "supervisord" / "supervisord.log").read_text()
    return [datetime.datetime.strptime(each["time"], "%Y-%m-%d %H:%M:%S,%f") for each in RECORD.finditer(log) if text in each["text"]]


def failed(worker: Worker) -> str:
    """Why the instance is not started any more, as the keeper beside supervisord has written it."""
    return str(json.loads((worker.home / "supervisord" / "keeper.json").read_text())["0"]["failed"])


def kill(worker: Worker, pid: int) -> int:
    """kill -9, and the pid of what comes back; 0 where the instance was left failed."""
    starts = len(records(worker, f"spawned: '{worker.name}@0'"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(records(worker, f"spawned: '{worker.name}@0'")) > starts or failed(worker), "it is back or has failed")
    log = (worker.home / "supervisord" / "supervisord.log").read_text()
    return 0 if failed(worker) else int(re.findall(rf"spawned: '{worker.name}@0' with pid (\d+)", log)[-1])


@pytest.fixture(scope="module")
def mortal(place: Place) -> Worker:
    """A worker that may be started four times in five minutes."""
    made = place.worker(worker_restart={"policy": "always", "delay": 0, "burst": 4, "window": 300})
    made.deploy()
    return made


class TestKilled:
    def test_kill_9_comes_back_by_itself_and_is_counted(self, mortal: Worker) -> None:
        before = mortal.rows()["0"]
        assert before["restarts"] == 0
        pid = kill(mortal, before["pid"])
        wait_until(lambda: _answers(mortal), "it answers again")
        after = mortal.rows()["0"]
        assert (after["state"], after["restarts"], after["pid"]) == ("running", 1, pid)
        assert mortal.deploy().changed == 0

    def test_a_crash_loop_ends_failed_with_a_reason(self, mortal: Worker) -> None:
        pid, kills = mortal.rows()["0"]["pid"], 0
        while pid:
            pid, kills = kill(mortal, pid), kills + 1
            assert kills <= 4, "the burst of 4 starts has no end"
        run = mortal.run("status").ok()
        (row,) = run.host["instances"]
        assert (row["state"], row["result"], row["pid"]) == ("failed", "start-limit-hit", None)
        assert row["reason"]
        assert re.search(rf"{mortal.name}@0 +failed", run.output)
        # The next deploy mends it, though nothing of it has changed
        mortal.deploy()
        assert mortal.ask()["generation"] == "1"


def _answers(worker: Worker) -> bool:
    try:
        return bool(worker.ask())
    except AssertionError:
        return False


def test_stop_is_sigterm_and_after_the_stop_timeout_sigkill(place: Place) -> None:
    worker = place.worker(worker_env={"EW_TEST_IGNORE_SIGTERM": "1"}, worker_stop_timeout=3, worker_arguments=["--port", "{port}", "--grace", "2"])
    worker.deploy()
    pid = worker.ask()["pid"]
    run = worker.run("stop").ok()
    (row,) = run.host["instances"]
    assert (row["state"], row["result"], row["exit_status"]) == ("stopped", "timeout", -9)
    assert "was killed" in re.sub(r"\s+", " ", run.output)
    # The worker's own record of SIGTERM, and supervisord's of what came when its time was over, for this very process
    assert "ignoring SIGTERM" in (worker.home / "logs" / "0.log").read_text()
    (killed,) = records(worker, f"killing '{worker.name}@0' ({pid}) with SIGKILL")
    asked = datetime.datetime.fromisoformat(row["stopped_at"].replace("Z", "+00:00"))
    assert (killed.astimezone() - asked).total_seconds() >= 2.9
    assert records(worker, f"stopped: {worker.name}@0 (terminated by SIGKILL)")
