# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of a job that decide: what the controller asks and understands, and when a job counts as alive."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing as t

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as Local
from ansible.plugins.connection.ssh import Connection as Ssh
from ansible.utils.display import Display

from ansible_collections.ew_ai.worker.plugins.module_utils import job as jobs
from ansible_collections.ew_ai.worker.plugins.module_utils.job import is_at_work
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import start_ticks
from ansible_collections.ew_ai.worker.plugins.plugin_utils import job
from ansible_collections.ew_ai.worker.plugins.plugin_utils.job import JobAction, parse_poll, poll_script, shortened

SHELLS = [shell for shell in (["/bin/sh"], ["bash", "--posix"], ["dash"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("running 0\n", ("running", 0, [])),
        ("ended 6\na b\nc\n", ("ended", 6, ["a b", "c"])),
        ("ended 4\r\na b\r\n", ("ended", 4, ["a b"])),
        ("dead 3\nü\n", ("dead", 3, ["ü"])),
        ("", None),
        ("sudo: a password is required\n", None),
        ("running x\n", None),
        ("sleeping 3\n", None),
    ],
)
def test_answers(output: str, expected: t.Any) -> None:
    assert parse_poll(output) == expected


def test_many_lines_are_shortened() -> None:
    assert shortened(list("abcdefgh")) == list("abcdefgh")
    assert shortened([str(number) for number in range(20)]) == ["(13 lines more)", *(str(number) for number in range(13, 20))]


def ask(shell: list[str], handle: dict[str, t.Any], offset: int) -> t.Any:
    done = subprocess.run(shell, input=poll_script(handle, offset), capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return parse_poll(done.stdout)


@pytest.mark.parametrize("shell", SHELLS, ids=[shell[0] for shell in SHELLS])
def test_the_script_in_every_shell_there_is(shell: list[str], tmp_path: pathlib.Path) -> None:
    job = tmp_path / "it's a job"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as keeper:
        handle = {"path": str(job), "pid": keeper.pid, "start": start_ticks(keeper.pid)}
        assert ask(shell, handle, 5) == ("gone", 5, [])
        job.mkdir()
        (job / "progress").write_text("one\ntwo ü\n")
        assert ask(shell, handle, 0) == ("running", 11, ["one", "two ü"])
        assert ask(shell, handle, 4) == ("running", 11, ["two ü"])
        (job / "result").touch()
        assert ask(shell, handle, 11) == ("ended", 11, [])
        (job / "result").rename(job / "died")
        assert ask(shell, handle, 11) == ("ended", 11, [])
        (job / "died").unlink()
        assert ask(shell, {**handle, "start": 1}, 4) == ("dead", 11, ["two ü"])
        keeper.kill()
        # a zombie has a pid and does no work
        os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)
        assert ask(shell, handle, 11) == ("dead", 11, [])
    assert ask(shell, handle, 11) == ("dead", 11, [])


def test_alive_is_the_same_process(tmp_path: pathlib.Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as keeper:
        start = start_ticks(keeper.pid)
        assert is_at_work({"pid": keeper.pid, "start": start})
        assert not is_at_work({"pid": keeper.pid, "start": (start or 0) + 1})
        assert not is_at_work({"pid": keeper.pid, "start": None})
        assert not is_at_work(None)
        keeper.kill()
        os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)
        assert not is_at_work({"pid": keeper.pid, "start": start})


def test_jobs_end_with_all_that_they_started(tmp_path: pathlib.Path) -> None:
    (tmp_path / "jobs/at-work").mkdir(parents=True)
    (tmp_path / "jobs/uncollected").mkdir()
    (tmp_path / "jobs/uncollected/result").touch()
    child = "import subprocess, sys; subprocess.run(['sh', '-c', 'echo $$; read -r never'], start_new_session=True)"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdout
        grandchild = int(keeper.stdout.readline())
        (tmp_path / "jobs/at-work/handle").write_text(f'{{"pid": {keeper.pid}, "start": {start_ticks(keeper.pid)}}}')
        jobs.end_jobs(str(tmp_path / "jobs"))
        assert start_ticks(grandchild) is None
        assert keeper.wait(10) == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
    jobs.end_jobs(str(tmp_path / "jobs"))


def test_old_results_are_swept_and_nothing_else(tmp_path: pathlib.Path) -> None:
    own = start_ticks(os.getpid())
    for name, handle, age in (("old", None, 2), ("fresh", None, 0), ("at-work", f'{{"pid": {os.getpid()}, "start": {own}}}', 2)):
        (tmp_path / name).mkdir()
        if handle:
            (tmp_path / name / "handle").write_text(handle)
        then = time.time() - age * jobs._KEPT
        os.utime(tmp_path / name, (then, then))
    jobs._sweep(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at-work", "fresh"]


def test_a_job_that_never_got_a_handle_makes_way(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_START", 0.1)
    (tmp_path / "job").mkdir()
    (tmp_path / "job/stderr").touch()
    assert jobs._claim(str(tmp_path / "job")) is None


def test_a_job_that_cannot_be_removed_is_not_tried_for_ever(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot exist here is a file system that became read-only: nothing is removed in its stead."""
    monkeypatch.setattr(jobs, "_START", 0.1)
    monkeypatch.setattr(jobs, "_remove", lambda path: None)
    (tmp_path / "job").mkdir()
    with pytest.raises(OSError, match="Read-only file system"):
        jobs._claim(str(tmp_path / "job"))
    assert list((tmp_path / "job").iterdir()) == []


def test_a_host_that_is_lost_while_its_job_works_is_a_failure_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is what is not there; what each attempt would wait is left out."""
    action = object.__new__(JobAction)
    handle = {"path": "/root/jobs/x", "pid": 1, "start": 1}
    monkeypatch.setattr(job.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(action, "_execute_with", lambda wish, task_vars: {job.KEY: handle}, raising=False)
    monkeypatch.setattr(action, "_display", Display(), raising=False)

    def refuse(*_words: t.Any, **_options: t.Any) -> t.NoReturn:
        raise AnsibleConnectionFailure("Connection timed out")

    monkeypatch.setattr(action, "_low_level_execute_command", refuse, raising=False)
    found = action._follow({"inventory_hostname": "h"})
    assert (found["failed"], found["code"]) == (True, "unreachable")
    assert "/root/jobs/x is, which goes on: Connection timed out. See whether it answers: ansible h -m ping." in found["msg"]
    assert found["msg"].endswith(found["remedy"])


class Foreign(Local):
    """Stands for the connection plugins of others, such as mitogen's, which are not installed here."""


@pytest.mark.parametrize(("connection", "detaches"), [(Local, True), (Ssh, True), (Foreign, False)])
def test_detaching_over_known_connections_only(connection: type, detaches: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    action = object.__new__(JobAction)
    action._connection = object.__new__(connection)
    assert action._may_detach() is detaches
    monkeypatch.setitem(sys.modules, "ansible_mitogen", sys)
    assert not action._may_detach()
