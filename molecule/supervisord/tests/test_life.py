# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a worker on hosts without systemd, from clean hosts to clean hosts."""

from __future__ import annotations

import pathlib
import typing as t

from tests.figures import tell
from tests.molecule.fleet import Fleet
from tests.molecule.left_behind import unexpected
from tests.molecule.plugin import Expect
from tests.shared import wait_until

ROOT = "/opt/ew_ai_worker"
NAMES = ("0", "1")
LEFT_BEHIND = pathlib.Path(__file__).parents[1] / "left_behind.txt"


def rows(fleet: Fleet) -> dict[str, dict[str, dict[str, t.Any]]]:
    """The instances of every host by name, as the status playbook tells them."""
    report = fleet.play("status").report
    return {each["host"]: {row["name"]: row for row in each["instances"]} for each in report["hosts"]}


def pids(fleet: Fleet) -> dict[str, dict[str, tuple[int, str]]]:
    """Pid and start time of every process."""
    return {host: {name: (row["pid"], row["started_at"]) for name, row in found.items()} for host, found in rows(fleet).items()}


def supervisord(fleet: Fleet, host: str) -> str:
    """Pid of the worker's supervisord."""
    return fleet.on(host, f"cat {ROOT}/workers/ew-worker/supervisord/supervisord.pid")


def test_check_mode_foretells_the_first_deploy(fleet: Fleet, expect: Expect) -> None:
    fleet.kept["clean"] = fleet.listing("/")
    told = fleet.play("deploy", "--check", "--diff")
    expect("check: nothing below the root", dict.fromkeys(fleet.hosts, ""), fleet.every(lambda host: fleet.on(host, f"ls {ROOT} 2>/dev/null", check=False)))
    done = fleet.play("deploy")
    tell(f"first deploy to {len(fleet.hosts)} hosts without systemd: {done.seconds:.0f} s")
    for host in fleet.hosts:
        expect(
            f"supervisor found on {host}",
            "supervisord",
            done.host(host)["instances"]
            and fleet.on(host, "cat /proc/$(pgrep -f supervisor.supervisord | head -1)/cmdline | tr '\\0' ' ' | grep -o 'supervisord' | head -1"),
        )
        expect(f"actions of the check on {host}", done.actions(host), told.actions(host))
    expect("code that answers", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())


def test_instances_run_as_the_service_account(fleet: Fleet, expect: Expect) -> None:
    for host in fleet.hosts:
        expect(f"account on {host}", "ew-worker", fleet.on(host, f"stat -c %U /proc/{fleet.infer(host)['pid']}"))
        expect(
            f"writable by it below the root on {host}",
            "",
            fleet.on(host, f"find {ROOT} -user ew-worker -not -path '*/data/*' -not -path '*/logs*' -not -path '*/supervisord/instances/*' -not -type l"),
        )


def test_second_run_changes_nothing(fleet: Fleet, expect: Expect) -> None:
    before, files = pids(fleet), fleet.listing(ROOT, "/etc")
    with fleet.watched() as seen:
        run = fleet.play("deploy")
    tell(f"second run, which changes nothing: {run.seconds:.0f} s")
    expect("second run: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    expect("second run: processes", before, pids(fleet))
    after = fleet.listing(ROOT, "/etc")
    for host in fleet.hosts:
        # Their own log grows when somebody asks them for their health.
        differing = [path for path in {*files[host], *after[host]} if files[host].get(path) != after[host].get(path) and "/logs" not in path]
        expect(f"second run: paths that differ on {host}", [], differing)
        expect(f"second run: installers on {host}", [], [each for each in seen[host] if " -m pip" in each or "/uv " in each])


def test_stop_start_and_restart(fleet: Fleet, expect: Expect) -> None:
    stopped = fleet.play("stop")
    expect("stopped", {"stopped"}, {row["state"] for host in fleet.hosts for row in stopped.host(host)["instances"]})
    fleet.play("start")
    before = pids(fleet)
    fleet.play("restart")
    after = pids(fleet)
    expect("restart: new processes", 4, sum(before[host][name] != after[host][name] for host in fleet.hosts for name in NAMES))
    expect("restart: code that answers", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())


def test_changed_code_serves_and_a_rollback_brings_the_old_one_back(fleet: Fleet, expect: Expect, source: pathlib.Path) -> None:
    (source / "worker" / "version.py").write_text('CODE_VERSION = "2"\n', encoding="utf-8")
    fleet.play("deploy")
    expect("after the change", {key: ["2", "2"] for key in fleet.hosts}, fleet.versions())
    fleet.play("rollback")
    expect("after the rollback", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())
    refused = fleet.play("deploy", status=2)
    expect("the same source again", "rolled_back", refused.host(fleet.canary)["failure"]["code"])
    fleet.play("deploy", worker_force=True)
    expect("forced", {key: ["2", "2"] for key in fleet.hosts}, fleet.versions())


def test_killed_worker_comes_back_by_itself_and_is_counted(fleet: Fleet, expect: Expect) -> None:
    host = fleet.canary
    before = rows(fleet)[host]
    fleet.on(host, f"kill -KILL {before['0']['pid']}")
    wait_until(lambda: fleet.infer(host)["pid"] != before["0"]["pid"], "another process answers")
    after = rows(fleet)[host]
    expect("after SIGKILL: restarts", before["0"]["restarts"] + 1, after["0"]["restarts"])
    expect("after SIGKILL: the other instance", before["1"]["pid"], after["1"]["pid"])


def test_deploy_after_supervisord_was_killed_leaves_one_process_an_instance(fleet: Fleet, expect: Expect) -> None:
    host = fleet.canary
    fleet.on(host, f"kill -KILL {supervisord(fleet, host)}")
    fleet.play("deploy")
    expect("one process an instance", "2", fleet.on(host, "pgrep -fc 'worker[.]main'"))
    expect("under a new supervisord", {"running"}, {row["state"] for row in rows(fleet)[host].values()})
    expect("code that answers", ["2", "2"], fleet.versions()[host])


def test_uninstall_leaves_the_hosts_as_they_were(fleet: Fleet, expect: Expect) -> None:
    fleet.play("uninstall", worker_purge=True)
    after = fleet.listing("/")
    for host in fleet.hosts:
        expect(f"paths that differ on {host} and are not in the list", [], unexpected(fleet.kept["clean"][host], after[host], LEFT_BEHIND))
        expect(f"processes left on {host}", "0", fleet.on(host, "pgrep -fc 'worker[.]main|supervisord'", check=False))
        expect(f"accounts left on {host}", "", fleet.on(host, "getent passwd ew-worker ew-worker-build; getent group ew-worker ew-worker-build", check=False))
