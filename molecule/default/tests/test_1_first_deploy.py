# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first deploy, foretold by check mode, and the second, which changes nothing."""

from __future__ import annotations

import re

from tests.figures import tell
from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect

# What builds, solves or downloads, as the first word of a command or after `-m`.
INSTALLERS = re.compile(r"(^|/)(conda|mamba|micromamba|pip[0-9.]*|uv|apt-get|curl|wget|git)( |$)|-m (pip|ensurepip|venv|compileall)\b|rattler")
CHANGED = "/opt", "/etc", "/usr", "/srv", "/home"


def installers(commands: list[str]) -> list[str]:
    """Those commands that build, solve or download."""
    return [command for command in commands if INSTALLERS.search(" ".join(command.split()[:3]))]


def test_check_mode_on_clean_hosts_ends_well_and_changes_nothing(fleet: Fleet, expect: Expect) -> None:
    fleet.kept["clean"] = fleet.listing("/")
    before = fleet.listing(*CHANGED)
    run = fleet.play("deploy", "--check", "--diff", keep="check")
    expect("check on clean hosts: successful", True, run.report["success"])
    expect("check on clean hosts: files changed", {}, {host: [] for host, found in fleet.listing(*CHANGED).items() if found != before[host]})
    expect("diff shows the unit's command", True, "ExecStart=" in run.output)
    expect("diff shows the toolchain's packages", True, bool(re.search(r"^\+ +(?:- )?py-rattler==", run.output, re.MULTILINE)))
    expect("diff says what cannot be foretold", True, "packages: unknown until solved" in run.output)


def test_first_deploy_serves_on_every_host(fleet: Fleet, expect: Expect) -> None:
    with fleet.watched() as seen:
        run = fleet.play("deploy", "--diff", keep="first")
    tell(f"first deploy to {len(fleet.hosts)} hosts of 2 instances each: {run.seconds:.0f} s")
    expect("first deploy: successful", True, run.report["success"])
    expect("first deploy: code that answers", {host: ["1", "1"] for host in fleet.hosts}, fleet.versions())
    expect("first deploy: diff shows the environment's packages", True, bool(re.search(r"^\+.*numpy", run.output, re.MULTILINE)))
    # So that seeing none of them in the second run means something.
    for tool in ("pip", "uv"):
        expect(
            f"first deploy: {tool} was seen on every host",
            dict.fromkeys(fleet.hosts, True),
            {host: any(re.search(rf"(/|-m ){tool}( |$)", command) for command in commands) for host, commands in seen.items()},
        )


def test_canary_serves_before_the_others_begin(fleet: Fleet, expect: Expect) -> None:
    begun = {row["host"]: min(each["started_at"] for each in row["instances"]) for row in fleet.runs["first"].report["hosts"]}
    expect("first deploy: first host to start a worker", fleet.canary, min(begun, key=lambda host: begun[host]))
    tasks = re.findall(r"^(?:ok|changed): \[(\w+)", fleet.runs["first"].output, re.MULTILINE)
    expect(
        "first deploy: tasks of the canary after those of the others began",
        False,
        fleet.canary in tasks[tasks.index(next(host for host in tasks if host != fleet.canary)) :],
    )


def test_check_mode_foretold_what_the_first_deploy_did(fleet: Fleet, expect: Expect) -> None:
    for host in fleet.hosts:
        told, done = fleet.runs["check"].actions(host), fleet.runs["first"].actions(host)
        expect(f"actions of the check on {host}", done, told)
        stages = [[row["name"] for row in fleet.runs[name].host(host)["stages"] if row["name"] != "health"] for name in ("first", "check")]
        expect(f"stages of the check on {host}", stages[0], stages[1])


def test_env_files_and_git_never_arrive(fleet: Fleet, expect: Expect) -> None:
    for host in fleet.hosts:
        expect(
            f"what is in the release on {host}",
            "worker",
            fleet.on(host, "ls -A /opt/ew_ai_worker/releases/*/ | grep -vE '^(README.md|requirements.txt|generate.py|.workerignore)$'"),
        )
        expect(
            f"files with what .env holds on {host}", "", fleet.on(host, "grep -rlI 'never leaves the controller' /opt /root /tmp /var /srv /etc", check=False)
        )


def test_second_run_changes_nothing_starts_no_installer_and_needs_no_route(fleet: Fleet, expect: Expect) -> None:
    processes, files = fleet.all_processes(), fleet.listing("/opt/ew_ai_worker", "/etc")
    fleet.route(on=False)
    try:
        with fleet.watched() as seen:
            # It may download; it does not.
            run = fleet.play("deploy", worker_offline=False)
        tell(f"second run, which changes nothing: {run.seconds:.0f} s")
    finally:
        fleet.route(on=True)
    expect("second run: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
    expect("second run: actions", {host: [] for host in fleet.hosts}, {host: run.actions(host) for host in fleet.hosts})
    for host in fleet.hosts:
        expect(f"second run: installers, solvers and downloads on {host}", [], installers(seen[host]))
        assert any("python" in command for command in seen[host])
        expect(f"second run: processes on {host}", processes[host], fleet.processes(host))
    after = fleet.listing("/opt/ew_ai_worker", "/etc")
    for host in fleet.hosts:
        differing = sorted(path for path in {*files[host], *after[host]} if files[host].get(path) != after[host].get(path))
        expect(f"second run: paths of root, units and /etc that differ on {host}", [], differing)


def test_check_mode_on_converged_hosts_has_nothing_to_do(fleet: Fleet, expect: Expect) -> None:
    run = fleet.play("deploy", "--check", "--diff")
    expect("check on converged hosts: actions", {host: [] for host in fleet.hosts}, {host: run.actions(host) for host in fleet.hosts})
    expect("check on converged hosts: changed", dict.fromkeys(fleet.hosts, 0), run.changed)
