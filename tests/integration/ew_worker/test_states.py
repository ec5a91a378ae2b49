# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ew_worker and ew_worker_info under both supervisors for real: supervisord on this machine, systemd on test hosts."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shlex
import typing as t

import pytest

from tests.integration.ew_worker.kit import (
    PORTS,
    SYSTEMD,
    TRIXIE,
    Args,
    Place,
    Result,
    action,
    named,
    ok,
    wait_until,
    wanted,
)
from tests.integration.twelve_steps import twelve_steps

BOTH = pytest.mark.parametrize("place", ["supervisord", SYSTEMD], indirect=True)
EVERYWHERE = pytest.mark.parametrize("place", ["supervisord", SYSTEMD, TRIXIE], indirect=True)


def created(place: Place) -> list[dict[str, str]]:
    """What the first deploy of one instance does."""
    instance = [action("data", "workers/w/data/0", "created"), *(action("instance", "w@0", status) for status in ("created", "enabled", "started"))]
    if place.supervisor == "supervisord":
        return [action("supervisor", "workers/w/supervisord", status) for status in ("created", "started")] + instance
    units = [action("unit", "w@.service", "created"), action("unit", "w.target", "created"), action("unit", "w.target", "enabled")]
    return [*units, *instance, action("unit", "w.target", "started")]


def removed(place: Place) -> list[dict[str, str]]:
    instance = [action("instance", "w@0", status) for status in ("disabled", "stopped", "removed")]
    if place.supervisor == "supervisord":
        return [*instance, action("supervisor", "workers/w/supervisord", "removed")]
    return [*instance, action("unit", "w.target", "removed"), action("unit", "w@.service", "removed")]


@EVERYWHERE
def test_twelve_steps(place: Place) -> None:
    args = wanted(place)
    changed = {**args, "release": place.release("two"), "generation": 2}
    pids: list[t.Any] = []

    def run(given: Args, check: bool) -> Result:
        return place.run(check=check, **given)

    def after(step: str, check: bool, result: Result) -> None:
        if step.endswith("delete"):
            return
        row = place.info().get("0")
        if check and step == "create":
            assert row is None
            return
        assert row is not None
        assert row["state"] == "running"
        pids.append((row["pid"], row["started_at"]))

    restarted = [action("instance", "w@0", status) for status in ("changed", "restarted")]
    rows = twelve_steps(run, {"create": (args, created(place)), "modify": (changed, restarted), "delete": ({"state": "absent"}, removed(place))}, after)
    assert len(rows) == 12
    # create for real, re-create twice and modify in check mode: one process; then another one
    assert len(set(pids)) == 2, pids
    assert place.info() == {}


@BOTH
def test_diff_tells_the_text_before_and_after_without_secrets(place: Place) -> None:
    first = ok(place.run(check=True, **wanted(place, secrets={"TOKEN": "hunter22"})))
    again = ok(place.run(**wanted(place, secrets={"TOKEN": "hunter22"})))
    assert list(first["diff"]["after"]) == list(again["diff"]["after"])
    path = next(path for path in again["diff"]["after"] if "instance.conf" in path or path.endswith("0.json"))
    assert "worker.main" in "\n".join(again["diff"]["after"][path])
    changed = ok(place.run(check=True, **wanted(place, secrets={"TOKEN": "hunter23"}, env={"COLOUR": "blue"})))
    assert "COLOUR" in "\n".join(changed["diff"]["after"][path])
    assert "COLOUR" not in "\n".join(changed["diff"]["before"][path])
    for result in (first, again, changed):
        assert "hunter2" not in str({**result, "invocation": None})
    assert place.facts()["environ"]["TOKEN"] == "hunter22"


@BOTH
def test_every_value_arrives_as_it_was_given(place: Place) -> None:
    nasty = {"JSON": '{"a": "b\'c; %d $HOME # \\n"}', "LINES": "one\ntwo\n\tthree", "UMLAUT": "grün 你好", "EMPTY": "", "SPACE": "  a b  ", "PERCENT": "%h%%i"}
    secret = {"TOKEN": 'a"b\\c$d `x`\nline two; # %h', "OTHER": "'"}
    arguments = ["--port", "{port}", "--bind", "127.0.0.1"]
    ok(place.run(**wanted(place, env={**nasty, "NUMBER": 7, "YES": True}, secrets=secret, arguments=arguments)))
    facts = place.facts()
    found = {name: facts["environ"].get(name) for name in (*nasty, *secret, "NUMBER", "YES")}
    assert found == {**nasty, **secret, "NUMBER": "7", "YES": "true"}
    assert facts["argv"][1:] == ["--port", str(PORTS[0]), "--bind", "127.0.0.1"]
    assert facts["cwd"] == f"{place.root}/releases/one"
    state = f"{place.root}/workers/w/data/0/state"
    assert facts["environ"]["HOME"] == facts["environ"]["EW_STATE_DIR"] == state
    assert facts["environ"]["EW_BIND"] == "127.0.0.1"
    assert ok(place.run(**wanted(place, env={**nasty, "NUMBER": 7, "YES": True}, secrets=secret, arguments=arguments)))["changed"] is False


@BOTH
def test_a_new_generation_with_the_same_values_restarts_nothing(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    before = place.info()
    result = ok(place.run(**{**wanted(place, count=2), "generation": 2}))
    assert result["changed"] is False
    assert [row["generation"] for row in result["instances"]] == [1, 1]
    changed = wanted(place, count=2)
    changed["instances"][1]["env"] = {"COLOUR": "blue"}
    result = ok(place.run(**{**changed, "generation": 3}))
    assert result["batches"] == [["1"]]
    after = place.info()
    assert after["0"]["pid"] == before["0"]["pid"]
    assert after["0"]["started_at"] == before["0"]["started_at"]
    assert after["1"]["pid"] != before["1"]["pid"]
    assert [after[name]["generation"] for name in ("0", "1")] == [1, 3]


@BOTH
def test_batches_take_those_that_are_down_first_and_together(place: Place) -> None:
    args = wanted(place, count=2)
    assert ok(place.run(check=True, **args))["batches"] == [["0", "1"]]
    ok(place.run(**args))
    changed = {**args, "env": {"COLOUR": "blue"}}
    assert ok(place.run(check=True, **changed))["batches"] == [["0"], ["1"]]
    ok(place.run("stopped", only=["1"]))
    assert ok(place.run(check=True, **changed))["batches"] == [["1"], ["0"]]
    pid = place.info()["0"]["pid"]
    result = ok(place.run(only=["1"], **changed))
    assert [row["name"] for row in result["instances"]] == ["1"]
    assert place.info()["0"]["pid"] == pid
    assert ok(place.run(check=True, force_restart=True, only=["1"], **changed))["batches"] == [["1"]]


@BOTH
def test_present_starts_and_enables_nothing(place: Place) -> None:
    result = ok(place.run("present", **wanted(place)))
    assert "started" not in {each["status"] for each in result["actions"]}
    assert "enabled" not in {each["status"] for each in result["actions"]}
    row = place.info()["0"]
    assert (row["state"], row["enabled"], row["pid"]) == ("stopped", False, None)
    assert ok(place.run("present", **wanted(place)))["changed"] is False
    assert ok(place.run("started"))["instances"][0]["state"] == "running"
    # On an instance that serves, it changes the files and neither the process nor what happens at boot.
    before = place.info()["0"]
    result = ok(place.run("present", **wanted(place, env={"COLOUR": "blue"})))
    assert result["actions"] == [action("instance", "w@0", "changed")]
    after = place.info()["0"]
    assert (after["state"], after["enabled"], after["pid"]) == ("running", True, before["pid"])


def listening(place: Place, *ports: int) -> bool:
    """Whether there is one listener on each of the ports."""
    return all(place.shell(f"grep -c ':{port:04X} 00000000:0000 0A' /proc/net/tcp").strip() == "1" for port in ports)


ONE, TWO, THREE = PORTS


@pytest.mark.parametrize(
    ("before", "after", "batches"),
    [
        ({"a": ONE}, {"b": ONE}, [["b"]]),
        ({"0": ONE, "1": TWO}, {"0": TWO, "1": THREE}, [["0", "1"]]),
        ({"0": ONE, "1": TWO}, {"0": TWO, "1": ONE}, [["0", "1"]]),
        ({"0": ONE, "1": TWO}, {"b": ONE, "c": TWO}, [["b"], ["c"]]),
    ],
    ids=["rename", "shift", "swap", "rename-all"],
)
@BOTH
def test_ports_change_hands(place: Place, before: dict[str, int], after: dict[str, int], batches: list[list[str]]) -> None:
    ok(place.run(**named(place, before)))
    wait_until(lambda: listening(place, *before.values()))
    args = named(place, after, exclusive=True)
    foretold = ok(place.run(check=True, **args))
    assert foretold["batches"] == batches
    done = [each for batch in batches for each in ok(place.run(only=batch, **args))["actions"]]
    assert done == foretold["actions"]
    assert ok(place.run(**args))["changed"] is False
    wait_until(lambda: listening(place, *after.values()))
    assert {name: (row["ports"], row["state"], row["restarts"]) for name, row in place.info().items()} == {
        name: ([port], "running", 0) for name, port in after.items()
    }
    # And back, in one call.
    back = named(place, before, exclusive=True)
    foretold = ok(place.run(check=True, **back))
    assert ok(place.run(**back))["actions"] == foretold["actions"]
    wait_until(lambda: listening(place, *before.values()))
    assert ok(place.run(**back))["changed"] is False


@BOTH
def test_a_port_that_another_instance_keeps_is_refused_before_anything_is_touched(place: Place) -> None:
    ok(place.run(**named(place, {"a": ONE})))
    wait_until(lambda: listening(place, ONE))
    for args in (named(place, {"b": ONE}), {**named(place, {"a": TWO, "b": ONE}), "only": ["b"]}):
        refused = place.run(**args)
        assert (refused["code"], refused["port"], refused["pid"], refused["changed"]) == ("port_in_use", ONE, place.info()["a"]["pid"], False)
        assert "instance 'a' of this worker" in refused["msg"]
    assert list(place.info()) == ["a"]


@BOTH
def test_exclusive_removes_what_is_not_listed_and_with_only_what_is_in_the_way(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    pid = place.info()["0"]["pid"]
    assert ok(place.run(check=True, only=["0"], exclusive=True, **wanted(place)))["removed"] == []
    assert ok(place.run(check=True, only=["2"], exclusive=True, **named(place, {"2": PORTS[1]})))["removed"] == ["1"]
    result = ok(place.run(exclusive=True, **wanted(place)))
    assert result["removed"] == ["1"]
    assert list(place.info()) == ["0"]
    assert place.info()["0"]["pid"] == pid
    assert place.shell(f"test -d {place.root}/workers/w/data/1/state && echo kept").strip() == "kept"


@BOTH
def test_stop_start_restart_work_on_what_is_deployed(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    stopped = ok(place.run("stopped"))
    assert [(row["state"], row["enabled"], row["result"]) for row in stopped["instances"]] == [("stopped", False, "success")] * 2
    assert ok(place.run("stopped"))["changed"] is False
    started = ok(place.run("started"))
    assert [(row["state"], row["enabled"], row["generation"]) for row in started["instances"]] == [("running", True, 1)] * 2
    assert ok(place.run("started"))["changed"] is False
    restarted = ok(place.run("restarted", only=["1"]))
    assert restarted["actions"] == [action("instance", "w@1", "restarted")]
    assert restarted["instances"][0]["pid"] != started["instances"][1]["pid"]
    unknown = place.run("started", name="v")
    assert unknown["code"] == "not_deployed"


def times(log: str, text: str) -> list[datetime.datetime]:
    """When supervisord wrote a line with the text, which begins with its local time."""
    return [datetime.datetime.fromisoformat(line[:23].replace(",", ".")).astimezone() for line in log.splitlines() if text in line]


@BOTH
def test_a_worker_that_ignores_sigterm_is_killed_after_its_timeout(place: Place) -> None:
    ok(place.run(**wanted(place, count=2, env={"FAULT": ""})))
    deaf = wanted(place, stop_timeout=2, env={"FAULT": "deaf"})
    ok(place.run(only=["0"], **deaf))
    wait_until(lambda: listening(place, PORTS[0]))
    pid = place.info()["0"]["pid"]
    result = ok(place.run("stopped"))
    rows = {row["name"]: row for row in result["instances"]}
    told = datetime.datetime.fromisoformat(rows["0"]["stopped_at"].replace("Z", "+00:00"))
    assert (rows["0"]["result"], rows["0"]["exit_status"], rows["0"]["state"]) == ("timeout", -9, "stopped")
    assert rows["1"]["result"] == "success"
    assert any("'0' did not end within its stop timeout" in str(warning) for warning in result["warnings"])
    # The supervisor's own records show both signals.
    if place.supervisor == "systemd":
        records = place.shell("journalctl --no-pager _PID=1 -u 'w@*'")
        assert "State 'stop-sigterm' timed out. Killing." in records
        assert "with signal SIGKILL" in records
    else:
        records = place.shell(f"cat {place.root}/workers/w/supervisord/supervisord.log")
        ends = ["waiting for w@0 to stop", f"killing 'w@0' ({pid}) with SIGKILL", "stopped: w@0 (terminated by SIGKILL)"]
        asked, killed, ended = (next(time for time in times(records, text) if time >= told) for text in ends)
        assert asked < killed <= ended
        assert (killed - told).total_seconds() >= 2
        assert times(records, "stopped: w@1 (terminated by SIGTERM)")


@BOTH
def test_a_killed_worker_comes_back_and_is_counted(place: Place) -> None:
    ok(place.run(**wanted(place, restart={"delay": 0.5})))
    before = place.info()["0"]
    place.shell(f"kill -9 {before['pid']}")
    after = wait_until(lambda: next((row for row in place.info().values() if row["restarts"] == 1 and row["state"] == "running"), None))
    assert after["pid"] != before["pid"]
    assert after["effective"] == before["effective"]
    assert ok(place.run(**wanted(place, restart={"delay": 0.5})))["changed"] is False
    # A start on purpose counts from zero again.
    assert ok(place.run("restarted"))["instances"][0]["restarts"] == 0


@BOTH
def test_a_crash_loop_ends_in_failed_with_a_reason(place: Place) -> None:
    args = wanted(place, env={"FAULT": "late:8"}, restart={"delay": 0.2, "burst": 3, "window": 600})
    ok(place.run(**args))
    row = wait_until(lambda: next((row for row in place.info().values() if row["state"] == "failed"), None), timeout=240)
    assert row["result"] == "start-limit-hit"
    assert row["exit_status"] == 7
    # systemd counts the start too that it refuses.
    assert row["restarts"] == (2 if place.supervisor == "supervisord" else 3)
    assert row["reason"] == "3 starts within 600 s, the limit of restart.burst"
    good = ok(place.run(**wanted(place, restart={"delay": 0.2, "burst": 3, "window": 600})))
    assert good["instances"][0]["state"] == "running"


@BOTH
def test_a_worker_that_exits_at_once_fails_with_its_last_lines_and_the_cause(place: Place) -> None:
    result = place.run(**wanted(place, env={"FAULT": "exit"}))
    assert result["failed"]
    assert result["code"] == "start_failed"
    assert result["exit_status"] == 1
    assert "ModuleNotFoundError: No module named 'numpy'" in result["log"]
    assert "the environment lacks the package of 'numpy'" in result["msg"]
    assert ("journalctl -u w@0.service" if place.supervisor == "systemd" else "tail -n 100") in result["remedy"]
    # What was done until then is told too, under the same keys.
    assert action("instance", "w@0", "started") in result["actions"]
    assert [row["name"] for row in result["instances"]] == ["0"]


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "so_reuseport"])
@BOTH
def test_a_foreign_process_on_the_port_is_named_before_anything_is_touched(place: Place, shared: bool) -> None:
    if shared:
        ok(place.run(**wanted(place, env={"FAULT": "share"})))
    before = place.shell(f"find {place.root}/workers -type f | sort; ls /etc/systemd/system")
    with foreign_listener(place, PORTS[0], shared) as pid:
        for check in (True, False):
            result = place.run(check=check, **wanted(place, env={"FAULT": "share"}))
            assert result["code"] == "port_in_use", result
            assert result["pid"] == pid
            assert "foreign" in result["command"]
            assert str(pid) in result["msg"]
            assert result["changed"] is False
        assert place.shell(f"find {place.root}/workers -type f | sort; ls /etc/systemd/system") == before
    assert not place.run(**wanted(place, env={"FAULT": "share"})).get("failed")


@contextlib.contextmanager
def foreign_listener(place: Place, port: int, shared: bool) -> t.Iterator[int]:
    """A process that has nothing to do with the worker and listens on the port."""
    option = "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1);" if shared else ""
    code = f"import socket,time; s=socket.socket(); {option} s.bind((chr(49)+chr(50)+chr(55)+'.0.0.1',{port})); s.listen(); time.sleep(600) # foreign"
    # Only processes of one user can share a port.
    user = "setpriv --reuid=ew-worker --regid=ew-worker --clear-groups " if place.supervisor == "systemd" else ""
    pid = int(place.shell(f'{user}{place.python} -c "{code}" >/dev/null 2>&1 & echo $!'))
    try:
        listening = f"grep -c ':{port:04X} 00000000:0000 0A' /proc/net/tcp"
        wait_until(lambda: int(place.shell(listening)) == (2 if shared else 1))
        yield pid
    finally:
        place.shell(f"kill -9 {pid}")


@BOTH
def test_two_workers_on_one_host_do_not_see_each_other(place: Place) -> None:
    ok(place.run(**wanted(place)))
    other = wanted(place)
    clash = place.run(name="v", **other)
    assert clash["code"] == "port_in_use"
    other["instances"] = [{"name": "0", "ports": [PORTS[1]]}]
    ok(place.run(name="v", exclusive=True, **other))
    first = place.info()["0"]
    assert place.info(name="v")["0"]["pid"] != first["pid"]
    ok(place.run("stopped", name="v"))
    ok(place.run("absent", name="v"))
    assert place.info(name="v") == {}
    assert place.info()["0"]["pid"] == first["pid"]
    assert ok(place.run(**wanted(place)))["changed"] is False


@BOTH
def test_a_worker_keeps_its_supervisor(place: Place) -> None:
    ok(place.run(**wanted(place)))
    pid = place.info()["0"]["pid"]
    other = "systemd" if place.supervisor == "supervisord" else "supervisord"
    for state, given in (("started", wanted(place)), ("started", {}), ("stopped", {}), ("absent", {})):
        refused = place.run(state, supervisor=other, **given)
        assert (refused["code"], refused["installed"], refused["changed"]) == ("other_supervisor", place.supervisor, False)
    kept = ok(place.run(supervisor="auto", **wanted(place)))
    assert (kept["supervisor"], kept["changed"]) == (place.supervisor, False)
    assert place.info(supervisor="auto")["0"]["pid"] == pid


@BOTH
def test_logs_have_times(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    result = ok(place.module("ew_worker_info", {"name": "w", "root": place.root, "supervisor": place.supervisor, "logs": 5}))
    assert sorted(result["logs"]) == ["0", "1"]
    last = result["logs"]["1"][-1]
    assert f"listening on {PORTS[1]}" in last["line"]
    assert last["time"].endswith("Z")
    figures = result["instances"][0]
    assert figures["memory_bytes"] > 1_000_000
    # Fields 14 and 15 of proc(5): what user and system spent until now, in hundredths of a second.
    spent = place.shell(f"sed 's/.*) //' /proc/{figures['pid']}/stat").split()[11:13]
    assert 0 < figures["cpu_seconds"] <= sum(map(int, spent)) / 100


@BOTH
def test_secrets_of_a_file_are_those_of_the_option_and_are_masked(place: Place) -> None:
    secrets = {"TOKEN": "hunter22\nswordfish", "PIN": 7}
    path = f"{place.root}/workers/w/secrets/generation-1.json"
    told = {"FAULT": "tell"}
    ok(place.run(**wanted(place, env=told, secrets=secrets)))
    place.shell(f"mkdir -p {path.rpartition('/')[0]}; printf %s {shlex.quote(json.dumps(secrets))} > {path}; chmod 600 {path}")
    assert ok(place.run(**wanted(place, env=told, secrets_file=path)))["changed"] is False
    assert place.facts()["environ"]["TOKEN"] == secrets["TOKEN"]
    shown = place.module("ew_worker_info", {"name": "w", "root": place.root, "supervisor": place.supervisor, "logs": 20})
    lines = [each["line"] for each in ok(shown)["logs"]["0"]]
    assert [line for line in lines if re.search(r"\b(token|pin)\b", line)] == ["token ********", "******** pin 7"]
    assert any(f"listening on {PORTS[0]}" in line for line in lines)
    # Other secrets are other values; what the worker wrote is masked in a failure too.
    place.shell(f"""printf '{{"TOKEN": "marlin-and-carp", "PIN": 7}}' > {path}""")
    failed = place.run(**wanted(place, env={"FAULT": "tell and exit"}, secrets_file=path))
    assert failed["code"] == "start_failed"
    assert [line for line in failed["log"] if line.startswith("token")][-1] == "token ******** pin 7"
    assert "marlin" not in str(failed)


@BOTH
def test_a_secrets_file_that_is_missing_or_makes_no_sense(place: Place) -> None:
    path = f"{place.root}/secrets.json"
    args = wanted(place, secrets_file=path)
    missing = place.run(**args)
    assert (missing["code"], missing["option"], missing["changed"]) == ("invalid_option", "secrets_file", False)
    assert ok(place.run(check=True, **args))["batches"] == [["0"]]
    for text, code in (('["hunter22"]', "invalid_option"), ("hunter22", "invalid_option"), ('{"A B": "hunter22"}', "invalid_option")):
        place.shell(f"printf %s {shlex.quote(text)} > {path}")
        refused = place.run(**args)
        assert (refused["code"], refused["changed"]) == (code, False)
        assert "hunter22" not in str(refused)
    both = place.run(**args, secrets={"A": "1"})
    assert "mutually exclusive" in both["msg"]


@BOTH
def test_a_process_that_overwrites_what_it_says_of_itself_breaks_nothing(place: Place) -> None:
    args = wanted(place, env={"FAULT": "liar"})
    ok(place.run(**args))
    assert place.facts()["environ"]["EW_PORTS"] == "none"
    row = place.info()["0"]
    assert (row["state"], row["ports"], row["generation"]) == ("running", [PORTS[0]], None)
    assert ok(place.run(**args))["changed"] is False


@BOTH
def test_settings_that_are_taken_away_leave_the_disk(place: Place) -> None:
    ok(place.run(**wanted(place, secrets={"TOKEN": "hunter22"}, env={"COLOUR": "blue"})))
    where = f"grep -rl -e hunter22 -e COLOUR {place.root}/workers/w /etc/systemd/system --include=* --exclude=facts.json"
    assert place.shell(where) != ""
    ok(place.run(**wanted(place)))
    assert place.shell(where) == ""
    assert "TOKEN" not in place.facts()["environ"]


@BOTH
def test_nothing_deployed_is_an_empty_list(place: Place) -> None:
    assert place.info() == {}
    assert ok(place.run("absent"))["changed"] is False
    assert ok(place.run("stopped"))["changed"] is False
    assert place.shell(f"ls {place.root}/workers 2>/dev/null") == ""
