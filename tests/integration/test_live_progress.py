# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules that may work for minutes tell what they do, and live through the end of the controller. Through Ansible itself."""

from __future__ import annotations

import json
import os
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import start_ticks
from tests.integration.action_driver import Play
from tests.integration.local_packages import local_channel, python_version, write_source_package
from tests.integration.test_jobs import kill_play, read_until
from tests.integration.test_worker_toolchain import make_wheel


def run(play: Play) -> tuple[dict[str, t.Any], list[str]]:
    """(result, the progress lines that were shown)"""
    with play.start() as process:
        output, _nothing = process.communicate(timeout=300)
    (result,) = play.results() or pytest.fail(output)
    return result, [line.partition(" | ")[2] for line in output.splitlines() if line.startswith("  localhost | ")]


def test_a_toolchain(tmp_path: pathlib.Path) -> None:
    requirements = make_wheel(tmp_path / "wheels", "1.0")
    args = {"root": str(tmp_path / "root"), "requirements": requirements, "find_links": [str(tmp_path / "wheels")], "offline": True}
    first, lines = run(Play("worker_toolchain", [args], tmp_path))
    assert (first["changed"], first["created"]) == (True, True)
    assert lines[-1] == "Install 1 packages"
    second, lines = run(Play("worker_toolchain", [args], tmp_path))
    assert (second["changed"], second["python"], lines) == (False, first["python"], [])
    planned, lines = run(Play("worker_toolchain", [{**args, "root": str(tmp_path / "other")}], tmp_path, check=True))
    assert (planned["changed"], planned["fingerprint"], lines) == (True, first["fingerprint"], [])
    assert "jobs" not in os.listdir(tmp_path / "root")


@pytest.mark.slow
def test_an_environment_whose_controller_is_killed(tmp_path: pathlib.Path) -> None:
    gate = tmp_path / "gate"
    source = write_source_package(tmp_path / "source", "ew_slow")
    (source / "gate.txt").write_text(str(gate))
    (tmp_path / "requirements.txt").write_text("./source\n")
    (tmp_path / "pip.conf").write_text("[global]\nno-index = true\n")
    args = {
        "root": str(tmp_path / "root"),
        "name": "w",
        "channels": [str(local_channel())],
        "python_version": python_version(),
        "requirements": [str(tmp_path / "requirements.txt")],
    }

    def play() -> Play:
        new = Play("conda_env", [args], tmp_path)
        kept = {name: value for name, value in new.environ.items() if not name.startswith(("PIP_", "UV_"))}
        new.environ = {**kept, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PYTHONUNBUFFERED": "1"}
        return new

    with play().start() as process:
        read_until(process, "| install the requirements")
        kill_play(process)
    (handle,) = (json.loads(path.read_text()) for path in tmp_path.glob("root/jobs/*/handle"))
    assert start_ticks(handle["pid"]) == handle["start"], "the build goes on"
    again = play()
    with again.start() as process:
        seen = read_until(process, "| install the requirements")
        assert f"goes on with the work that an earlier run began (pid {handle['pid']})" in seen
        gate.touch()
        process.communicate(timeout=300)
    (result,) = again.results()
    assert (result["changed"], result["created"]) == (True, True)
    assert {"name": "ew-slow", "version": "1.0"} in result["packages"]["pip"]
    assert not (tmp_path / "root/jobs").exists()
    result, lines = run(play())
    assert (result["changed"], lines) == (False, [])
