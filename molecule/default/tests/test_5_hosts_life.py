# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens to a host: a reboot, a gateway that comes and goes, a stranger on the port."""

from __future__ import annotations

import shlex

from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect
from tests.shared import wait_until

BOUND = "t1"
GATEWAY = "ew-gateway.service"
GATEWAY_UNIT = """\
[Unit]
Description=Gateway
[Service]
ExecStart=/bin/sleep infinity
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
"""
STRANGER = """\
import socket, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("0.0.0.0", 50071))
listener.listen()
time.sleep(3600)
"""


def test_after_a_reboot_the_same_instances_serve_without_ansible(fleet: Fleet, expect: Expect) -> None:
    host = "b2"
    before = {port: fleet.infer(host, port) for port in (50051, 50052)}
    fleet.reboot(host)
    for port, origin in before.items():
        after = fleet.infer(host, port)
        for name in ("generation", "instance", "release"):
            expect(f"after the reboot: {name} on port {port}", origin[name], after[name])
    expect("after the reboot: the second worker, which was stopped", "inactive", fleet.on(host, "systemctl is-active ew-second@0.service", check=False))
    expect("after the reboot: failed units", "", fleet.on(host, "systemctl list-units --failed --plain --no-legend 'ew-*'"))


def runs(fleet: Fleet) -> list[str]:
    """The instances of the bound worker that run."""
    return [name for name, process in fleet.processes(BOUND).items() if process.pid]


def test_binding_to_a_gateway_restarts_nothing(fleet: Fleet, expect: Expect) -> None:
    fleet.on(BOUND, f"printf %s {shlex.quote(GATEWAY_UNIT)} > /etc/systemd/system/{GATEWAY} && systemctl daemon-reload && systemctl enable --now {GATEWAY}")
    before = fleet.processes(BOUND)
    run = fleet.play("deploy", limit=BOUND, worker_bind_to_unit=GATEWAY)
    expect("bound: successful", True, run.report["success"])
    expect("bound: processes", before, fleet.processes(BOUND))


def test_workers_stop_and_start_with_their_gateway(fleet: Fleet, expect: Expect) -> None:
    fleet.on(BOUND, f"systemctl stop {GATEWAY}")
    wait_until(lambda: runs(fleet) == [], "the workers have stopped with the gateway")
    expect("gateway stopped: workers that run", [], runs(fleet))
    fleet.on(BOUND, f"systemctl start {GATEWAY}")
    expect("gateway started: answered by", ["0", "1"], [fleet.infer(BOUND, port)["instance"] for port in (50051, 50052)])


def test_workers_go_and_come_back_when_their_gateway_crashes(fleet: Fleet, expect: Expect) -> None:
    before = fleet.processes(BOUND)
    fleet.on(BOUND, f"kill -KILL $(systemctl show --value --property=MainPID {GATEWAY})")
    wait_until(
        lambda: all(process.pid not in (0, before[name].pid) for name, process in fleet.processes(BOUND).items()), "there are new processes after the crash"
    )
    expect("gateway crashed: answered by", ["0", "1"], [fleet.infer(BOUND, port)["instance"] for port in (50051, 50052)])
    expect("gateway crashed: the gateway", "active", fleet.on(BOUND, f"systemctl is-active {GATEWAY}"))


def test_strangers_that_share_the_port_are_named_before_anything_is_changed(fleet: Fleet, expect: Expect) -> None:
    host = fleet.canary
    for number in (1, 2):
        fleet.on(host, f"systemd-run --quiet --collect --unit=stranger-{number} python3 -c {shlex.quote(STRANGER)}")
    wait_until(lambda: fleet.on(host, "ss -Hltn 'sport = :50071'").count("50071") == 2, "both strangers listen")
    pids = [fleet.on(host, f"systemctl show --value --property=MainPID stranger-{number}") for number in (1, 2)]
    before = fleet.listing("/opt", "/etc")[host]
    run = fleet.play("deploy", limit=host, status=2, worker_name="ew-third", worker_count=1, worker_port=50071)
    failure = run.host(host)["failure"]
    expect("stranger on the port: stage of the failure", "preflight", failure["stage"])
    expect("stranger on the port: both pids are named", [True, True], [f"{pid}" in failure["message"] for pid in pids])
    expect("stranger on the port: the command is named", True, "python3 -c import socket" in failure["message"])
    after = fleet.listing("/opt", "/etc")[host]
    expect("stranger on the port: paths that differ", [], sorted(path for path in {*before, *after} if before.get(path) != after.get(path)))
    fleet.on(host, "systemctl stop stranger-1 stranger-2")
