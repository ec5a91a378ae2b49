# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keeper's decisions and its loop over a stand-in for supervisord, which cannot be made to fault on order."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t
import xmlrpc.client

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import keeper, launcher, supervisord
from tests.shared import opened, wait_until

ALWAYS = {"policy": "always", "delay": 2.0, "burst": 3, "window": 60.0}


@pytest.mark.parametrize(
    ("entry", "restart", "clean", "due", "failed"),
    [
        ({"starts": [100.0]}, ALWAYS, False, 102.0, ""),
        ({"starts": [100.0]}, ALWAYS, True, 102.0, ""),
        ({"starts": [100.0]}, {**ALWAYS, "policy": "on-failure"}, True, None, ""),
        ({"starts": [100.0]}, {**ALWAYS, "policy": "on-failure"}, False, 102.0, ""),
        ({"starts": [100.0]}, {**ALWAYS, "policy": "no"}, False, None, ""),
        ({"starts": [100.0], "held": True}, ALWAYS, False, None, ""),
        ({"starts": [98.0, 99.0, 100.0]}, ALWAYS, False, None, "3 starts within 60 s, the limit of restart.burst"),
        ({"starts": [30.0, 99.0, 100.0]}, ALWAYS, False, 102.0, ""),
        ({"starts": []}, ALWAYS, False, 102.0, ""),
        # The clock was set back: these starts are still to come.
        ({"starts": [900.0, 901.0, 902.0]}, ALWAYS, False, 102.0, ""),
    ],
)
def test_after_an_exit(entry: dict[str, t.Any], restart: dict[str, t.Any], clean: bool, due: t.Optional[float], failed: str) -> None:
    found = keeper.after_exit(keeper.new_entry(**entry), restart, clean, 100.0)
    assert (found["due"], found["failed"]) == (due, failed)


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({}, True),
        ({"policy": "no", "delay": 0, "burst": 1}, True),
        ({"policy": "sometimes"}, False),
        ({"policy": ["always"]}, False),
        ({"delay": "2"}, False),
        ({"delay": -1}, False),
        ({"delay": True}, False),
        ({"burst": None}, False),
        ({"window": float("nan")}, False),
        ({"window": float("inf")}, False),
    ],
)
def test_only_a_sound_policy_is_gone_by(changed: dict[str, t.Any], taken: bool) -> None:
    value = {**ALWAYS, **changed}
    assert keeper.restart_in(json.dumps({"restart": value})) == (value if taken else None)


def test_entries_are_read_changed_and_written_whole(tmp_path: pathlib.Path) -> None:
    directory = str(tmp_path)
    assert keeper.read_entries(directory) == {}
    with keeper.entries(directory) as known:
        known["0"] = keeper.new_entry(enabled=True)
    assert keeper.read_entries(directory)["0"]["enabled"] is True
    before = (tmp_path / "keeper.json").stat().st_mtime_ns
    with keeper.entries(directory):
        pass
    assert (tmp_path / "keeper.json").stat().st_mtime_ns == before
    for text in ("broken", "[]", '{"0": 5}'):
        (tmp_path / "keeper.json").write_text(text)
        assert keeper.read_entries(directory) == {}


@contextlib.contextmanager
def held(path: pathlib.Path) -> t.Iterator[None]:
    """Another process, as far as locks go, holds it."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def test_the_lock_is_nobody_elses_and_not_waited_for_without_end(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "keeper.lock"
    lock.touch(0o644)
    with keeper.entries(str(tmp_path)):
        assert lock.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(keeper, "LOCK_TIMEOUT", 0.1)
    with held(lock), pytest.raises(TimeoutError, match="another process held it"), keeper.entries(str(tmp_path)):
        pass
    layout = Layout(str(tmp_path)).worker("w")
    os.makedirs(layout.supervisord)
    with held(pathlib.Path(layout.supervisord, "keeper.lock")), pytest.raises(WorkerError, match=r"keeper\.lock") as caught:
        supervisord.Supervisord(layout).enable(["0"])
    assert caught.value.code == "locked"


@pytest.mark.parametrize("frees", [True, False])
def test_the_launcher_waits_a_moment_for_its_lock(tmp_path: pathlib.Path, frees: bool) -> None:
    lock = tmp_path / "supervisord.lock"
    with held(lock):
        # As it is called, but for the seconds.
        code = f"import launcher, sys; launcher._PATIENCE = {60 if frees else 0.1}; sys.exit(launcher.main(*sys.argv[1:]))"
        argv = [sys.executable, "-c", code, str(lock), str(tmp_path / "absent.conf")]
        child = subprocess.Popen(argv, stderr=subprocess.PIPE, env={"PYTHONPATH": os.path.dirname(launcher.__file__)})
        if frees:
            wait_until(lambda: str(lock) in opened(child.pid), "the launcher asks for the lock")
        else:
            assert child.wait(60) == launcher.HELD
    # supervisord itself ends for want of its configuration.
    assert (child.wait(60) == launcher.HELD) is not frees
    child.communicate()


class Supervisor:
    """Stands for supervisord's interface: rows as given, and a fault for what is already running."""

    def __init__(self, *rows: dict[str, t.Any], fault: bool = False) -> None:
        self.rows = list(rows)
        self.fault = fault
        self.started: list[str] = []

    def getAllProcessInfo(self) -> list[dict[str, t.Any]]:
        return self.rows

    def startProcess(self, name: str, _wait: bool) -> bool:
        if self.fault:
            raise xmlrpc.client.Fault(60, "ALREADY_STARTED")
        self.started.append(name)
        return True


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "w" / "supervisord"
    (path / "instances").mkdir(parents=True)
    (path / "instances" / "0.json").write_text(json.dumps({"restart": {**ALWAYS, "delay": 0.0}}))
    return str(path)


def test_a_process_that_ended_is_started_when_it_is_due(directory: str) -> None:
    supervisor = Supervisor()
    kept = keeper.Keeper(directory, supervisor)
    assert kept.start_due() is None
    for count in (1, 2, 3):
        kept.ended("w@0", 0, clean=False)
        assert kept.start_due() is None
        assert supervisor.started == ["w@0"] * count
    kept.ended("w@0", 0, clean=False)
    kept.start_due()
    assert supervisor.started == ["w@0"] * 3
    entry = keeper.read_entries(directory)["0"]
    assert entry["restarts"] == 3
    assert "3 starts" in entry["failed"]


def test_what_is_not_due_yet_is_waited_for(directory: str) -> None:
    pathlib.Path(directory, "instances", "0.json").write_text(json.dumps({"restart": ALWAYS}))
    kept = keeper.Keeper(directory, Supervisor())
    kept.ended("w@0", 0, clean=False)
    due = kept.start_due()
    assert due is not None
    assert 0 < due <= 2


def test_a_clock_that_was_set_back_delays_a_start_no_longer_than_the_delay(directory: str) -> None:
    pathlib.Path(directory, "instances", "0.json").write_text(json.dumps({"restart": ALWAYS}))
    kept = keeper.Keeper(directory, Supervisor())
    with keeper.entries(directory) as known:
        known["0"] = keeper.new_entry(due=time.time() + 86400)
    due = kept.start_due()
    assert due is not None
    assert due <= 2
    assert keeper.read_entries(directory)["0"]["due"] <= time.time() + 2


def test_a_deliberate_stop_wins_over_what_is_due(directory: str) -> None:
    supervisor = Supervisor()
    kept = keeper.Keeper(directory, supervisor)
    kept.ended("w@0", 0, clean=False)
    with keeper.entries(directory) as known:
        known["0"]["held"] = True
    assert kept.start_due() is None
    assert supervisor.started == []


@pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"restart": 5}', '{"restart": {}}', '{"restart": []}', "[" * 100_000, "\udcff"])
def test_a_file_that_makes_no_sense_restarts_nothing(directory: str, text: str) -> None:
    pathlib.Path(directory, "instances", "0.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    supervisor = Supervisor()
    kept = keeper.Keeper(directory, supervisor)
    kept.ended("w@0", 0, clean=False)
    with keeper.entries(directory) as known:
        known["0"] = keeper.new_entry(due=time.time() + 60)
    assert (kept.start_due() or 0) > 0
    assert supervisor.started == []


def test_a_process_of_no_instance_and_one_without_a_file_are_left_alone(directory: str) -> None:
    supervisor = Supervisor()
    kept = keeper.Keeper(directory, supervisor)
    kept.ended("keeper", 0, clean=False)
    kept.ended("w@unknown", 0, clean=False)
    assert kept.start_due() is None
    assert keeper.read_entries(directory) == {}


@pytest.mark.parametrize(
    ("row", "entry", "started"),
    [
        ({"state": 0, "start": 0}, {"enabled": True}, True),
        ({"state": 0, "start": 0}, {"enabled": False}, False),
        ({"state": 0, "start": 0}, {"enabled": True, "held": True}, True),
        ({"state": 0, "start": 5}, {"enabled": True}, False),
        ({"state": 100, "start": 5, "exitstatus": 3}, {"enabled": True}, True),
        ({"state": 100, "start": 5, "exitstatus": 3}, {"failed": "3 starts"}, False),
        ({"state": 20, "start": 5}, {"enabled": True}, False),
    ],
)
def test_it_catches_up_when_it_starts(directory: str, row: dict[str, t.Any], entry: dict[str, t.Any], started: bool) -> None:
    with keeper.entries(directory) as known:
        known["0"] = keeper.new_entry(**entry)
    supervisor = Supervisor({"name": "w@0", **row}, {"name": "keeper", "state": 20, "start": 5})
    kept = keeper.Keeper(directory, supervisor)
    kept.look_around()
    kept.start_due()
    assert (supervisor.started == ["w@0"]) is started


def test_a_process_that_runs_already_is_no_fault(directory: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = keeper.Keeper(directory, Supervisor(fault=True))
    kept.ended("w@0", 0, clean=False)
    kept.start_due()
    assert "ALREADY_STARTED" in capsys.readouterr().err


def test_events_are_read_from_the_stream() -> None:
    payload = b"processname:w@0 groupname:w@0 from_state:RUNNING expected:0 pid:12"
    header = b"ver:3.0 server:w serial:1 pool:keeper poolserial:1 eventname:PROCESS_STATE_EXITED len:%d\n" % len(payload)
    stream = io.BytesIO(header + payload)
    name, values = t.cast("tuple[str, dict[str, str]]", keeper.read_event(stream))
    assert (name, values["processname"], values["expected"], values["pid"]) == ("PROCESS_STATE_EXITED", "w@0", "0", "12")
    assert keeper.read_event(stream) is None
    assert keeper.read_event(io.BytesIO(header + payload[:5])) is None
