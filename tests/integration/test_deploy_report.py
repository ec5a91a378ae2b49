# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON that users of the old deploy module read, and what every verb leaves for people and for programs."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest

from tests.integration.deploy_driver import ENDS_AT_ONCE, Data, Place, Run, Worker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-report")]

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "data" / "old_module"
BESIDE = {"deploy": {"stages", "hosts"}, "status": {"hosts"}}
CHANGING = (
    (r"PID=\d+(, \d+)*", "PID=<pid>"),
    (r"\(\d+ms\)", "(<n>ms)"),
    (r"-[0-9a-f]{12}-\d+\b", "-<fingerprint>"),
    (r"/\S*/", "<directory>/"),
    (r"\bw\d+\b", "<worker>"),
)


def example(name: str) -> t.Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def masked(value: t.Any, key: str = "") -> t.Any:
    """The value with all that differs from run to run replaced; a number becomes its type's name."""
    if isinstance(value, dict):
        return {name: masked(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [masked(each) for each in value]
    if key in ("durationMs", "workerPort"):
        return f"<{type(value).__name__}>"
    if isinstance(value, str):
        for pattern, word in CHANGING:
            value = re.sub(pattern, word, value)
    return value


def old_part(verb: str, data: Data) -> Data:
    """What the old module would have written: its keys in its order, with nothing of ours."""
    beside = BESIDE[verb]
    assert beside <= set(data)
    return {name: masked(value, name) for name, value in data.items() if name not in beside}


def same(found: t.Any, wanted: t.Any) -> None:
    """Equal, types and the order of keys included."""
    assert json.dumps(found, indent=2) == json.dumps(wanted, indent=2)


@pytest.fixture(scope="module")
def worker() -> t.Iterator[Worker]:
    """In a place of its own: the first report tells of an environment that was made, not of one that another test left."""
    place = Place()
    yield place.worker(place.copy("reported", version="1"), 2, worker_health_attempts=30)
    place.end()


class TestOldForm:
    def test_status_of_one_never_deployed(self, worker: Worker) -> None:
        run = worker.run("status").ok()
        same(old_part("status", run.report), example("status_never_deployed"))
        assert "not deployed" in run.output
        assert not worker.home.exists()

    def test_report_of_a_deploy(self, worker: Worker) -> None:
        same(old_part("deploy", worker.deploy().report), example("deploy"))

    def test_report_of_a_second_deploy(self, worker: Worker) -> None:
        same(old_part("deploy", worker.deploy().report), example("deploy_again"))

    def test_report_of_a_failed_deploy(self, worker: Worker) -> None:
        run = worker.run("deploy", worker_env={ENDS_AT_ONCE: "3"})
        assert run.status == 2
        same(old_part("deploy", run.report), example("deploy_failed"))

    def test_status_of_a_serving_worker(self, worker: Worker) -> None:
        run = worker.run("status").ok()
        same(old_part("status", run.report), example("status"))
        assert run.report["workerPort"] == worker.port
        assert run.changed == 0
        for row in run.host["instances"]:
            for shown in (row["id"], str(row["pid"]), "serving", pathlib.Path(row["release"]).name, pathlib.Path(row["environment"]).name):
                assert shown in run.output
            assert row["memory_bytes"] > 10_000_000
            assert row["cpu_seconds"] > 0

    def test_status_of_a_disabled_worker(self, worker: Worker) -> None:
        run = worker.run("status", worker_enabled=False).ok()
        same(old_part("status", run.report), example("status_disabled"))


def ends_with_the_report(run: Run, verb: str) -> None:
    """The last words for people, the JSON for programs, and what the next reader of endpoints.json finds."""
    assert run.report["success"] is True
    assert run.report["message"] in run.output
    last = run.output[run.output.index("SUCCESS: ") :]
    assert "PLAY RECAP" in last
    assert last.count("TASK [") <= 1, f"more than the report's own task follows it after {verb}: {last}"


class TestVerbs:
    def test_stop_and_start(self, worker: Worker) -> None:
        ends_with_the_report(worker.run("stop").ok(), "stop")
        assert worker.endpoints() == {"0": "stopped", "1": "stopped"}
        assert {row["state"] for row in worker.rows().values()} == {"stopped"}
        ends_with_the_report(worker.run("start").ok(), "start")
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_restart_takes_one_after_the_other(self, worker: Worker) -> None:
        before = [worker.ask(index)["pid"] for index in (0, 1)]
        run = worker.run("restart").ok()
        ends_with_the_report(run, "restart")
        assert not set(before) & {worker.ask(index)["pid"] for index in (0, 1)}
        restarted = [action for action in run.actions if action[2] == "restarted"]
        assert restarted == [("instance", f"{worker.name}@{index}", "restarted") for index in (0, 1)]
        assert run.host["gapMs"] < run.host["durationMs"]

    def test_reinstall_builds_beside_and_moves_over(self, worker: Worker) -> None:
        before = worker.rows()["0"]
        run = worker.run("reinstall").ok()
        ends_with_the_report(run, "reinstall")
        after = worker.rows()["0"]
        assert after["environment"] != before["environment"]
        assert after["environment"].rpartition("-")[0] == before["environment"].rpartition("-")[0]
        assert after["generation"] > before["generation"]
        assert worker.ask()["pid"] != before["pid"]
        built = next(stage["elapsed"] for stage in run.host["stages"] if stage["name"] == "environment")
        assert run.host["gapMs"] < run.host["durationMs"] - 1000 * built, "the environment was not built in the gap"

    def test_rollback(self, worker: Worker) -> None:
        ends_with_the_report(worker.run("rollback").ok(), "rollback")
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_endpoints_are_rewritten_where_they_were_lost(self, worker: Worker) -> None:
        (worker.home / "endpoints.json").unlink()
        pids = [worker.ask(index)["pid"] for index in (0, 1)]
        run = worker.run("start").ok()
        assert run.actions == [("endpoints", worker.name, "changed")]
        assert [worker.ask(index)["pid"] for index in (0, 1)] == pids
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_logs_of_both_instances_are_merged_by_time(self, worker: Worker) -> None:
        run = worker.run("logs", worker_log_lines=3).ok()
        lines = run.report["lines"]
        assert {line["instance"] for line in lines} == {"0", "1"}
        assert len(lines) == 6
        assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
        assert all(re.match(r"\d{4}-\d\d-\d\dT", line["time"]) for line in lines)
        shown = [line["line"] for line in lines]
        positions = [run.output.index(text) for text in shown]
        assert positions == sorted(positions)
        assert run.changed == 0

    def test_the_deploy_log_has_a_line_for_each_change(self, worker: Worker) -> None:
        entries = [json.loads(line) for line in (worker.home / "deploy.log").read_text().splitlines()]
        assert [entry["verb"] for entry in entries if entry["success"]][:5] == ["deploy", "stop", "start", "restart", "reinstall"]
        assert [entry["code"] for entry in entries if not entry["success"]] == ["start_failed"]

    def test_uninstall(self, worker: Worker) -> None:
        ends_with_the_report(worker.run("uninstall").ok(), "uninstall")
        assert not (worker.home / "endpoints.json").exists()
        assert (worker.home / "logs").is_dir(), "without purge the logs stay"
        assert worker.run("status").ok().report["initialized"] is False
