# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings: switches, instances that come, go or change while the others run on, and two workers on one machine."""

from __future__ import annotations

import pytest

from tests.integration.clean_room import left_in
from tests.integration.deploy_driver import Data, Place, Worker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-settings")]


def test_disabled_does_nothing_and_says_so(clean_place: Place) -> None:
    worker = clean_place.worker()
    run = worker.run("deploy", worker_enabled=False).ok()
    assert run.changed == 0
    assert "worker_enabled is false: nothing is done on localhost" in run.output
    assert left_in(clean_place.data) == []
    again = worker.begin("deploy", environ={"EW_SELF_DEPLOY_ENABLED": "false"}).end().ok()
    assert "worker_enabled is false" in again.output
    assert left_in(clean_place.data) == []


def test_without_auto_start_it_is_installed_and_neither_started_nor_enabled(place: Place) -> None:
    worker = place.worker(worker_auto_start=False)
    foretold = worker.run("deploy", check=True).ok()
    run = worker.deploy()
    assert foretold.actions == run.actions
    assert [step["message"] for step in run.report["steps"] if step["name"] == "start_worker"] == ["Worker installed, not started"]
    (row,) = worker.rows().values()
    assert (row["state"], row["enabled"], row["pid"]) == ("stopped", False, None)
    assert worker.run("start", worker_auto_start=True).ok().changed > 0
    assert worker.ask()["generation"] == "1"


def test_two_workers_do_not_see_each_other(place: Place) -> None:
    one, other = place.worker(), place.worker()
    one.deploy()
    other.deploy()
    pid = one.ask()["pid"]
    assert other.ask()["pid"] != pid
    assert list(one.rows()) == ["0"]
    taken = other.run("deploy", worker_port=one.port)
    assert taken.failure["code"] == "port_in_use"
    assert f"pid {pid}" in taken.failure["message"]
    other.run("uninstall", worker_purge=True).ok()
    assert not other.home.exists()
    assert one.ask()["pid"] == pid
    assert one.deploy().changed == 0


class Three:
    """A worker of instances that are listed one by one."""

    def __init__(self, place: Place) -> None:
        self.worker: Worker = place.worker()
        self.listed: dict[str, Data] = {name: {"name": name, "port": self.worker.port + offset} for offset, name in enumerate(("a", "b", "c"))}

    def deploy(self, *names: str) -> None:
        """Deploy just these; the report must show what each answers."""
        self.names = names
        run = self.worker.deploy(worker_instances=[self.listed[name] for name in names])
        assert [row["name"] for row in run.host["instances"]] == list(names)

    def pids(self) -> dict[str, int]:
        """What answers, by the instance's own word."""
        found = [self.worker.ask(self.listed[name]["port"] - self.worker.port) for name in self.names]
        return {origin["instance"]: origin["pid"] for origin in found}


@pytest.fixture(scope="module")
def three(place: Place) -> Three:
    made = Three(place)
    made.deploy("a", "b")
    return made


class TestInstances:
    def test_one_more_leaves_the_others_running(self, three: Three) -> None:
        before = three.pids()
        three.deploy("a", "b", "c")
        after = three.pids()
        assert set(after) == {"a", "b", "c"}
        assert {name: after[name] for name in before} == before

    def test_a_setting_of_one_restarts_that_one_alone(self, three: Three) -> None:
        before = three.pids()
        three.listed["b"]["env"] = {"GREETING": "hello"}
        three.deploy("a", "b", "c")
        after = three.pids()
        assert [name for name in "abc" if after[name] != before[name]] == ["b"]

    def test_one_less_is_gone_and_the_others_run_on(self, three: Three) -> None:
        before = three.pids()
        three.deploy("b", "c")
        assert three.pids() == {name: before[name] for name in ("b", "c")}
        assert list(three.worker.rows()) == ["b", "c"]
        assert three.worker.endpoints() == {"b": "serving", "c": "serving"}
