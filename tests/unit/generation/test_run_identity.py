# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which run holds a lease, and when it is known to be dead: only on the very machine where its process was, and only that process."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import start_ticks
from ansible_collections.ew_ai.worker.plugins.plugin_utils import run_identity


def holder(pid: int, **changed: t.Any) -> dict[str, t.Any]:
    """A run of this machine with that process."""
    return {**run_identity.this_run("deploy"), "pid": pid, "start_ticks": start_ticks(pid) or 0, **changed}


def dead_process() -> dict[str, t.Any]:
    """A run of this machine whose process has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = holder(process.pid)
        process.communicate(b"\n")
    return found


def test_every_process_of_a_run_has_the_same_identity() -> None:
    """As the workers that Ansible forks do."""
    code = (
        "import json, os, sys\n"
        "from ansible_collections.ew_ai.worker.plugins.plugin_utils.run_identity import this_run\n"
        "if os.fork() == 0:\n    print(json.dumps(this_run('deploy')), flush=True); os._exit(0)\n"
        "os.wait()\n"
        "if os.fork() == 0:\n    print(json.dumps(this_run('deploy')), flush=True); os._exit(0)\n"
        "os.wait(); print(os.getpid())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=True)
    one, other, pid = done.stdout.splitlines()
    assert one == other
    assert f'"pid": {pid}' in one


def test_a_run_that_lives_is_not_dead() -> None:
    assert not run_identity.is_dead(holder(os.getpid()))


def test_a_run_that_has_ended_is_dead() -> None:
    assert run_identity.is_dead(dead_process())


def test_another_process_under_its_number_is_not_the_run() -> None:
    assert run_identity.is_dead(holder(os.getpid(), start_ticks=1))


@pytest.mark.parametrize("machine", ["", "another boot pid:[4026531836]"])
def test_nothing_is_known_of_another_machine_of_the_same_name(machine: str) -> None:
    found = dead_process()
    assert not run_identity.is_dead({**found, "machine": machine})
    del found["machine"]
    assert not run_identity.is_dead(found)


def test_two_boots_and_two_containers_are_two_machines(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = run_identity.this_run("deploy")
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(run_identity, "_BOOT_ID", str(boot))
    rebooted = run_identity.this_run("deploy")
    monkeypatch.setattr(run_identity.os, "readlink", lambda path: f"other {path}")
    contained = run_identity.this_run("deploy")
    assert len({each["machine"] for each in (here, rebooted, contained)}) == 3
    assert len({each["run"] for each in (here, rebooted, contained)}) == 3
    assert {each["controller"] for each in (here, rebooted, contained)} == {here["controller"]}


class TestWithoutProc:
    """macOS has none, and Linux may hide the processes of others."""

    @pytest.fixture(autouse=True)
    def no_proc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(run_identity, "_BOOT_ID", "/nonexistent")
        monkeypatch.setattr(run_identity, "read_process", lambda pid: None)
        monkeypatch.setattr(run_identity, "start_ticks", lambda pid: None)

    def test_the_machine_stays_the_same(self) -> None:
        assert run_identity.this_machine() == run_identity.this_machine()

    def test_a_run_that_lives_is_not_dead(self) -> None:
        assert not run_identity.is_dead(holder(os.getpid()))

    def test_a_run_that_has_ended_is_dead(self) -> None:
        assert run_identity.is_dead(dead_process())

    def test_a_run_of_another_account_is_not_dead(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(pid: int, signal: int) -> None:
            raise PermissionError

        monkeypatch.setattr(run_identity.os, "kill", refuse)
        assert not run_identity.is_dead(holder(os.getpid()))
