# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The end: what uninstalling leaves on a host."""

from __future__ import annotations

import pathlib

from tests.molecule.fleet import Fleet
from tests.molecule.left_behind import unexpected
from tests.molecule.plugin import Expect

LEFT_BEHIND = pathlib.Path(__file__).parents[1] / "left_behind.txt"


def test_uninstalling_one_worker_leaves_the_other_alone(fleet: Fleet, expect: Expect) -> None:
    before = fleet.processes("b2")
    fleet.play("uninstall", limit="b2", worker_name="ew-second", worker_purge=True)
    # Locks stay as long as the root: one removed under a process that waits for it would be held twice.
    expect("second worker: its files", "", fleet.on("b2", "find /etc /opt -name '*ew-second*' -not -path '*/locks/*'"))
    expect("first worker: processes", before, fleet.processes("b2"))
    expect("first worker: accounts", 2, len(fleet.on("b2", "getent passwd ew-worker ew-worker-build").splitlines()))
    assert fleet.infer("b2")["instance"] == "0"


def test_uninstall_with_purge_leaves_what_the_list_says_and_nothing_else(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("uninstall", worker_purge=True)
    expect("uninstalled: successful", True, run.report["success"])
    fleet.on("t1", "systemctl disable --now ew-gateway && rm /etc/systemd/system/ew-gateway.service && systemctl daemon-reload")
    after = fleet.listing("/")
    for host in fleet.hosts:
        expect(f"uninstalled: paths that differ on {host} and are not in the list", [], unexpected(fleet.kept["clean"][host], after[host], LEFT_BEHIND))
        expect(
            f"uninstalled: units and processes on {host}",
            "",
            fleet.on(host, "systemctl list-units --all --plain --no-legend 'ew-*'; pgrep -af 'worker[.]main'", check=False),
        )


def test_uninstall_again_has_nothing_to_do(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("uninstall", worker_purge=True)
    expect("uninstalled again: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    status = fleet.play("status").report
    expect("uninstalled: initialized", False, status["initialized"])
