# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose a process is by what it says of itself, and the end of what a killed supervisord left behind, with real processes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import instances, processes
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout, WorkerLayout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import supervisord_process

WAIT = "import time; print('up', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"


@contextlib.contextmanager
def started(code: str = WAIT, environ: t.Optional[dict[str, str]] = None, uid: t.Optional[int] = None) -> t.Iterator[processes.Process]:
    """A process that runs the code, once it does."""
    python = "/usr/bin/python3" if uid is not None else sys.executable
    child = subprocess.Popen([python, "-c", code], env=environ or {}, cwd="/", stdout=subprocess.PIPE, text=True, user=uid)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        found = processes.read_process(child.pid)
        assert found is not None
        yield found
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> WorkerLayout:
    made = Layout(str(tmp_path)).worker("w")
    for path in made.directories("0"):
        os.makedirs(path)
    return made


def says(layout: WorkerLayout, **values: str) -> dict[str, str]:
    return {"EW_WORKER": "w", "EW_INSTANCE": "0", "EW_STATE_DIR": layout.directories("0")[0], **values}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "0"),
        ({"EW_INSTANCE": "unknown"}, "unknown"),
        ({"EW_WORKER": "v"}, None),
        ({"EW_STATE_DIR": "/elsewhere/workers/w/data/0/state"}, None),
        ({"EW_INSTANCE": "../../../../etc/x"}, None),
        ({"EW_INSTANCE": "A"}, None),
        ({"EW_INSTANCE": ""}, None),
        ({"EW_INSTANCE": "x" * 65}, None),
    ],
)
def test_an_instance_is_known_by_its_variables(layout: WorkerLayout, values: dict[str, str], name: t.Optional[str]) -> None:
    with started(environ=says(layout, **values)) as process:
        assert instances.instance_of(layout, process.pid) == name


@pytest.mark.skipif(os.geteuid() != 0, reason="starting a process as somebody else needs root")
def test_variables_of_a_process_of_somebody_else_count_for_nothing(layout: WorkerLayout) -> None:
    state = layout.directories("0")[0]
    with started(environ=says(layout), uid=65534) as process:
        assert processes.user_of(process.pid) == 65534
        assert instances.instance_of(layout, process.pid) is None
        assert supervisord_process.orphans(layout) == {}
        os.chown(state, 65534, -1)
        assert instances.instance_of(layout, process.pid) == "0"
        (found,) = supervisord_process.orphans(layout)["0"]
        assert (found.pid, found.start_ticks) == (process.pid, process.start_ticks)


@pytest.mark.parametrize(("code", "killed"), [(WAIT, False), (DEAF, True)], ids=["obeys", "ignores"])
def test_orphans_get_sigterm_and_then_sigkill(code: str, killed: bool) -> None:
    with started(code) as process:
        assert supervisord_process.end_orphans([process], 60 if not killed else 0.2, 60) is killed
        assert not processes.is_alive(process.pid, process.start_ticks)


def test_a_later_process_with_the_same_pid_is_not_touched() -> None:
    with started() as process:
        earlier = dataclasses.replace(process, start_ticks=process.start_ticks - 1)
        assert supervisord_process.end_orphans([earlier], 60, 60) is False
        assert processes.is_alive(process.pid, process.start_ticks)


def test_what_cannot_be_killed_is_an_error_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisord_process, "_signal", lambda _orphans, _number: None)
    with started() as process:
        with pytest.raises(WorkerError, match=str(process.pid)) as caught:
            supervisord_process.end_orphans([process], 0, 0.2)
        assert caught.value.code == "stop_failed"
