# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker on hosts that cannot begin a connection to anywhere: deployed from a bundle, built anew, and brought back."""

from __future__ import annotations

import typing as t

from tests.figures import tell
from tests.molecule import wall
from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect
from tools.checkout import CACHE

ROOT = "/opt/ew_ai_worker"
# Names, the nearest machine, and one far away, in every way that an installer would try.
PROBE = """
import contextlib, socket
for place in (("192.0.2.1", 443), (%r, 9)):
    with contextlib.suppress(OSError):
        socket.create_connection(place, timeout=2)
with contextlib.suppress(OSError):
    socket.getaddrinfo("pypi.org", 443)
"""


def generations(fleet: Fleet) -> dict[str, t.Any]:
    """The number of the generation that answers on each host."""
    return fleet.every(lambda host: fleet.infer(host)["generation"])


def environments(fleet: Fleet) -> dict[str, str]:
    """Where the link of the environment leads on each host."""
    return fleet.every(lambda host: fleet.on(host, f"readlink {ROOT}/envs/ew_ai_worker"))


def test_the_bundle_is_made_on_the_controller(fleet: Fleet, expect: Expect) -> None:
    wall.build(fleet)
    packages = str(CACHE / "host-packages" / "wheels")
    kept = str(CACHE / "bundle")
    made = fleet.play("bundle", worker_find_links=[packages], worker_offline=True, __worker_bundle_root=kept)
    tell(f"bundle of the example: {made.seconds:.0f} s, {(fleet.directory / 'worker.tar').stat().st_size / 1e6:.0f} MB")
    expect("hosts know nothing of it", dict.fromkeys(fleet.hosts, ""), fleet.every(lambda host: fleet.on(host, f"ls {ROOT} 2>/dev/null", check=False)))


def test_the_wall_counts(fleet: Fleet, expect: Expect) -> None:
    gateway = fleet.podman.network(fleet.group)[1]
    for host in fleet.hosts:
        fleet.on(host, f"python3 - <<'END'\n{PROBE % gateway}END")
    counted = wall.tried(fleet, reset=True)
    expect("wall: it counts at least one packet for each attempt", dict.fromkeys(fleet.hosts, True), {host: count >= 3 for host, count in counted.items()})


def test_the_first_deploy_asks_nobody(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("deploy", keep="first")
    tell(f"first deploy from the bundle to {len(fleet.hosts)} hosts behind a wall: {run.seconds:.0f} s")
    expect("first deploy: packets to anybody", dict.fromkeys(fleet.hosts, 0), wall.tried(fleet))
    expect("first deploy: answered by", dict.fromkeys(fleet.hosts, "1"), generations(fleet))
    for host in fleet.hosts:
        listed = fleet.on(host, f"ls {ROOT}/bundles")
        expect(f"bundle on {host}", True, f"bundle bundles/{listed} created" in run.actions(host))


def test_the_second_run_changes_nothing(fleet: Fleet, expect: Expect) -> None:
    files = fleet.listing(f"{ROOT}/bundles", f"{ROOT}/envs", f"{ROOT}/toolchain")
    run = fleet.play("deploy")
    expect("second run: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    expect("second run: actions", {host: [] for host in fleet.hosts}, {host: run.actions(host) for host in fleet.hosts})
    expect("second run: files are the same", True, files == fleet.listing(f"{ROOT}/bundles", f"{ROOT}/envs", f"{ROOT}/toolchain"))


def test_reinstall_and_rollback_without_a_route(fleet: Fleet, expect: Expect) -> None:
    before = environments(fleet)
    fleet.route(False)
    run = fleet.play("reinstall")
    tell(f"reinstall from the bundle: {run.seconds:.0f} s")
    after = environments(fleet)
    expect("reinstall: environments built anew", dict.fromkeys(fleet.hosts, True), {host: before[host] != after[host] for host in fleet.hosts})
    expect(
        "reinstall: bundles sent",
        {host: [] for host in fleet.hosts},
        {host: [act for act in run.actions(host) if act.startswith("bundle ")] for host in fleet.hosts},
    )
    reinstalled = generations(fleet)
    expect("reinstall: answered by another generation", dict.fromkeys(fleet.hosts, True), {host: reinstalled[host] != "1" for host in fleet.hosts})
    fleet.play("rollback")
    expect("rollback: answered with the environment of the first deploy", before, serving(fleet))
    expect("reinstall and rollback: packets to anybody", dict.fromkeys(fleet.hosts, 0), wall.tried(fleet))


def serving(fleet: Fleet) -> dict[str, str]:
    """The directory of the environment that the process which answers runs in, on each host."""

    def of(host: str) -> str:
        return fleet.on(host, f"cat /proc/{fleet.infer(host)['pid']}/cmdline").split("/envs/")[1].split("/")[0]

    return fleet.every(of)
