# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of one worker from a clean machine to an empty one: what check mode foretells, and what a second run leaves alone."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import read_process
from tests.integration.clean_room import left_in, processes_below
from tests.integration.deploy_driver import Data, Place, Run, Worker, measured
from tests.shared import digest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-converge")]

STAGES = ("preflight", "toolchain", "release", "environment", "instances", "health")
BUILDERS = {"conda", "mamba", "micromamba", "pip", "pip3", "uv"}


class Life:
    """The worker, and the first two runs, which every test below builds on."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.source = place.copy("growing")
        self.worker: Worker = place.worker(self.source, 2)
        self.foretold = self.worker.run("deploy", check=True)
        self.left_by_check_mode = left_in(place.data)
        self.first = self.worker.begin("deploy", environ=measured()).end()


@pytest.fixture(scope="module")
def life() -> t.Iterator[Life]:
    place = Place()
    yield Life(place)
    place.end()


def processes(worker: Worker) -> dict[str, tuple[int, int]]:
    """Pid and start time (ticks) of each instance, from the processes themselves."""
    found = {}
    for index in range(worker.variables["worker_count"]):
        origin = worker.ask(index)
        process = read_process(origin["pid"])
        assert process
        found[origin["instance"]] = (process.pid, process.start_ticks)
    return found


def builders(run: Run) -> list[list[str]]:
    """What it started of conda, pip, uv, py-rattler's child and virtual environments."""
    assert run.started, "the trace is empty: it would show nothing"
    return [argv for argv in run.started if is_builder(argv)]


def is_builder(argv: list[str]) -> bool:
    words = {os.path.basename(word) for word in argv[:4]}
    return bool(words & BUILDERS) or any("rattler" in word or "venv" in word.split(".") or "ensurepip" in word for word in argv[:4])


class TestLife:
    def test_check_mode_on_a_clean_machine_succeeds_and_leaves_nothing_on_disk(self, life: Life) -> None:
        assert life.foretold.status == 0, life.foretold.output
        assert life.left_by_check_mode == []

    def test_check_mode_foretells_the_stages_and_objects_of_the_real_run(self, life: Life) -> None:
        real = life.first.ok()
        assert life.foretold.stage_actions() == real.stage_actions()
        assert life.foretold.actions == real.actions
        assert [each["name"] for each in life.foretold.host["stages"]] == [name for name in STAGES if name != "health"]
        assert [each["name"] for each in real.host["stages"]] == list(STAGES)
        assert real.changed > 0

    def test_diff_shows_the_program_and_the_packages(self, life: Life) -> None:
        for run in (life.foretold, life.first):
            assert f"[program:{life.worker.name}@1]" in run.output
        # A solver's choice cannot be foretold, and is said to be unknown
        assert "packages: unknown until solved" in life.foretold.output
        assert "grpcio" not in life.foretold.output
        assert "grpcio" in life.first.output

    def test_both_instances_answer(self, life: Life) -> None:
        assert [life.worker.ask(index)["instance"] for index in (0, 1)] == ["0", "1"]
        assert life.worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_second_run_changes_nothing_and_starts_no_builder(self, life: Life) -> None:
        before, running = digest(life.place.data), processes(life.worker)
        second = life.worker.traced("deploy").ok()
        assert (second.changed, second.actions) == (0, [])
        assert differences(before, digest(life.place.data)) == []
        assert processes(life.worker) == running
        assert builders(second) == []

    def test_the_trace_of_a_first_run_does_show_the_builders(self, life: Life) -> None:
        other = life.place.worker(life.source, worker_packages=["ew-lib"], worker_env_name="other")
        run = other.traced("deploy", worker_auto_start=False)
        assert builders(run), run.started

    def test_check_mode_on_a_converged_machine_tells_no_action(self, life: Life) -> None:
        before = digest(life.place.data)
        run = life.worker.run("deploy", check=True).ok()
        assert (run.changed, run.actions) == (0, [])
        assert differences(before, digest(life.place.data)) == []

    def test_check_mode_foretells_a_change_of_code_packages_and_settings(self, life: Life) -> None:
        (life.source / "worker" / "version.py").write_text("CODE_VERSION = '2'\n")
        change: Data = {"worker_packages": ["ew-lib"], "worker_env": {"GREETING": "hello"}}
        before, running = digest(life.place.data), processes(life.worker)
        foretold = life.worker.run("deploy", check=True, **change).ok()
        assert differences(before, digest(life.place.data)) == []
        assert processes(life.worker) == running
        assert "GREETING" in foretold.output

        real = life.worker.run("deploy", **change).ok()
        assert "ew-lib" in real.output
        assert foretold.stage_actions() == real.stage_actions()
        assert foretold.actions == real.actions
        assert [life.worker.ask(index)["code_version"] for index in (0, 1)] == ["2", "2"]

    def test_uninstall_with_purge_leaves_nothing(self, life: Life) -> None:
        names = sorted(each.name for each in (life.place.root / "workers").iterdir())
        for name in names:
            run = life.worker.run("uninstall", worker_name=name, worker_purge=True).ok()
            assert run.changed > 0
        assert left_in(life.place.data) == []
        assert processes_below(life.place.data) == []
        again = life.worker.run("uninstall", worker_purge=True).ok()
        assert again.changed == 0
        assert left_in(life.place.data) == []


def differences(before: dict[str, t.Any], after: dict[str, t.Any]) -> list[str]:
    """The paths that are not the same."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name) and not changes_by_itself(name))


def changes_by_itself(name: str) -> bool:
    """What a worker writes while it runs, whoever looks at it."""
    return pathlib.PurePosixPath(name).match("workers/*/logs/*")
