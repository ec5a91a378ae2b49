# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stop, start, restart, logs; what systemd does by itself; a second worker on the same host."""

from __future__ import annotations

import re
import typing as t

from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect
from tests.shared import wait_until

# A second worker on one of the hosts: it does not listen to SIGTERM.
HOST = "b2"
SECOND: dict[str, t.Any] = {
    "worker_name": "ew-second",
    "worker_count": 1,
    "worker_port": 50061,
    "worker_stop_timeout": 3,
    "worker_env": {"EW_TEST_IGNORE_SIGTERM": "1"},
    "worker_limits": {"memory": "600M", "tasks": 200},
    "worker_sandbox": "strict",
    "worker_writable_paths": ["/srv"],
    "worker_unit_overrides": {"Service": {"Nice": 5}},
}
SECOND_UNIT = {"MemoryDenyWriteExecute": "yes", "MemoryMax": str(600 << 20), "Nice": "5", "TasksMax": "200"}
UNIT = "ew-second@0.service"


def test_disabled_does_nothing_and_says_so(fleet: Fleet, expect: Expect) -> None:
    before = fleet.all_processes()
    run = fleet.play("deploy", worker_enabled=False)
    expect("worker_enabled=false: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    expect("worker_enabled=false: says so", True, "worker_enabled is false: nothing is done" in run.output)
    expect("worker_enabled=false: processes as before", True, fleet.all_processes() == before)
    status = fleet.play("status", limit=fleet.canary, worker_enabled=False).report
    expect("worker_enabled=false: status", (False, False), (status["enabled"], status["initialized"]))


def test_stop_is_a_clean_end_that_lasts(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("stop")
    for host in fleet.hosts:
        expect(f"stopped: state of the instances on {host}", ["stopped"] * 2, [each["state"] for each in run.host(host)["instances"]])
        for name, wanted in (("Result", "success"), ("ExecMainStatus", "0"), ("UnitFileState", "disabled")):
            expect(f"stopped: {name} on {host}", wanted, fleet.on(host, f"systemctl show --value --property={name} ew-worker@0.service"))


def test_start_serves_the_same_generation_again(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("start")
    expect("started: successful", True, run.report["success"])
    expect(
        "started: who answers",
        dict.fromkeys(fleet.hosts, ("1", "0")),
        {host: (origin["generation"], origin["instance"]) for host, origin in fleet.every(fleet.infer).items()},
    )


def test_restart_goes_one_by_one_and_tells_the_gap(fleet: Fleet, expect: Expect) -> None:
    before = fleet.all_processes()
    run = fleet.play("restart")
    after = fleet.all_processes()
    for host in fleet.hosts:
        expect(
            f"restart: instances with a new process on {host}", ["0", "1"], [name for name in after[host] if after[host][name].pid != before[host][name].pid]
        )
        expect(f"restart: the first serves before the second goes on {host}", True, one_by_one(fleet, host))
        assert 0 < run.host(host)["gapMs"] < run.host(host)["durationMs"], run.host(host)["gapMs"]
    canary, others = after[fleet.canary], [after[host] for host in fleet.hosts if host != fleet.canary]
    expect("restart: the canary goes first", True, all(canary["1"].started < other["0"].started for other in others))


def one_by_one(fleet: Fleet, host: str) -> bool:
    """By the journal: instance 0 says that it serves before instance 1 is told to stop for the last time."""
    lines = fleet.on(host, "journalctl --no-pager --output=short-unix --unit ew-worker@0 --unit ew-worker@1").splitlines()
    serving = max(number for number, line in enumerate(lines) if "ew-worker@0" in line and "serving ew.ai.v1" in line)
    stopping = max(number for number, line in enumerate(lines) if "Stopping ew-worker@1" in line)
    return serving < stopping


def test_killed_worker_comes_back_by_itself_and_is_counted(fleet: Fleet, expect: Expect) -> None:
    before = fleet.processes("t1")
    fleet.on("t1", f"kill -KILL {before['0'].pid}")
    wait_until(lambda: fleet.processes("t1")["0"].pid not in (0, before["0"].pid), "there is a new process after SIGKILL")
    after = fleet.processes("t1")
    expect("after SIGKILL: answered by", after["0"].pid, fleet.infer("t1")["pid"])
    expect("after SIGKILL: restarts counted", (before["0"].restarts + 1, before["1"].restarts), (after["0"].restarts, after["1"].restarts))
    expect("after SIGKILL: the other instance", before["1"], after["1"])
    row = fleet.play("status", limit="t1").report["hosts"][0]["instances"][0]
    expect("after SIGKILL: the status counts it", after["0"].restarts, row["restarts"])


def test_logs_of_all_instances_are_merged_by_time(fleet: Fleet, expect: Expect) -> None:
    lines = fleet.play("logs", worker_log_lines=20).report["lines"]
    expect(
        "logs: hosts and instances",
        {(host, name) for host in fleet.hosts for name in "01"},
        {(line["host"], line["instance"].rpartition("@")[2]) for line in lines},
    )
    times = [line["time"] for line in lines]
    expect("logs: in the order of time", True, times == sorted(times))


def test_without_auto_start_a_second_worker_is_installed_and_not_started(fleet: Fleet, expect: Expect) -> None:
    fleet.kept["first worker"] = (
        fleet.processes(HOST),
        fleet.on(HOST, "cat /etc/systemd/system/ew-worker*.target /etc/systemd/system/ew-worker@.service /etc/systemd/system/ew-worker@?.service.d/*"),
    )
    run = fleet.play("deploy", limit=HOST, worker_auto_start=False, **SECOND)
    expect("worker_auto_start=false: successful", True, run.report["success"])
    expect(
        "worker_auto_start=false: active, at boot",
        ["inactive", "disabled"],
        fleet.on(HOST, f"systemctl is-active {UNIT}; systemctl is-enabled {UNIT}", check=False).split(),
    )


def test_two_workers_on_a_host_do_not_see_each_other(fleet: Fleet, expect: Expect) -> None:
    fleet.play("start", limit=HOST, **SECOND)
    expect("second worker: answers", "0", fleet.infer(HOST, 50061)["instance"])
    properties = fleet.on(HOST, f"systemctl show {UNIT} --property=ReadWritePaths,{','.join(SECOND_UNIT)}")
    shown = dict(line.split("=", 1) for line in properties.splitlines())
    expect("second worker: what it may write besides its own directories", True, "/srv" in shown.pop("ReadWritePaths").split())
    expect("second worker: limits, sandbox and overrides of its unit", SECOND_UNIT, shown)
    processes, units = fleet.kept["first worker"]
    expect("first worker: processes as before", processes, fleet.processes(HOST))
    expect(
        "first worker: units as before",
        True,
        fleet.on(HOST, "cat /etc/systemd/system/ew-worker*.target /etc/systemd/system/ew-worker@.service /etc/systemd/system/ew-worker@?.service.d/*") == units,
    )
    rows = fleet.play("status", limit=HOST, worker_name="ew-second").report["hosts"][0]["instances"]
    expect("second worker: instances that its status shows", ["ew-second@0"], [each["id"] for each in rows])


def test_worker_that_ignores_sigterm_is_killed_after_its_stop_timeout(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("stop", limit=HOST, **SECOND)
    expect("ignores SIGTERM: stopped all the same, and told", True, run.report["success"] and "was killed" in run.output)
    journal = fleet.on(HOST, f"journalctl --no-pager --output=short-unix --unit {UNIT}").splitlines()
    stopping = moment(journal, "Stopping ")
    killed = moment(journal, "Killing process .* with signal SIGKILL")
    expect("ignores SIGTERM: systemd waited", True, any("State 'stop-sigterm' timed out" in line for line in journal))
    expect("ignores SIGTERM: 2.9 to 10 s from SIGTERM to SIGKILL", True, 2.9 <= killed - stopping < 10)
    expect("ignores SIGTERM: the unit's state afterwards", "inactive", fleet.on(HOST, f"systemctl is-active {UNIT}", check=False))
    expect("ignores SIGTERM: the first worker", fleet.kept["first worker"][0], fleet.processes(HOST))


def moment(journal: list[str], pattern: str) -> float:
    """Seconds since the epoch of the last line with the pattern."""
    return float([line for line in journal if re.search(pattern, line)][-1].split()[0])
