# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploys that are cut short at the controller, on the way and on the host: what served serves on, and the next run ends what was begun."""

from __future__ import annotations

import pathlib
import re
import typing as t

from tests.integration.fault import differing, tree
from tests.molecule.fleet import Playbook
from tests.molecule.trial import ORDER, ROOT, Trial

GOES_ON = "goes on with the work that an earlier run began"
# A controller that looks often whether the host is there; how long that takes is ssh's matter.
IMPATIENT = " ".join(f"-o {option}" for option in ("ServerAliveInterval=1", "ServerAliveCountMax=3", "ConnectTimeout=3", "ControlPath=none"))


def begun(trial: Trial, variables: t.Mapping[str, t.Any]) -> Playbook:
    """A deploy that waits in the middle of its build."""
    playbook = trial.fleet.begin("deploy", **variables)
    trial.wait_for_gate(playbook)
    return playbook


def test_of_two_deploys_at_once_the_second_is_refused(trial: Trial) -> None:
    variables = trial.next_with_gate()
    with trial.gate(), trial.undisturbed("two at once"):
        winner = begun(trial, variables)
        loser = trial.fleet.play("deploy", status=2, **variables)
        trial.refused("two at once", loser, "leased", f"pid {winner.process.pid}", "worker_take_lease=true", stage="preflight")
    trial.serves("first of two", winner.end())
    second = trial.succeeds("second of two", variables)
    trial.expect("second of two: changed", {trial.host: 0}, second.changed)


def test_a_run_goes_on_with_what_a_killed_controller_has_begun(trial: Trial) -> None:
    variables = trial.next_with_gate()
    with trial.gate(), trial.undisturbed("controller killed"):
        first = begun(trial, variables)
        first.kill()
        trial.expect("controller killed: code in the report that it leaves", "unfinished", first.report()["hosts"][0]["failure"]["code"])
        second = trial.fleet.begin("deploy", **variables)
        second.wait_to_say(GOES_ON)
    trial.serves("controller killed", second.end())


def test_a_job_that_is_killed_and_a_broken_cache(trial: Trial) -> None:
    """The half-built prefix is removed, and what was cut short in the cache is fetched again."""
    variables = trial.next_with_gate()
    jobs = f"{ROOT}/jobs/*conda_env-*/handle"
    kill = f"for pid in $(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' {jobs}); do pkill -KILL --session $pid; done"
    cut = f"find {ROOT}/cache/conda/pkgs -type f -links 1 -size +1 | head -500 | xargs truncate -s 100"
    with trial.undisturbed("job killed"):
        with trial.gate():
            playbook = begun(trial, variables)
            prefix = trial.on(f"ls -d {ROOT}/envs/.*.building")
            trial.on(f"{kill}; {cut}")
            run = playbook.end(2)
        trial.refused("job killed", run, "job_died", "journalctl -k", stage="environment")
        trial.expect("job killed: half-built prefix", prefix, trial.on(f"ls -d {ROOT}/envs/.*.building"))
    trial.succeeds("job killed", variables)


def test_a_network_that_is_cut_while_a_task_runs(trial: Trial) -> None:
    """Who calls from the host itself, past the cut, gets an answer each time."""
    variables = trial.next_with_gate()
    with trial.gate():
        playbook = begun(trial, {**variables, "ansible_ssh_args": IMPATIENT})
        with trial.undisturbed_on_the_host("network cut"):
            with trial.cut_off():
                run = playbook.end(2)
            trial.refused("network cut", run, "unreachable", f"ansible {trial.host} -m ping", "run the same command again", stage="environment")
            second = trial.fleet.begin("deploy", **variables)
            second.wait_to_say(GOES_ON)
    trial.serves("network cut", second.end())


def test_a_module_that_is_killed_while_it_writes_units(trial: Trial, tmp_path: pathlib.Path) -> None:
    """Beside the worker that serves: another one is deployed, once undisturbed, once killed at two boundaries.

    What differs by itself is left out, as in tests/integration/fault.py; in units that is the digest with the worker's salt.
    """
    twin: dict[str, t.Any] = {"worker_name": "twin", "worker_port": 50061, "worker_pip": trial.pip}

    def found(name: str) -> dict[str, tuple[t.Any, ...]]:
        trial.fetch(tmp_path / name, f"$(find etc/systemd/system -name '*twin*' -prune) {ROOT[1:]}/workers/twin")
        for path in (tmp_path / name).rglob("instance.conf"):
            path.write_text(re.sub('"EW_EFFECTIVE=.*"', "", path.read_text(encoding="utf-8")), encoding="utf-8")
        return tree(tmp_path / name)

    with trial.undisturbed("module killed"):
        trial.fleet.play("deploy", **twin)
        undisturbed = found("undisturbed")
        trial.fleet.play("uninstall", **twin, worker_purge=True)
        for boundary in ("supervisor.shared.written", "instance.written"):
            trial.fleet.write(trial.host, ORDER, boundary, "600")
            run = trial.fleet.play("deploy", status=2, **twin)
            trial.expect(f"{boundary}: reached", "", trial.on(f"ls {ORDER}", check=False))
            trial.refused(boundary, run, "module_died", "SIGKILL", "journalctl -k", stage="instances")
        trial.fleet.play("deploy", **twin)
        trial.expect("module killed: code that answers", "1", trial.fleet.infer(trial.host, 50061)["code_version"])
        trial.expect("module killed: paths that differ from an undisturbed deploy", [], differing(undisturbed, found("mended")))
        trial.fleet.play("uninstall", **twin, worker_purge=True)


def test_deploys_killed_in_a_row(trial: Trial, source: pathlib.Path) -> None:
    """A new release as well, so that every stage has work to do."""
    (source / "worker" / "version.py").write_text('CODE_VERSION = "2"\n', encoding="utf-8")
    variables = trial.next_with_gate()
    with trial.gate(), trial.undisturbed("killed in a row"):
        for text in ("[1/3] Make the toolchain", "[1/3] Bring the release"):
            killed_at(trial, text, variables)
        begun(trial, variables).kill()
    killed_at(trial, "[2/3] Plan or apply generation", variables)
    killed_at(trial, "Wait until they serve", variables)
    trial.succeeds("killed in a row", variables)
    trial.expect("killed in a row: code that answers", "2", trial.fleet.infer(trial.host)["code_version"])


def killed_at(trial: Trial, text: str, variables: t.Mapping[str, t.Any]) -> None:
    """A deploy whose controller dies when it says this."""
    playbook = trial.fleet.begin("deploy", **variables)
    playbook.wait_to_say(text)
    playbook.kill()
