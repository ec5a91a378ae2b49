# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report made from what the stages returned: old keys, stages, gaps, failures, tables."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.action import worker_report
from ansible_collections.ew_ai.worker.plugins.plugin_utils import report, report_text, table
from tests.unit.report.outcomes import instance, outcome

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def answered(at: str, healthy: bool = True) -> dict[str, t.Any]:
    """What grpc_health found of the one instance, and when."""
    return {"targets": [{"name": "ew-worker@0", "healthy": healthy, "decided_at": at}]}


def failing(action: str, **changes: t.Any) -> dict[str, t.Any]:
    """The outcome of a run in which that module failed."""
    result = {"failed": True, "msg": "It broke: badly.\nsecond line", "code": "broken", "remedy": "Run this."}
    return outcome(failure={"action": f"ew_ai.worker.{action}", "result": result}, **changes)


def test_report_keeps_the_old_keys_and_words() -> None:
    merged = report.merge([report.host_report("a", outcome(ended=1004.2))])
    assert {key: merged[key] for key in ("success", "message", "steps", "durationMs")} == {
        "success": True,
        "message": "ew-worker deployed on a",
        "steps": [
            {"name": "environment", "success": True, "message": "Environment e-f-1 created with rattler (3120ms)"},
            {"name": "start_worker", "success": True, "message": "Worker started (PID=12345)"},
            {"name": "health_check", "success": True, "message": "Worker is healthy (12ms)"},
        ],
        "durationMs": 4200,
    }
    assert [row["name"] for row in merged["stages"]] == list(report.STAGES)


@pytest.mark.parametrize(
    ("changes", "step", "message"),
    [
        ({"environment": {"prefix": "/x/envs/e", "created": False}}, 0, "Environment e is up to date"),
        ({"applied": [], "plan": {"changed": False}}, 1, "Worker is running (PID=12345)"),
        ({"call": {"instances": [instance(pid=None)]}}, 1, "Worker installed, not started"),
        ({"verb": "stop"}, 1, "Worker stopped"),
        ({"verb": "uninstall"}, 0, "Environment not touched"),
        (
            {"verb": "uninstall", "finished": {"actions": [{"what": "environment", "id": "envs/e-f-1", "status": "removed"}]}},
            0,
            "Environment e-f-1 removed",
        ),
        ({"check_mode": True}, 1, "Worker would be changed"),
        (
            {"verified": {"targets": [{"name": "ew-worker@0", "status": "not_serving", "healthy": False}]}},
            2,
            "Worker is NOT healthy, accepted as asked: ew-worker@0 is not_serving",
        ),
    ],
)
def test_step_messages(changes: dict[str, t.Any], step: int, message: str) -> None:
    assert report.host_report("a", outcome(**changes))["steps"][step]["message"] == message


@pytest.mark.parametrize(
    ("action", "stage", "steps"),
    [
        ("worker_preflight", "preflight", [("environment", False)]),
        ("conda_env", "environment", [("environment", False)]),
        ("ew_worker", "instances", [("environment", True), ("start_worker", False)]),
        ("grpc_health", "health", [("environment", True), ("start_worker", True), ("health_check", False)]),
    ],
)
def test_failure_ends_the_steps_where_it_happened(action: str, stage: str, steps: list[tuple[str, bool]]) -> None:
    one = report.host_report("a", failing(action))
    assert one["failure"]["stage"] == stage
    assert [(step["name"], step["success"]) for step in one["steps"]] == steps
    assert one["steps"][-1]["message"] == "It broke: badly."


def test_failure_tells_code_log_lines_remedy_and_what_serves() -> None:
    logs = {"logs": {"0": [{"time": "2026-01-02T03:04:06Z", "line": "second"}, {"time": "2026-01-02T03:04:05Z", "line": "first"}]}}
    one = report.host_report("a", failing("grpc_health", log=logs, restored={"tried": True, "success": True, "generation": 1, "msg": ""}))
    assert report_text.lines(report.merge([one]), NOW)[:10] == [
        "a: FAILED - ew-worker was not deployed on a: It broke: badly.",
        "  [1/3] environment  ok     Environment e-f-1 created with rattler (3120ms)",
        "  [2/3] start_worker ok     Worker started (PID=12345)",
        "  [3/3] health_check FAILED in the stage health",
        "  second line",
        "  last log lines:",
        "    0: first",
        "    0: second",
        "  code: broken; stage: health. Generation 1 serves again.",
        "  next: Run this. Read on: ansible-playbook ew_ai.worker.logs --limit a",
    ]
    assert report_text.lines(report.merge([one]), NOW)[-1] == "FAILURE: 0 of 1 hosts succeeded; failed: a (1000ms)"
    assert report_text.host_message(one).splitlines() == [
        "ew-worker was not deployed on a: It broke: badly.",
        "  code: broken; stage: health. Generation 1 serves again.",
        "  next: Run this. Read on: ansible-playbook ew_ai.worker.logs --limit a",
    ]


def test_a_remedy_is_told_once() -> None:
    seen = failing("worker_preflight")
    seen["failure"]["result"] = {"msg": "No way. Run this.", "code": "broken", "remedy": "Run this."}
    told = report.failure("a", seen)
    assert told
    assert (told["message"], told["remedy"]) == ("No way.", "Run this.")


@pytest.mark.parametrize(("rc", "how"), [(137, "signal SIGKILL"), (-9, "signal SIGKILL")])
def test_a_module_that_was_killed_has_a_code_and_may_have_done_something(rc: int, how: str) -> None:
    seen = failing("ew_worker")
    seen["failure"] = {**seen["failure"], "task": "Apply", "result": {"failed": True, "changed": False, "module_stdout": "", "msg": "No JSON", "rc": rc}}
    told = report.failure("a", seen)
    assert told
    assert (told["code"], told["message"]) == ("module_died", f"The module of the task 'Apply' was ended on the host before it gave a result ({how}).")
    assert told["remedy"].startswith(report.DIED)
    assert told["restored"] != "Nothing that serves was touched."


BACK = {"tried": True, "success": True, "generation": 1, "msg": ""}
SAME = "The generation is the same as before; the table shows what became of its instances."
PARTIAL = {"msg": "no", "actions": [{"what": "instance", "id": "ew-worker@0", "status": "restarted"}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"restored": BACK}, "Generation 1 serves again."),
        ({"restored": {**BACK, "generation": None}}, "There was no previous generation; the new instances were stopped."),
        ({"restored": {**BACK, "success": False, "msg": "0: no"}}, "The previous generation could NOT be brought back: 0: no"),
        ({"restored": {**BACK, "success": False, "msg": "0: no"}, "applied": []}, "The previous generation could NOT be brought back: 0: no"),
        ({"restored": {}, "applied": []}, "Nothing that serves was touched."),
        ({"restored": BACK, "applied": [{"changed": False}]}, "Nothing that serves was touched."),
        ({"restored": {**BACK, "tried": False}}, SAME),
        ({"restored": {}, "applied": [], "failure": {"action": "ew_ai.worker.ew_worker", "result": PARTIAL}}, SAME),
        ({"restored": {}, "applied": [], "failure": {"action": "ew_ai.worker.grpc_health", "result": PARTIAL}}, "Nothing that serves was touched."),
    ],
)
def test_what_became_of_the_previous_generation(changes: dict[str, t.Any], words: str) -> None:
    assert report.restored(outcome(**changes)) == words


def test_what_a_failed_call_did_is_among_the_actions_of_its_stage() -> None:
    rows = report.stages(outcome(applied=[], failure={"action": "ew_ai.worker.ew_worker", "result": PARTIAL}))
    assert {row["name"]: row["actions"] for row in rows}["instances"] == PARTIAL["actions"]


@pytest.mark.parametrize(("hook", "stage"), [("before_environment", "environment"), ("after_health", "health"), ("after_preflight", "preflight")])
def test_a_failed_hook_is_told_by_its_point_and_stage(hook: str, stage: str) -> None:
    one = report.host_report("a", outcome(failure={"hook": hook, "task": "drain", "action": "ansible.builtin.uri", "result": {"msg": "no answer"}}))
    assert one["failure"]["stage"] == stage
    assert one["failure"]["message"] == f"The hook {hook} failed: no answer"
    assert [row["name"] for row in one["stages"] if not row["success"]] == [stage]


def test_a_deploy_that_is_switched_off_is_told() -> None:
    nothing: dict[str, t.Any] = {
        name: {} for name in ("preflight", "bundle", "toolchain", "release", "environment", "generation", "record", "call", "verified", "finished")
    }
    one = report.host_report("a", outcome(enabled=False, applied=[], **nothing))
    assert one["success"] is True
    assert one["steps"] == one["stages"] == []
    assert one["message"].startswith("worker_enabled is false: nothing is done on a.")


def test_gap_is_from_the_stop_to_the_first_good_answer() -> None:
    move = {"call": {"instances": [instance(stopped_at="2026-01-02T03:00:00.000Z")]}, "verified": answered("2026-01-02T03:00:01.500+00:00")}
    assert report.gap_ms(outcome(moves=[move])) == 1500
    assert report.gap_ms(outcome()) is None


def test_gap_of_a_failed_move_lasts_until_the_old_one_is_back() -> None:
    moves = [
        {"call": {"instances": [instance(stopped_at="2026-01-02T03:00:00.000Z")]}, "verified": answered("2026-01-02T03:00:05Z", healthy=False)},
        {"call": {"instances": [instance(stopped_at="2026-01-02T03:00:06.000Z")]}, "verified": answered("2026-01-02T03:00:08Z")},
    ]
    assert report.gap_ms(outcome(moves=moves)) == 8000


def test_gap_of_an_instance_that_ended_by_itself_begins_when_that_was_seen() -> None:
    moves = [
        {"call": {"instances": [instance()]}, "verified": answered("2026-01-02T03:00:00Z")},
        {"call": {"instances": [instance()]}, "verified": answered("2026-01-02T03:00:05Z", healthy=False)},
        {"call": {"instances": [instance(stopped_at="2026-01-02T03:00:06.000Z")]}, "verified": answered("2026-01-02T03:00:08Z")},
    ]
    assert report.gap_ms(outcome(moves=moves)) == 3000
    assert report.gap_ms(outcome(moves=moves[1:])) == 2000


def test_a_verdict_from_before_the_stop_ends_no_gap() -> None:
    old = answered("2026-01-02T02:59:00Z")
    stopped = {"instances": [instance(stopped_at="2026-01-02T03:00:00.000Z")]}
    assert report.gap_ms(outcome(moves=[{"call": stopped, "verified": old}])) is None
    assert report.gap_ms(outcome(moves=[{"call": stopped, "verified": old}, {"call": {}, "verified": answered("2026-01-02T03:00:02Z")}])) == 2000


def test_a_worker_that_answers_only_on_its_host_gets_a_remedy_of_its_own() -> None:
    seen = failing("grpc_health")
    seen["failure"]["task"] = report.ASKED_OVER_NETWORK
    assert report.failure("a", seen)["remedy"].startswith("Run this.")
    seen["failure"]["result"]["targets"] = [{}]
    assert report.failure("a", seen)["remedy"].startswith("On the host itself the instances answer. Let the worker listen on the address in EW_BIND")


def test_fleet_fails_when_one_host_fails() -> None:
    merged = report.merge([report.host_report("a", outcome()), report.host_report("b", failing("conda_env", ended=1002.0))], 2000)
    assert (merged["success"], merged["message"]) == (False, "1 of 2 hosts succeeded; failed: b")
    assert merged["steps"][0] == {
        "name": "environment",
        "success": False,
        "message": "a: Environment e-f-1 created with rattler (3120ms); b: It broke: badly.",
    }
    assert merged["durationMs"] == 2000


def test_status_keeps_the_old_keys_of_the_first_host() -> None:
    active = {"number": 2, "release": {"id": "r2"}, "environment": {"prefix": "/x/envs/e-f-1"}, "verdict": {"status": "healthy"}}
    data = report.status({"a": outcome(found={"active": active, "generations": [active], "lease": None})}, ["b"])
    assert {key: data[key] for key in ("enabled", "initialized", "workerPort", "condaEnvName", "workerDir")} == {
        "enabled": True,
        "initialized": True,
        "workerPort": 50051,
        "condaEnvName": "ew_ai_worker",
        "workerDir": "./worker",
    }
    assert [(each["host"], each["reachable"]) for each in data["hosts"]] == [("a", True), ("b", False)]


def test_status_tells_the_port_of_the_first_instance() -> None:
    assert report.host_status("a", outcome(call={"instances": [instance(ports=[6000])]}))["workerPort"] == 6000
    assert report.host_status("a", outcome(call={}))["workerPort"] == 50051


def test_status_tells_what_could_not_be_read_and_the_generations_of_hosts_that_are_alike() -> None:
    generations = [
        {"number": number, "verdict": {"status": verdict}, "release": {"id": release}, "environment": {}}
        for number, verdict, release in ((1, "healthy", "r1"), (2, "failed", "r2"), (3, "healthy", "r3"))
    ]
    found = {"active": generations[2], "generations": generations, "lease": None}
    broken = outcome(failure={"result": {"msg": "state.json is not valid JSON."}}, call={}, verified={})
    data = report.status({"a": outcome(found=found), "b": outcome(found=found), "c": broken}, ["d"])
    text = report_text.status_lines(data, NOW)
    assert "generations on a, b: 1 healthy r1; 2 failed r2; 3 active healthy r3" in text
    assert "c: state.json is not valid JSON." in text
    killed = instance(state="failed", pid=None, reason="it was killed for memory, limit 2G (limits.memory)")
    failed = report.status({"a": outcome(call={"instances": [killed]}, verified={})}, [])
    assert f"a: {killed['id']} failed: it was killed for memory, limit 2G (limits.memory)" in report_text.status_lines(failed, NOW)
    assert [line.split()[2] for line in text if line.startswith(("c  ", "d  "))] == ["unknown", "unreachable"]


@pytest.mark.parametrize(("enabled", "active"), [(False, {"number": 1}), (True, None)])
def test_status_of_a_disabled_or_absent_worker(enabled: bool, active: t.Optional[dict[str, t.Any]]) -> None:
    assert report.host_status("a", outcome(enabled=enabled, found={"active": active}))["initialized"] is False


@pytest.mark.parametrize(
    ("task", "action", "stage", "restored"),
    [
        ("Fail where nobody could ask over the network", "ansible.builtin.fail", "health", "Nothing that serves was touched."),
        ("Refuse where there is nothing to go back to", "ansible.builtin.fail", "instances", "Nothing that serves was touched."),
        ("Conclude", "ew_ai.worker.worker_generation", "instances", "What serves now could not be recorded: fix that, and run the same command again."),
        ("Refuse where nothing is deployed", "ansible.builtin.fail", "preflight", "Nothing that serves was touched."),
    ],
)
def test_stages_of_what_is_no_stage_of_its_own(task: str, action: str, stage: str, restored: str) -> None:
    failed = report.failure("a", outcome(failure={"task": task, "action": action, "result": {"msg": "no"}}, restored={}, applied=[]))
    assert failed is not None
    assert (failed["stage"], failed["restored"]) == (stage, restored)


def test_a_host_that_was_lost_on_the_way_is_a_failure_of_the_whole_run() -> None:
    data = report.merge([report.host_report("a", outcome()), report.lost_host("b", "ew-worker", "deploy")])
    assert (data["success"], data["message"]) == (False, "1 of 2 hosts succeeded; failed: b")
    text = report_text.lines(data, NOW)
    assert "b: FAILED - ew-worker was not deployed on b: the host could not be reached." in text
    assert any("ansible b -m ping" in line for line in text)
    assert report.merge([report.lost_host("b", "ew-worker", "deploy")])["success"] is False


def test_a_run_that_is_killed_leaves_a_report_that_does_not_tell_of_an_end() -> None:
    left = report.merge([report.begun_host("a", "ew-worker", "deploy"), report.waiting_host("b", "ew-worker", "deploy")])
    assert (left["success"], left["message"]) == (False, "0 of 2 hosts succeeded; failed: a; not reached: b")
    (failure, none) = (row["failure"] for row in left["hosts"])
    assert (failure["code"], none) == ("unfinished", None)
    assert "ansible a -m ping" in failure["remedy"]


def test_hosts_whose_turn_has_not_come_keep_the_run_from_being_a_success() -> None:
    waiting = [report.waiting_host(host, "ew-worker", "deploy") for host in ("b", "c")]
    so_far = report.merge([report.host_report("a", outcome()), *waiting], 1000)
    assert (so_far["success"], so_far["message"]) == (False, "1 of 3 hosts succeeded; not reached: b, c")
    text = report_text.lines(so_far, NOW)
    assert text[-1] == "SO FAR: 1 of 3 hosts succeeded; not reached: b, c (1000ms)"
    assert not any(line.startswith(("b:", "c:")) for line in text)
    failed = report.merge([report.host_report("a", failing("ew_worker")), *waiting], 1000)
    assert report_text.lines(failed, NOW)[-1] == "FAILURE: 0 of 3 hosts succeeded; failed: a; not reached: b, c (1000ms)"


def test_a_fleet_takes_from_the_first_begin_to_the_last_end() -> None:
    canary, other = outcome(began=1000.0, ended=1020.0), outcome(began=1021.0, ended=1045.5)
    assert report.span_ms([canary, other]) == 45500
    assert report.span_ms([]) == 0


def test_hosts_with_different_releases_are_told() -> None:
    other = report.host_report("b", outcome(record={"number": 3, "release": {"id": "r1"}, "environment": {}}))
    text = report_text.lines(report.merge([report.host_report("a", outcome()), other]), NOW)
    assert "Attention, not all hosts have the same release: r2 on a; r1 on b" in text
    assert not any("Attention" in line for line in report_text.lines(report.merge([report.host_report("a", outcome())]), NOW))


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, False),
        ({"found": {"unreachable": True}}, True),
        ({"preflight": {"unreachable": True}}, True),
        ({"log": {"unreachable": True}}, True),
        ({"found": {"active": None}}, False),
    ],
)
def test_an_unreachable_host_is_told_from_one_where_nothing_is_deployed(changes: dict[str, t.Any], lost: bool) -> None:
    assert report.is_lost(outcome(**changes)) is lost


def test_table_has_a_line_for_every_instance_and_every_silent_host() -> None:
    hosts = [
        {"host": "a", "instances": [{**instance(), "health": "serving"}]},
        {"host": "b", "instances": []},
        {"host": "c", "reachable": False, "instances": []},
    ]
    lines = report_text.instance_table(hosts, NOW)
    assert lines[0].split() == ["HOST", "INSTANCE", "STATE", "PID", "SINCE", "HEALTH", "GENERATION", "RELEASE", "ENVIRONMENT", "MEMORY", "CPU"]
    assert lines[1].split() == ["a", "ew-worker@0", "running", "12345", "4m", "5s", "serving", "2", "r2", "e-f-1", "50.0", "MiB", "1.2s"]
    assert "not deployed" in lines[2]
    assert "unreachable" in lines[3]


def test_logs_are_merged_by_time_and_timeless_lines_stay_behind_theirs() -> None:
    hosts = {
        "a": outcome(log={"logs": {"0": [{"time": "1", "line": "a1"}, {"time": "", "line": "a1 more"}, {"time": "3", "line": "a3"}]}}),
        "b": outcome(log={"logs": {"0": [{"time": "2", "line": "b2"}]}}),
    }
    assert [row["line"] for row in report.merged_logs(hosts)] == ["a1", "a1 more", "b2", "a3"]


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (12, "12 B"), (2048, "2.0 KiB"), (5 * 1024**3, "5.0 GiB")])
def test_sizes(count: t.Optional[int], text: str) -> None:
    assert table.size(count) == text


@pytest.mark.parametrize(
    ("started", "text"),
    [(None, "-"), ("2026-01-02T03:04:05Z", "0s"), ("2026-01-02T02:00:00Z", "1h 4m"), ("2025-12-30T00:00:00+00:00", "3d 3h"), ("2027-01-01T00:00:00Z", "0s")],
)
def test_ages(started: t.Optional[str], text: str) -> None:
    assert table.since(started, NOW) == text


def test_a_run_that_is_killed_in_a_later_batch_leaves_what_became_of_the_earlier_one() -> None:
    outcomes = {"a": outcome(), "b": outcome(preflight={"unreachable": True}), "of another play": outcome(name="other")}
    data = worker_report.begun("deploy", "ew-worker", ["a", "b", "c", "d", "of another play"], outcomes, ["c"], ["a", "c", "d", "of another play"])
    assert [(row["host"], row["success"], (row["failure"] or {}).get("code")) for row in data["hosts"]] == [
        ("a", True, None),
        ("b", False, "unreachable"),
        ("c", False, "unfinished"),
        ("d", False, None),
        ("of another play", False, None),
    ]
