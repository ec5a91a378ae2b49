# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long work as a job: seen live, found again, and never lost without a word. On this machine, through Ansible itself."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import start_ticks
from tests.integration.action_driver import Play
from tests.shared import wait_until

NAME = "ansible.legacy.gated_work"
HERE = pathlib.Path(__file__).parent / "jobs"
SECRET = "correct horse"
LONGEST = 300  # seconds for one play, on a busy machine


class Case:
    """One piece of work, and the plays that want it done."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.path = home / "made"
        self.gate = home / "gate"
        self.jobs = home / "root/jobs"

    def play(self, check: bool = False, keywords: t.Optional[dict[str, t.Any]] = None, **options: t.Any) -> Play:
        args = {"path": str(self.path), "jobs": str(self.jobs), "gate": str(self.gate), "secret": SECRET, **options}
        play = Play(NAME, [args], self.home, check=check, keywords=keywords)
        (self.home / "tmp").mkdir(exist_ok=True)
        play.environ.update(TMPDIR=str(self.home / "tmp"))
        play.environ.update(ANSIBLE_LIBRARY=str(HERE / "library"), ANSIBLE_ACTION_PLUGINS=str(HERE / "action"), PYTHONUNBUFFERED="1")
        return play

    def run(self, play: Play) -> tuple[dict[str, t.Any], str]:
        """(result, output)"""
        with play.start() as process:
            output, _nothing = process.communicate(timeout=LONGEST)
        (result,) = play.results() or pytest.fail(output)
        return result, output

    def pids(self) -> list[tuple[int, int]]:
        """(worker, keeper) of every time that the work was begun."""
        path = pathlib.Path(f"{self.path}.pids")
        return [t.cast("tuple[int, int]", tuple(map(int, line.split()))) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def case(tmp_path: pathlib.Path) -> t.Iterator[Case]:
    case = Case(tmp_path)
    yield case
    for worker, keeper in case.pids():
        for pid in (worker, keeper):
            if start_ticks(pid) is not None and b"gated_work" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The lines up to the one with the words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} was never printed:\n{seen}")


def kill_play(process: subprocess.Popen[str]) -> None:
    """As when the controller dies: all its processes, also those that Ansible gives sessions of their own."""
    doomed = [process.pid]
    for pid in doomed:
        os.kill(pid, signal.SIGSTOP)
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        doomed.extend(map(int, children))
    for pid in doomed:
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def test_progress_is_shown_while_the_work_goes_on(case: Case) -> None:
    play = case.play()
    with play.start() as process:
        seen = read_until(process, "| begins with")
        assert not case.path.exists(), "the line came while the work was going on"
        assert play.results() == []
        case.gate.touch()
        seen += process.communicate(timeout=LONGEST)[0]
    (result,) = play.results()
    assert result["changed"] is True
    assert result["made"] == [str(case.path)]
    assert result["warnings"] == ["made with a warning"]
    assert result["elapsed"] > 0
    assert "localhost | begins with ******** from https://********@host/x and more" in seen
    assert "localhost | the gate is open" in seen
    assert SECRET not in seen + str(result)
    assert not case.jobs.exists(), "nothing of the job is left"


@pytest.mark.parametrize(("check", "made"), [(False, True), (True, True), (True, False)])
def test_nothing_to_do_costs_no_round_trip(check: bool, made: bool, case: Case) -> None:
    case.gate.touch()
    if made:
        case.path.touch()
    play = case.play(check=check)
    play.argv.append("-vvv")
    result, output = case.run(play)
    plain = Play("ansible.legacy.ping", [{}], case.home)
    plain.argv.append("-vvv")
    _result, plain_output = case.run(plain)
    assert result["changed"] is not made
    assert output.count(" EXEC ") == plain_output.count(" EXEC ") > 0
    assert not case.jobs.exists()


def test_a_killed_controller_leaves_the_work_going_and_the_next_run_finds_it(case: Case) -> None:
    with case.play().start() as process:
        read_until(process, "| begins with")
        kill_play(process)
    ((worker, keeper),) = case.pids()
    assert start_ticks(worker) is not None
    assert start_ticks(keeper) is not None
    play = case.play()
    with play.start() as process:
        seen = read_until(process, "| begins with")
        assert f"goes on with the work that an earlier run began (pid {keeper})" in seen
        case.gate.touch()
        process.communicate(timeout=LONGEST)
    (result,) = play.results()
    assert (result["changed"], result["made"]) == (True, [str(case.path)])
    assert case.pids() == [(worker, keeper)], "the work was done once"
    assert not case.jobs.exists()
    assert list((case.home / "tmp").iterdir()) == [], "nor is anything left that the modules were unpacked to"


def test_work_that_ended_unseen_is_not_done_again(case: Case) -> None:
    with case.play().start() as process:
        read_until(process, "| begins with")
        kill_play(process)
    case.gate.touch()
    wait_until(lambda: list(case.jobs.glob("*/result")), "the work has ended")
    result, _output = case.run(case.play())
    assert result["changed"] is False
    assert len(case.pids()) == 1
    case.path.unlink()
    result, _output = case.run(case.play())
    assert (result["changed"], len(case.pids())) == (True, 2), "an old result is not taken for new work"


@pytest.mark.parametrize(("victims", "how"), [(("worker",), "signal SIGKILL"), (("keeper", "worker"), "it was killed together with its keeper")])
def test_killed_work_is_a_clear_error(victims: tuple[str, ...], how: str, case: Case) -> None:
    play = case.play()
    with play.start() as process:
        read_until(process, "| begins with")
        ((worker, keeper),) = case.pids()
        for victim in victims:
            os.kill({"worker": worker, "keeper": keeper}[victim], signal.SIGKILL)
        process.communicate(timeout=LONGEST)
    (result,) = play.results()
    assert (result["failed"], result["code"], result["made"]) == (True, "job_died", [])
    assert how in result["msg"]
    assert "begins with ********" in result["msg"]
    assert result["remedy"]
    case.gate.touch()
    result, _output = case.run(case.play())
    assert result["changed"] is True
    assert not case.jobs.exists()


def test_a_failure_arrives_as_it_is(case: Case) -> None:
    case.gate.touch()
    result, output = case.run(case.play(fail=True))
    assert (result["failed"], result["code"], result["remedy"], result["changed"], result["made"]) == (True, "bad_work", "Do it again.", False, [])
    assert SECRET not in str(result) + output


def test_other_options_are_another_job(case: Case) -> None:
    plays = [case.play(), case.play(secret="battery staple")]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(play.start()) for play in plays]
        for process in processes:
            read_until(process, "| begins with")
        assert len(case.pids()) == 2
        assert len(list(case.jobs.iterdir())) == 2
        case.gate.touch()
        for process in processes:
            process.communicate(timeout=LONGEST)
    assert [play.results()[0]["changed"] for play in plays] == [True, True]


def test_two_runs_at_once_share_the_work(case: Case) -> None:
    plays = [case.play() for _number in range(3)]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(play.start()) for play in plays]
        for process in processes:
            read_until(process, "| begins with")
        case.gate.touch()
        for process in processes:
            process.communicate(timeout=LONGEST)
    results = [play.results()[0] for play in plays]
    assert len(case.pids()) == 1
    assert not any(result.get("failed") for result in results)
    assert any(result["changed"] for result in results)
    assert not case.jobs.exists()


def test_async_runs_plainly(case: Case) -> None:
    case.gate.touch()
    result, output = case.run(case.play(keywords={"async": 60, "poll": 1}))
    assert result["changed"] is True
    assert "| begins with" not in output
    assert not case.jobs.exists()


def test_where_no_job_can_be_kept_it_runs_plainly(case: Case) -> None:
    case.jobs.parent.write_text("a file where the directory would be")
    case.gate.touch()
    result, output = case.run(case.play())
    assert result["changed"] is True
    assert "| begins with" not in output


def test_a_callback_for_programs_stays_clean(case: Case) -> None:
    case.gate.touch()
    play = case.play()
    (case.home / "callbacks").mkdir()
    quiet = "from ansible.plugins.callback import CallbackBase\nDOCUMENTATION = 'name: quiet\\ntype: stdout\\nshort_description: x\\ndescription: x'\n"
    (case.home / "callbacks/quiet.py").write_text(f"{quiet}class CallbackModule(CallbackBase):\n    CALLBACK_TYPE = 'stdout'\n    CALLBACK_NAME = 'quiet'\n")
    play.environ.update(ANSIBLE_STDOUT_CALLBACK="quiet", ANSIBLE_CALLBACK_PLUGINS=f"{case.home}/callbacks:{play.environ['ANSIBLE_CALLBACK_PLUGINS']}")
    done = subprocess.run(play.argv, env=play.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert play.results()[0]["changed"] is True
    assert done.stdout == ""
    assert "localhost | the gate is open" in done.stderr


def test_a_task_with_no_log_shows_nothing(case: Case) -> None:
    case.gate.touch()
    _result, output = case.run(case.play(keywords={"no_log": True}))
    assert case.path.exists()
    assert "| begins with" not in output
