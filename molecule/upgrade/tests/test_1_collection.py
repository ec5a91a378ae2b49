# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The previous version of the collection deploys; then this one is installed, and whoever calls the workers notices nothing."""

from __future__ import annotations

import pytest

from tests.figures import tell
from tests.molecule import previous
from tests.molecule.fleet import Fleet
from tests.molecule.load import Load
from tests.molecule.plugin import Expect
from tools.checkout import COLLECTIONS

PORTS = (50051, 50052)


def test_the_previous_version_deploys(fleet: Fleet, expect: Expect) -> None:
    fleet.kept["clean"] = fleet.listing("/")
    if previous.obstacle():
        tell(f"this version deploys in the place of the previous one: {previous.obstacle()}")
        fleet.play("deploy")
    else:
        path = fleet.collections = previous.collections()
        try:
            run = fleet.play("deploy", "-vv")
        finally:
            fleet.collections = COLLECTIONS
        expect("previous version: its tasks were run, not ours", True, f"task path: {path}" in run.output)
        expect("previous version: none of ours", False, f"task path: {COLLECTIONS}" in run.output)
    expect("previous version: answered by", {host: ["1", "1"] for host in fleet.hosts}, fleet.versions())


@pytest.mark.skipif(bool(previous.obstacle()), reason=previous.obstacle())
def test_nothing_restarts_for_the_upgrade_alone(fleet: Fleet, expect: Expect) -> None:
    before = fleet.all_processes()
    with Load(fleet.addresses, PORTS) as load:
        run = fleet.play("deploy", keep="upgrade")
    tell(f"the collection's upgrade on {len(fleet.hosts)} hosts: {run.seconds:.0f} s, {load.answers()} calls answered meanwhile")
    expect("upgrade: processes", before, fleet.all_processes())
    moved = ("started", "stopped", "restarted")
    expect("upgrade: instances moved", {host: [] for host in fleet.hosts}, {host: moves(run.actions(host), moved) for host in fleet.hosts})
    expect("upgrade: calls lost", {}, {place: dict(seen.lost) for place, seen in load.seen.items() if seen.lost})
    expect("upgrade: origins of the answers to each caller", {1}, {len(seen.origins) for seen in load.seen.values()})
    for host in fleet.hosts:
        if run.actions(host):
            tell(f"what the upgrade did on {host}: {', '.join(run.actions(host))}")


def test_this_version_tells_what_the_previous_one_has_deployed(fleet: Fleet, expect: Expect) -> None:
    before = fleet.all_processes()
    report = fleet.play("status").report
    expect("status: initialized", True, report["initialized"])
    for host in report["hosts"]:
        told = {row["name"]: row["pid"] for row in host["instances"]}
        expect(f"status: processes on {host['host']}", {name: process.pid for name, process in before[host["host"]].items()}, told)
        expect(f"status: states on {host['host']}", {"running"}, {row["state"] for row in host["instances"]})


def moves(actions: list[str], words: tuple[str, ...]) -> list[str]:
    """Those actions on instances that end with one of the words."""
    return [action for action in actions if action.startswith("instance ") and action.endswith(words)]
