# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What supervisors print, as data: systemctl show, the journal, supervisord's log, and log files."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import (
    apply,
    causes,
    journal,
    keeper,
    logfile,
    rows,
    stability,
    supervisord,
    supervisord_files,
    systemd,
    systemd_show,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Found, LogLine

LAYOUT = Layout("/opt/w").worker("w")
SYSTEMD = systemd.Systemd(LAYOUT)
# systemd 252, as printed; 257 prints the same keys.
RUNNING = """\
Type=exec
MainPID=181
NRestarts=0
Result=success
ExecMainStartTimestamp=Mon 2026-01-05 09:08:07 UTC
ExecMainExitTimestamp=
ExecMainCode=0
ExecMainStatus=0
ControlGroup=/system.slice/system-w.slice/w@0.service
Id=w@0.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled"""
WAITING = """\
MainPID=0
NRestarts=1
Result=exit-code
ExecMainStartTimestamp=Mon 2026-01-05 09:08:07 UTC
ExecMainCode=1
ExecMainStatus=3
Id=w@1.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
UnitFileState=disabled"""


def unit(**values: str) -> dict[str, str]:
    return {"Id": "w@0.service", "ActiveState": "active", "Result": "success", **values}


def test_show_gives_a_block_for_each_unit() -> None:
    found = systemd_show.parse(f"{RUNNING}\n\n{WAITING}\n\n{RUNNING}\n")
    assert list(found) == ["w@0.service", "w@1.service"]
    assert found["w@0.service"]["ControlGroup"] == "/system.slice/system-w.slice/w@0.service"
    assert (systemd_show.state(found["w@0.service"]), systemd_show.main_pid(found["w@0.service"])) == ("running", 181)
    assert (systemd_show.state(found["w@1.service"]), systemd_show.main_pid(found["w@1.service"])) == ("starting", None)
    assert systemd_show.exit_status(found["w@0.service"]) is None
    assert systemd_show.exit_status(found["w@1.service"]) == 3
    assert systemd_show.parse("") == {}


@pytest.mark.parametrize(
    ("active", "state"),
    [
        ("active", "running"),
        ("reloading", "running"),
        ("activating", "starting"),
        ("deactivating", "stopped"),
        ("inactive", "stopped"),
        ("failed", "failed"),
        ("", "stopped"),
    ],
)
def test_the_state_of_a_unit(active: str, state: str) -> None:
    assert systemd_show.state(unit(ActiveState=active)) == state
    assert systemd_show.state({}) == "stopped"


@pytest.mark.parametrize(("code", "status", "expected"), [("0", "0", None), ("1", "0", 0), ("1", "203", 203), ("2", "9", -9), ("3", "11", -11), ("", "", None)])
def test_an_exit_status_is_negative_for_a_signal(code: str, status: str, expected: t.Optional[int]) -> None:
    assert systemd_show.exit_status(unit(ExecMainCode=code, ExecMainStatus=status)) == expected


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("Mon 2026-01-05 09:08:07 UTC", 1767604087.0), ("", None), ("n/a", None), ("0", None), ("Mon 2026-01-05 09:08 UTC", None)],
)
def test_a_time_of_systemd(text: str, seconds: t.Optional[float]) -> None:
    assert systemd_show.timestamp(text) == seconds


@pytest.mark.parametrize(
    ("text", "version"),
    [("systemd 252 (252.38-1~deb12u1)\n+PAM", 252), ("systemd 257 (257.8-1)", 257), ("systemd 247.3-7", 247), ("", 0), ("systemd", 0), ("a b", 0)],
)
def test_the_version(text: str, version: int) -> None:
    assert systemd_show.parse_version(text) == version


EXPECTED = {"w.target": "/etc/systemd/system/w.target", "w@0.service": "/etc/systemd/system/w@.service"}


@pytest.mark.parametrize(
    ("units", "other"),
    [
        ({}, []),
        ({unit: {"FragmentPath": path} for unit, path in EXPECTED.items()}, []),
        ({"w.target": {"FragmentPath": ""}, "w@0.service": {}}, []),
        ({"w.target": {"FragmentPath": "/lib/systemd/system/w.target"}}, [("w.target", "/lib/systemd/system/w.target")]),
        ({"w@0.service": {"FragmentPath": "/etc/systemd/system/w@0.service"}}, [("w@0.service", "/etc/systemd/system/w@0.service")]),
        # Asked for default.target.
        ({"graphical.target": {"FragmentPath": "/lib/systemd/system/graphical.target"}}, [("graphical.target", "/lib/systemd/system/graphical.target")]),
    ],
)
def test_a_unit_from_another_file_than_ours(units: dict[str, dict[str, str]], other: list[tuple[str, str]]) -> None:
    assert systemd_show.other_fragments(units, EXPECTED) == other


DROP_IN = "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=3\n[Service]\nRestart=always\n"


@pytest.mark.parametrize(
    ("values", "drop_in", "hit"),
    [
        ({"ActiveState": "failed", "Result": "exit-code", "NRestarts": "3"}, DROP_IN, True),
        ({"ActiveState": "failed", "Result": "start-limit-hit", "NRestarts": "3"}, DROP_IN, True),
        ({"ActiveState": "failed", "Result": "signal", "NRestarts": "3"}, DROP_IN.replace("always", "on-failure"), True),
        ({"ActiveState": "failed", "Result": "exit-code", "NRestarts": "0"}, DROP_IN.replace("always", "no"), False),
        ({"ActiveState": "failed", "Result": "resources", "NRestarts": "1"}, DROP_IN, False),
        ({"ActiveState": "failed", "Result": "exit-code", "NRestarts": "0"}, DROP_IN, False),
        ({"ActiveState": "activating", "Result": "exit-code", "NRestarts": "2"}, DROP_IN, False),
        ({"ActiveState": "failed", "Result": "exit-code", "NRestarts": "2"}, "", False),
    ],
)
def test_a_start_limit_is_known_by_a_failure_in_spite_of_the_policy(values: dict[str, str], drop_in: str, hit: bool) -> None:
    assert systemd_show.start_limit(unit(**values), drop_in) == ("3 starts within 60 s, the limit of restart.burst" if hit else "")


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"__REALTIME_TIMESTAMP": "1767604087123456", "MESSAGE": "hello"}, LogLine("2026-01-05T09:08:07.123Z", "hello")),
        ({"__REALTIME_TIMESTAMP": "1767604087123456", "MESSAGE": [104, 105, 255]}, LogLine("2026-01-05T09:08:07.123Z", "hi\ufffd")),
        ({"MESSAGE": ["one", "two"]}, LogLine("", "one two")),
        ({"MESSAGE": None}, LogLine("", "")),
        ({"MESSAGE": "see https://user:secret@host/x"}, LogLine("", "see https://********@host/x")),
    ],
)
def test_a_journal_entry(entry: dict[str, t.Any], line: LogLine) -> None:
    assert journal.parse(json.dumps(entry) + "\nno entry\n[]\n") == [line]


def test_of_a_very_long_message_the_beginning_is_told() -> None:
    (row,) = journal.parse(json.dumps({"MESSAGE": "x" * 100_000}))
    assert (row.line[:4000], row.line[4000:]) == ("x" * 4000, " … (100000 characters)")


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x1c"])
def test_a_message_with_a_rare_line_end_is_not_lost(separator: str) -> None:
    entry = {"MESSAGE": f"one{separator}two"}
    assert [row.line for row in journal.parse(json.dumps(entry, ensure_ascii=False) + "\n")] == [f"one{separator}two"]


@pytest.mark.parametrize(
    ("row", "time"),
    [
        ("2026-01-05T09:08:07Z ready", "2026-01-05T09:08:07.000Z"),
        ("2026-01-05T09:08:07.5Z ready", "2026-01-05T09:08:07.500Z"),
        ("2026-01-05 09:08:07,123456+01:00 ready", "2026-01-05T08:08:07.123Z"),
        ("[2026-01-05T09:08:07.123456789+0100] ready", "2026-01-05T08:08:07.123Z"),
        ("2026-99-05T09:08:07Z ready", ""),
        ("ready 2026-01-05T09:08:07Z", ""),
        ("", ""),
    ],
)
def test_the_time_that_a_line_begins_with(row: str, time: str) -> None:
    assert logfile.own_time(row) == time


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert logfile.own_time("2026-01-05 17:08:07,000 ready") == "2026-01-05T09:08:07.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    rows = ["first", "2026-01-05T09:08:07Z a", "  traceback", "2026-01-05T09:08:08Z b"]
    assert [line.time for line in logfile.timed(rows)] == ["", "2026-01-05T09:08:07.000Z", "2026-01-05T09:08:07.000Z", "2026-01-05T09:08:08.000Z"]


def test_the_tail_reaches_into_the_rotated_file(tmp_path: t.Any) -> None:
    path = tmp_path / "0.log"
    assert logfile.tail(str(path), 3) == []
    assert logfile.size(str(path)) == 0
    path.write_text("c\nd\n")
    (tmp_path / "0.log.1").write_text("a\nb\n")
    assert [line.line for line in logfile.tail(str(path), 3)] == ["b", "c", "d"]
    assert [line.line for line in logfile.tail(str(path), 3, offset=2)] == ["d"]
    assert [line.line for line in logfile.tail(str(path), 3, offset=99)] == ["c", "d"]


LOG = """\
2026-01-05 09:08:07,100 INFO spawned: 'w@0' with pid 12
2026-01-05 09:08:08,100 WARN exited: w@0 (exit status 3; not expected)
2026-01-05 09:08:09,100 WARN exited: w@1 (terminated by SIGKILL; not expected)
2026-01-05 09:08:10,100 INFO waiting for w@0 to stop
2026-01-05 09:08:12,100 WARN killing 'w@10' (14) with SIGKILL
2026-01-05 09:08:12,200 WARN stopped: w@10 (terminated by SIGKILL)
2026-01-05 09:08:13,200 INFO stopped: w@2 (exit status 0)
2026-01-05 09:08:14,200 WARN exited: w@3 (terminated by SIGABRT (core dumped); not expected)
"""


@pytest.mark.parametrize(
    ("name", "ended", "killed"), [("w@0", 3, False), ("w@1", -9, False), ("w@10", -9, True), ("w@2", 0, False), ("w@3", -6, False), ("w@4", None, False)]
)
def test_the_log_of_supervisord_tells_how_a_process_ended(name: str, ended: t.Optional[int], killed: bool) -> None:
    assert supervisord_files.last_end(LOG, name) == ended
    assert supervisord_files.killed(LOG, name) is killed


ROW = {"state": 20, "start": 1, "pid": 12, "spawnerr": ""}


@pytest.mark.parametrize(
    ("row", "entry", "ended", "state", "result"),
    [
        (None, {}, None, "stopped", "success"),
        ({**ROW}, {}, 3, "running", "success"),
        ({**ROW, "state": 40}, {}, None, "running", "success"),
        ({**ROW, "state": 10}, {}, None, "starting", "success"),
        ({**ROW, "state": 0}, {}, -15, "stopped", "success"),
        ({**ROW, "state": 100}, {"due": 5.0}, 3, "starting", "success"),
        ({**ROW, "state": 100}, {"failed": "5 starts"}, 3, "failed", keeper.FAILED),
        ({**ROW, "state": 100}, {}, 3, "failed", "exit-code"),
        ({**ROW, "state": 100}, {}, -9, "failed", "signal"),
        ({**ROW, "state": 100}, {}, 0, "stopped", "success"),
        ({**ROW, "state": 200}, {}, None, "failed", "success"),
        ({**ROW, "state": 30}, {}, None, "failed", "success"),
    ],
)
def test_the_state_under_supervisord(row: t.Any, entry: dict[str, t.Any], ended: t.Optional[int], state: str, result: str) -> None:
    known = keeper.new_entry(**entry)
    assert supervisord.state_of(row, known, ended, False) == state
    assert supervisord.result_of(state, known, ended) == result


@pytest.mark.parametrize(
    ("row", "entry", "policy", "ended", "state"),
    [
        # It ended, and the keeper has not heard of it yet.
        ({"state": 100}, {}, "always", 3, "starting"),
        ({"state": 100}, {}, "always", 0, "starting"),
        ({"state": 100}, {}, "on-failure", 3, "starting"),
        ({"state": 100}, {}, "on-failure", 0, "stopped"),
        ({"state": 100}, {}, "no", 3, "failed"),
        ({"state": 100}, {"held": True}, "always", 3, "failed"),
        ({"state": 100}, {"failed": "5 starts"}, "always", 3, "failed"),
        ({"state": 0}, {}, "always", -15, "stopped"),
        ({"state": 200}, {}, "always", None, "failed"),
        ({"state": 20}, {}, "always", 3, "running"),
    ],
)
def test_what_the_keeper_is_to_start_again_has_not_failed(row: t.Any, entry: dict[str, t.Any], policy: str, ended: t.Optional[int], state: str) -> None:
    known = keeper.new_entry(**entry)
    restart = {"policy": policy, "delay": 1, "burst": 5, "window": 60}
    assert supervisord.state_of({**ROW, **row}, known, ended, keeper.comes_back(known, restart, ended == 0)) == state


@pytest.mark.parametrize(
    ("result", "status", "lines", "words"),
    [
        ("exit-code", 203, [], "interpreter is missing"),
        ("exit-code", 217, [], "user does not exist"),
        ("exit-code", 226, [], "sandbox could not be set up"),
        ("exit-code", 200, [], "working directory"),
        ("oom-kill", -9, [], "no memory left for it"),
        ("signal", -9, [], "killed from outside"),
        ("signal", -4, [], "another processor"),
        ("exit-code", 1, ["Traceback …", "ModuleNotFoundError: No module named 'torch'"], "the package of 'torch'"),
        ("exit-code", 1, ["/e/bin/python: No module named worker.main"], "the release has no module 'worker.main'"),
        ("exit-code", 1, ["OSError: [Errno 98] Address already in use"], "something else listens"),
        ("exit-code", 2, ["usage: main.py", "main.py: error: unrecognized arguments: --x"], "does not take these arguments"),
        ("exit-code", 1, ["OSError: [Errno 30] Read-only file system: '/x'"], "outside its state and cache"),
        ("exit-code", 1, ["ModuleNotFoundError: No module named 'old'", "PermissionError: [Errno 13]"], "may not do what it tried"),
        ("success", 0, [], "ended by itself"),
        ("exit-code", 5, ["whatever"], ""),
        ("exit-code", None, [], ""),
    ],
)
def test_the_usual_cause(result: str, status: t.Optional[int], lines: list[str], words: str) -> None:
    found = causes.usual_cause(result, status, lines)
    assert (words in found) if words else found == ""


@pytest.mark.parametrize(
    ("result", "status", "limit", "words"),
    [
        ("oom-kill", -9, "2G", "it was killed for memory, limit 2G (limits.memory)"),
        # Where control groups are of version 1, systemd sees the signal alone.
        ("signal", -9, "2G", "it was probably killed for memory, limit 2G (limits.memory)"),
        ("start-limit-hit", -9, "2G", "it was probably killed for memory, limit 2G (limits.memory)"),
        ("signal", -9, "infinity", "killed from outside"),
        ("signal", -11, "2G", "a native library crashed"),
        ("oom-kill", -9, "", "no memory left for it"),
    ],
)
def test_the_limit_that_killed_it_is_named(result: str, status: int, limit: str, words: str) -> None:
    assert words in causes.usual_cause(result, status, ["a line"], limit)


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [("failed", -9, "it was probably killed for memory, limit 1G (limits.memory); the reason"), ("stopped", -9, "the reason"), ("running", -9, "the reason")],
)
def test_a_row_tells_what_killed_an_instance_that_nobody_stopped(state: str, status: int, reason: str) -> None:
    one = Found("0", state=state, result="signal", exit_status=status, reason="the reason", memory_limit="1G")
    assert rows.row(LAYOUT, SYSTEMD, one, changed=False)["reason"] == reason


@pytest.mark.parametrize(
    ("says", "ports", "generation"),
    [
        ({"EW_PORTS": "50051,50061", "EW_GENERATION": "7"}, [50051, 50061], 7),
        # A process may overwrite its own variables: then its files are believed.
        ({"EW_PORTS": "no,port,-1,0,65536,\u0665,\u00b2", "EW_GENERATION": "\u00b2"}, [1], None),
        ({"EW_PORTS": "9" * 5000, "EW_GENERATION": "9" * 5000}, [1], None),
        ({}, [1], None),
        (None, [1], 3),
    ],
)
def test_a_row_whatever_the_process_says_of_itself(says: t.Optional[dict[str, str]], ports: list[int], generation: t.Optional[int]) -> None:
    runs = {"EW_EFFECTIVE": "a", **says} if says is not None else None
    row = rows.row(LAYOUT, SYSTEMD, Found("0", "running", runs=runs, recorded={"EW_PORTS": "1", "EW_GENERATION": "3"}), changed=False)
    assert (row["ports"], row["generation"]) == (ports, generation)


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        (Found("0", "running", pid=1), False),
        (Found("0", "starting"), False),
        (Found("0", "starting", exit_status=1), True),
        (Found("0", "running", pid=1, restarts=1), True),
        (Found("0", "failed"), True),
        (Found("0", "stopped"), True),
        (Found("0"), True),
    ],
)
def test_an_instance_that_ended_once_since_its_start_has_failed(found: Found, failed: bool) -> None:
    assert stability.has_failed(found) is failed


@pytest.mark.parametrize(
    ("runs", "wanted"), [({"EW_EFFECTIVE": "a"}, "a"), ({}, "a"), (None, "a"), ({"EW_EFFECTIVE": "b"}, "")], ids=["same", "silent", "hidden", "unknown"]
)
def test_a_process_with_the_values_of_its_files_is_right(runs: t.Optional[dict[str, str]], wanted: str) -> None:
    apply.check_values(SYSTEMD, {"0": Found("0", "running", pid=1, runs=runs)}, {"0": wanted})


def test_a_process_with_other_values_than_its_files_is_an_error() -> None:
    with pytest.raises(WorkerError, match="other values than its files") as caught:
        apply.check_values(SYSTEMD, {"0": Found("0", "running", pid=1, runs={"EW_EFFECTIVE": "b"})}, {"0": "a"})
    assert (caught.value.code, caught.value.details) == ("stale_unit", {"stale_instance": "0"})
    assert "systemctl cat w@0.service" in caught.value.remedy
