# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next release of the worker, and the way back to a generation that the previous version of the collection has made, under load."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.figures import tell
from tests.molecule.fleet import Fleet, Run
from tests.molecule.load import Load
from tests.molecule.plugin import Expect

PORTS = (50051, 50052)
# The gap of one instance is its own stop and start; the busiest machine needs seconds for them.
LONGEST_GAP = 30.0


def tell_gaps(fleet: Fleet, what: str, load: Load) -> None:
    """What whoever calls one instance, or either of the two, had to wait."""
    one = max(load.gap((host, port)) for host in fleet.hosts for port in PORTS)
    either = max(load.gap(*((host, port) for port in PORTS)) for host in fleet.hosts)
    tell(f"{what}, of {load.answers()} answers: one instance was silent for {one * 1000:.0f} ms at most, both of a host for {either * 1000:.0f} ms")


def expect_one_move(fleet: Fleet, expect: Expect, what: str, load: Load, old: str, new: str) -> None:
    """Every caller saw the old version, then the new one, each from one process of one generation; and never a host without an instance."""
    tell_gaps(fleet, what, load)
    for (host, port), seen in load.seen.items():
        expect(f"{what}: versions in the answers of {host}:{port}", [old, new], seen.versions)
        expect(f"{what}: processes and generations behind them at {host}:{port}", (2, 2), tuple(len({*each}) for each in processes(load, host, port)))
        expect(f"{what}: gap of {host}:{port} is short", True, load.gap((host, port)) < LONGEST_GAP)
    for host in fleet.hosts:
        both, single = load.gap(*((host, port) for port in PORTS)), min(load.gap((host, port)) for port in PORTS)
        expect(f"{what}: {host} had an instance that served all the while", True, both < max(1.0, single))


def processes(load: Load, host: str, port: int) -> tuple[list[int], list[str]]:
    """The pids and the generations that answered a caller."""
    origins = load.seen[host, port].origins
    return [origin.pid for origin in origins], [origin.generation for origin in origins]


def test_the_next_release_under_load(fleet: Fleet, expect: Expect, source: pathlib.Path) -> None:
    (source / "worker" / "version.py").write_text('CODE_VERSION = "2"\n', encoding="utf-8")
    with fleet.watched() as seen, Load(fleet.addresses, PORTS) as load:
        fleet.play("deploy", "-vvv", "--diff", keep="next")
    fleet.kept["commands"] = seen
    expect_one_move(fleet, expect, "next release", load, "1", "2")


@pytest.fixture(scope="module")
def first(fleet: Fleet) -> int:
    """The oldest generation: the previous version of the collection has made it."""
    state = json.loads(fleet.on(fleet.canary, "cat /opt/ew_ai_worker/workers/ew-worker/state.json"))
    return min(int(record["number"]) for record in state["generations"])


def test_rollback_to_a_generation_of_the_previous_version_under_load(fleet: Fleet, expect: Expect, first: int) -> None:
    with Load(fleet.addresses, PORTS) as load:
        run: Run = fleet.play("rollback", worker_rollback_to=str(first))
    expect_one_move(fleet, expect, "rollback", load, "2", "1")
    expect("rollback: generation", dict.fromkeys(fleet.hosts, first), {host: run.host(host)["generation"] for host in fleet.hosts})
