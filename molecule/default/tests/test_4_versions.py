# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New code, bad code, the way back, and a new environment."""

from __future__ import annotations

import pathlib
import typing as t

from tests.figures import tell
from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect

# Everything that a deploy may write on a host.
WRITTEN = "/opt/ew_ai_worker", "/etc"
FORCED = "t1"  # the only host that gets, in the end, what was rolled back
DEPLOY_LOG = "/opt/ew_ai_worker/workers/ew-worker/deploy.log"


def write_version(source: pathlib.Path, version: str, first_line: str = "") -> None:
    """New code: every answer carries its version. first_line: run when the worker starts."""
    (source / "worker" / "version.py").write_text(f'{first_line}\nCODE_VERSION = "{version}"\n', encoding="utf-8")


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The paths that two listings do not have in common."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path) and path != DEPLOY_LOG)


def answers(version: str, hosts: t.Iterable[str]) -> dict[str, list[str]]:
    """What versions() gives when both instances of each host run that code."""
    return {host: [version, version] for host in hosts}


def test_new_code_reaches_the_canary_first_and_builds_no_environment(fleet: Fleet, expect: Expect, source: pathlib.Path) -> None:
    write_version(source, "2")
    before = fleet.all_processes()
    run = fleet.play("deploy", keep="second version")
    expect("new code: answered by", answers("2", fleet.hosts), fleet.versions())
    for host in fleet.hosts:
        release = run.host(host)["release"]
        wanted = {f"release releases/{release} created", "generation ew-worker/2 created", "generation ew-worker/2 activated"}
        wanted |= {f"instance ew-worker@{name} {done}" for name in "01" for done in ("changed", "restarted")}
        expect(f"new code: actions on {host}", sorted(wanted), sorted(run.actions(host)))
    after = fleet.all_processes()
    expect(
        "new code: the canary's last instance starts before any other host's first",
        True,
        all(after[fleet.canary]["1"].started < after[host]["0"].started for host in fleet.hosts if host != fleet.canary),
    )
    expect("new code: processes that stayed", [], [host for host in fleet.hosts for name in "01" if before[host][name] == after[host][name]])


def test_bad_code_on_a_live_fleet_touches_the_canary_alone_and_is_taken_back(fleet: Fleet, expect: Expect, source: pathlib.Path) -> None:
    write_version(source, "3", "raise SystemExit('this version cannot start')")
    files, processes = fleet.listing(*WRITTEN), fleet.all_processes()
    run = fleet.play("deploy", status=2)
    write_version(source, "2")
    expect("bad code: hosts that were reached", [fleet.canary], [row["host"] for row in run.report["hosts"] if row["stages"]])
    rest = "; not reached: " + ", ".join(host for host in fleet.hosts if host != fleet.canary)
    expect("bad code: what the report says of the others", True, run.report["message"].endswith(rest))
    after = fleet.listing(*WRITTEN)
    for host in fleet.hosts:
        if host != fleet.canary:
            expect(f"bad code: paths that differ on {host}", [], differing(files[host], after[host]))
            expect(f"bad code: processes on {host}", processes[host], fleet.processes(host))
    expect("bad code: the canary's other instance", processes[fleet.canary]["1"], fleet.processes(fleet.canary)["1"])
    expect("bad code: answered by", answers("2", fleet.hosts), fleet.versions())
    failure = run.host(fleet.canary)["failure"]
    # On a slow host the process lives long enough to pass for started.
    expect("bad code: code of the failure", True, failure["code"] in ("start_failed", "process_gone"))
    expect("bad code: its last words are in the report", True, any("this version cannot start" in line for line in failure["logs"]))
    expect("bad code: the report says what serves", "Generation 2 serves again.", failure["restored"])
    expect("bad code: the report says what to run next", True, "ansible-playbook ew_ai.worker.logs --limit" in failure["remedy"])
    gap = run.host(fleet.canary)["gapMs"]
    tell(f"gap in service of the canary's first instance, until the old generation was back: {gap} ms")
    expect("bad code: the gap in service is in the report", True, isinstance(gap, int) and 0 < gap < run.host(fleet.canary)["durationMs"])


def test_rollback_needs_no_route_and_starts_no_installer(fleet: Fleet, expect: Expect) -> None:
    fleet.route(on=False)
    try:
        run = fleet.play("rollback")
    finally:
        fleet.route(on=True)
    expect("rollback: answered by", answers("1", fleet.hosts), fleet.versions())
    expect("rollback: generation", dict.fromkeys(fleet.hosts, 1), {host: run.host(host)["generation"] for host in fleet.hosts})
    made = [action for host in fleet.hosts for action in run.actions(host) if action.startswith(("release", "environment", "toolchain"))]
    expect("rollback: releases, environments and toolchains made", [], made)


def test_what_was_rolled_back_is_refused_until_forced(fleet: Fleet, expect: Expect) -> None:
    files, processes = fleet.listing(*WRITTEN), fleet.all_processes()
    run = fleet.play("deploy", status=2)
    failure = run.host(fleet.canary)["failure"]
    expect("rolled back: code of the refusal", "rolled_back", failure["code"])
    expect("rolled back: the refusal says what insists", True, "worker_force=true" in failure["message"] + failure["remedy"])
    after = fleet.listing(*WRITTEN)
    expect("rolled back: paths that differ", {host: [] for host in fleet.hosts}, {host: differing(files[host], after[host]) for host in fleet.hosts})
    expect("rolled back: processes as before", True, fleet.all_processes() == processes)
    fleet.play("deploy", limit=FORCED, worker_force=True)
    expect("forced: answered by", answers("2", [FORCED]), {FORCED: fleet.versions()[FORCED]})


def test_reinstall_builds_beside_the_serving_environment_and_moves_over(fleet: Fleet, expect: Expect) -> None:
    host = FORCED
    before = fleet.processes(host)
    old = fleet.infer(host)
    run = fleet.play("reinstall", limit=host)
    new = fleet.infer(host)
    environments = fleet.on(host, "cd /opt/ew_ai_worker/envs && ls -d *-*-*").split()
    expect("reinstall: environments there", 2, len(environments))
    expect("reinstall: the newer serves", max(environments), pathlib.Path(run.host(host)["environment"]).name)
    expect("reinstall: the same code", old["release"], new["release"])
    expect("reinstall: processes that stayed", [], [name for name, process in fleet.processes(host).items() if process == before[name]])
    built = next(stage["elapsed"] for stage in run.host(host)["stages"] if stage["name"] == "environment")
    expect("reinstall: the new environment was not built in the gap", True, run.host(host)["gapMs"] < run.host(host)["durationMs"] - 1000 * built)
