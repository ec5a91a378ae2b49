# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several hosts in one play: the canary and those behind it, the gateway that asks, and where a variable comes from."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.plugin_utils.report import UNREACHED
from tests.integration.deploy_driver import ENDS_AT_ONCE, Data, Fleet, Place, Run

pytestmark = pytest.mark.slow

Make = t.Callable[..., Fleet]


@pytest.fixture
def fleet(clean_place: Place) -> t.Iterator[Make]:
    """Makes a fleet that deploys version 1 of a worker directory in ``clean_place``; its processes end with the test."""
    made: list[Fleet] = []

    def make(*hosts: str, **others: t.Sequence[str]) -> Fleet:
        made.append(Fleet(clean_place.copy("fleet", version="1"), *hosts, **others))
        return made[-1]

    yield make
    for each in made:
        each.end()


def write_version(place: Place, version: str) -> None:
    """Change the worker directory."""
    (place.home / "sources/fleet/worker/version.py").write_text(f"CODE_VERSION = {version!r}\n")


def outcome(run: Run) -> dict[str, tuple[bool, t.Any, t.Any]]:
    """Of each host of the report: whether it succeeded, the generation that was meant, and what was restored."""
    return {each["host"]: (each["success"], each["generation"], (each["failure"] or {}).get("restored")) for each in run.report["hosts"]}


def test_a_host_behind_the_canary_that_fails(fleet: Make, clean_place: Place) -> None:
    """Those of its batch go on to their end, those behind it are never begun, and the report tells which."""
    hosts = fleet("a", "b", "c", "d")
    hosts.run("deploy").ok()
    assert hosts.versions() == {"a": "1", "b": "1", "c": "1", "d": "1"}
    pid = hosts.workers["d"].ask()["pid"]
    write_version(clean_place, "2")
    hosts.hosts["b"]["worker_env"] = {ENDS_AT_ONCE: "3"}
    run = hosts.run("deploy", worker_serial=[1, 2, 1])
    assert run.status == 2
    assert hosts.versions() == {"a": "2", "b": "1", "c": "2", "d": "1"}
    assert hosts.workers["d"].ask()["pid"] == pid
    assert outcome(run) == {"a": (True, 2, None), "b": (False, 2, "Generation 1 serves again."), "c": (True, 2, None), "d": (False, None, None)}
    assert (run.report["success"], run.report["message"]) == (False, "2 of 4 hosts succeeded; failed: b; not reached: d")
    assert "FAILURE: 2 of 4 hosts succeeded; failed: b; not reached: d" in run.output


def test_a_worker_that_only_the_host_itself_reaches(fleet: Make) -> None:
    """The gateway asks over the network: who listens on loopback alone goes back to the generation before, unless that is accepted."""
    hosts = fleet("w", gateways=["gateway"])
    network: Data = {"worker_bind": "0.0.0.0", "worker_address": "127.0.0.2", "worker_health_interval": 0.5}
    run = hosts.run("deploy", **network).ok()
    assert re.search(r"Ask over the network\] \**\nok: \[w -> gateway", run.output), run.output
    worker = hosts.workers["w"]
    before = worker.ask()

    loopback = {**network, "worker_arguments": ["--port", "{port}", "--bind", "127.0.0.1"]}
    failure = (run := hosts.run("deploy", **loopback)).failure
    assert (failure["code"], failure["stage"]) == ("connection_refused", "health")
    assert failure["remedy"].startswith(UNREACHED)
    assert failure["restored"] == "Generation 1 serves again."
    assert f"127.0.0.2:{worker.port}" in failure["message"]
    assert re.search(r"fatal: \[w -> gateway", run.output)
    assert worker.ask()["generation"] == before["generation"]
    assert worker.endpoints() == {"0": "serving"}

    unasked = hosts.run("deploy", worker_health_from="none", **loopback).ok()
    assert "w -> gateway" not in unasked.output
    assert worker.ask()["generation"] != before["generation"]

    accepted = hosts.run("deploy", worker_health_on_failure="warn", **loopback).ok()
    assert f"Worker is NOT healthy, accepted as asked: {worker.name}@0 is refused" in accepted.output
    assert "[WARNING]" in accepted.output


def test_a_variable_of_the_inventory_wins_over_one_of_the_old_module(fleet: Make) -> None:
    hosts = fleet("told", "untold")
    hosts.hosts["told"].update(worker_enabled=True, worker_dir="/of/the/inventory", worker_env_name="inventory")
    for name in ("worker_port", "worker_dir"):
        del hosts.hosts["untold"][name]
    old = {
        "EW_SELF_DEPLOY_ENABLED": "false",
        "EW_WORKER_DIR": "/of/the/environment",
        "EW_CONDA_ENV": "environment",
        "EW_WORKER_PORT": "50999",
    }
    run = hosts.run("status", environ=old).ok()
    keys = ("enabled", "workerDir", "condaEnvName", "workerPort")
    assert {each["host"]: tuple(each[key] for key in keys) for each in run.report["hosts"]} == {
        "told": (True, "/of/the/inventory", "inventory", hosts.workers["told"].port),
        "untold": (False, "/of/the/environment", "environment", 50999),
    }
