# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""This version removes all that the previous one has made."""

from __future__ import annotations

import pathlib

from tests.molecule.fleet import Fleet
from tests.molecule.left_behind import unexpected
from tests.molecule.plugin import Expect

LEFT_BEHIND = pathlib.Path(__file__).parents[1] / "left_behind.txt"


def test_uninstall_leaves_nothing_of_either_version(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("uninstall", worker_purge=True)
    expect("uninstalled: successful", True, run.report["success"])
    after = fleet.listing("/")
    for host in fleet.hosts:
        expect(f"uninstalled: paths that differ on {host} and are not in the list", [], unexpected(fleet.kept["clean"][host], after[host], LEFT_BEHIND))
        left = fleet.on(host, "systemctl list-units --all --plain --no-legend 'ew-*'; pgrep -af 'worker[.]main'", check=False)
        expect(f"uninstalled: units and processes on {host}", "", left)
