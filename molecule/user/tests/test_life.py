# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The life of a worker whose units are an ordinary account's, from clean hosts to clean hosts."""

from __future__ import annotations

import pathlib
import shlex
import typing as t

from tests.figures import tell
from tests.molecule.fleet import Fleet
from tests.molecule.left_behind import unexpected
from tests.molecule.plugin import Expect
from tests.shared import wait_until

HOME = "/home/alice"
ROOT = f"{HOME}/.local/share/ew_ai_worker"
ELSEWHERE = "/opt", "/etc", "/usr", "/srv", "/root/.config"
NAMES = ("0", "1")
LEFT_BEHIND = pathlib.Path(__file__).parents[1] / "left_behind.txt"

Rows = dict[str, dict[str, dict[str, t.Any]]]


def as_alice(fleet: Fleet, host: str, command: str, check: bool = True) -> str:
    """What a command of the account writes."""
    return fleet.on(host, f"runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) sh -c {shlex.quote(command)}", check)


def pids(fleet: Fleet) -> dict[str, list[int]]:
    """The process of each instance on every host, by the account's own systemd."""
    units = " ".join(f"ew-worker@{name}" for name in NAMES)
    return fleet.every(lambda host: [int(pid) for pid in as_alice(fleet, host, f"systemctl --user show --value --property=MainPID {units}").split()])


def rows(fleet: Fleet) -> Rows:
    """The instances of every host by name, as the status playbook tells them."""
    return {each["host"]: {row["name"]: row for row in each["instances"]} for each in fleet.play("status").report["hosts"]}


def test_an_account_that_may_not_linger_is_told_what_root_is_to_run(fleet: Fleet, expect: Expect) -> None:
    """There is no polkit on these hosts, which would let it."""
    run = fleet.play("deploy", limit=fleet.canary, status=2)
    failure = run.host(fleet.canary)["failure"]
    expect("does not linger: the failure", ("preflight", "no_linger"), (failure["stage"], failure["code"]))
    command = "sudo loginctl enable-linger alice"
    expect("does not linger: the remedy", True, command in failure["remedy"])
    fleet.every(lambda host: fleet.on(host, command))
    fleet.kept["clean"] = fleet.listing("/")


def test_check_mode_foretells_the_first_deploy(fleet: Fleet, expect: Expect) -> None:
    told = fleet.play("deploy", "--check", "--diff", worker_linger=False)
    expect("check: nothing below the root", dict.fromkeys(fleet.hosts, ""), fleet.every(lambda host: fleet.on(host, f"ls {ROOT} 2>/dev/null", check=False)))
    done = fleet.play("deploy")
    tell(f"first deploy to {len(fleet.hosts)} hosts in user scope: {done.seconds:.0f} s")
    for host in fleet.hosts:
        expect(f"actions of the check on {host}", done.actions(host), told.actions(host))
    expect("code that answers", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())


def test_nothing_of_it_is_roots(fleet: Fleet, expect: Expect) -> None:
    after = fleet.listing(*ELSEWHERE)
    for host in fleet.hosts:
        clean = {path: row for path, row in fleet.kept["clean"][host].items() if path.startswith(ELSEWHERE)}
        expect(f"paths that differ outside of the account's home on {host}", [], sorted(path for path, row in after[host].items() if clean.get(path) != row))
        expect(f"account of the worker on {host}", "alice", fleet.on(host, f"ps -o user= -p {fleet.infer(host)['pid']}"))
        expect(f"files of others below the root on {host}", "", fleet.on(host, f"find {ROOT} ! -user alice"))
        verified = as_alice(fleet, host, "systemd-analyze --user verify ew-worker@0.service ew-worker.target 2>&1", check=False)
        expect(f"complaints about the units on {host}", [], [line for line in verified.splitlines() if "ew-worker" in line])


def test_second_run_changes_nothing(fleet: Fleet, expect: Expect) -> None:
    before, files = pids(fleet), fleet.listing(HOME)
    run = fleet.play("deploy")
    tell(f"second run in user scope, which changes nothing: {run.seconds:.0f} s")
    expect("second run: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    expect("second run: processes", before, pids(fleet))
    after = fleet.listing(HOME)
    for host in fleet.hosts:
        differing = [path for path in {*files[host], *after[host]} if files[host].get(path) != after[host].get(path) and "/.ansible" not in path]
        expect(f"second run: paths that differ on {host}", [], differing)


def test_stop_start_and_restart(fleet: Fleet, expect: Expect) -> None:
    stopped = fleet.play("stop")
    expect("stopped", {"stopped"}, {row["state"] for host in fleet.hosts for row in stopped.host(host)["instances"]})
    fleet.play("start")
    before = pids(fleet)
    fleet.play("restart")
    after = pids(fleet)
    expect("restart: processes that stayed", [], [pid for host in fleet.hosts for pid in before[host] if pid in after[host]])
    expect("restart: code that answers", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())


def test_changed_code_serves_and_a_rollback_brings_the_old_one_back(fleet: Fleet, expect: Expect, source: pathlib.Path) -> None:
    (source / "worker" / "version.py").write_text('CODE_VERSION = "2"\n', encoding="utf-8")
    fleet.play("deploy")
    expect("after the change", {key: ["2", "2"] for key in fleet.hosts}, fleet.versions())
    fleet.play("rollback")
    expect("after the rollback", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())
    logs = fleet.play("logs", worker_log_lines=5).report["lines"]
    expect("logs: instances that have lines", {(host, name) for host in fleet.hosts for name in NAMES}, {(row["host"], row["instance"]) for row in logs})


def test_killed_worker_comes_back_and_a_reboot_brings_all_back_without_a_login(fleet: Fleet, expect: Expect) -> None:
    before = pids(fleet)[fleet.canary]
    fleet.on(fleet.canary, f"kill -KILL {before[0]}")
    wait_until(lambda: fleet.infer(fleet.canary)["pid"] != before[0], "another process answers")
    expect("after SIGKILL: the other instance", before[1], pids(fleet)[fleet.canary][1])
    fleet.every(fleet.reboot)
    expect("after the reboot: code that answers", {key: ["1", "1"] for key in fleet.hosts}, fleet.versions())
    found = rows(fleet)
    expect("after the reboot: state, enabled", {("running", True)}, {(row["state"], row["enabled"]) for host in fleet.hosts for row in found[host].values()})


def test_uninstall_leaves_the_hosts_as_they_were(fleet: Fleet, expect: Expect) -> None:
    fleet.play("uninstall", worker_purge=True)
    after = fleet.listing("/")
    for host in fleet.hosts:
        expect(f"paths that differ on {host} and are not in the list", [], unexpected(fleet.kept["clean"][host], after[host], LEFT_BEHIND))
        left = as_alice(fleet, host, "systemctl --user list-units --all --plain --no-legend 'ew-*'; pgrep -af 'worker[.]main'", check=False)
        expect(f"units and processes left on {host}", "", left)
