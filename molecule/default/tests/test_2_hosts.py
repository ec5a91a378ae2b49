# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deploy leaves on a host, as testinfra sees it."""

from __future__ import annotations

import json
import typing as t

import pytest

from tests.molecule.fleet import Fleet
from tests.molecule.plugin import Expect

ROOT = "/opt/ew_ai_worker"
INSTANCES = ("0", "1")
Host = t.Any  # testinfra has no types


@pytest.mark.parametrize("instance", INSTANCES)
def test_unit_runs_and_starts_at_boot(host: Host, instance: str) -> None:
    unit = host.service(f"ew-worker@{instance}.service")
    assert unit.is_running, host.check_output(f"journalctl --no-pager -n 30 -u ew-worker@{instance}")
    assert unit.is_enabled
    assert host.service("ew-worker.target").is_enabled
    assert host.service("ew-worker.target").is_running


def test_systemd_finds_nothing_wrong_with_the_units(host: Host) -> None:
    verified = host.run("systemd-analyze verify ew-worker@0.service ew-worker.target")
    complaints = [line for line in verified.stderr.splitlines() if "ew-worker" in line]
    assert (verified.rc, complaints) == (0, [])


@pytest.mark.parametrize("port", [50051, 50052])
def test_port_is_open_to_other_hosts(host: Host, port: int) -> None:
    assert host.socket(f"tcp://0.0.0.0:{port}").is_listening


@pytest.mark.parametrize("account", ["ew-worker", "ew-worker-build"])
def test_account_has_no_shell(host: Host, account: str) -> None:
    assert host.user(account).shell == "/usr/sbin/nologin"


def seen_by_worker(host: Host, instance: str, command: str) -> str:
    """What a command tells about a worker's process, {pid} in it. As its account: root of a container may not look."""
    pid = host.service(f"ew-worker@{instance}.service").systemd_properties["MainPID"]
    return str(host.check_output(f"runuser -u ew-worker -- {command.format(pid=f'/proc/{pid}')}"))


@pytest.mark.parametrize("instance", INSTANCES)
def test_worker_runs_as_its_account_from_real_paths(host: Host, instance: str) -> None:
    state = json.loads(host.file(f"{ROOT}/workers/ew-worker/state.json").content_string)
    record = next(each for each in state["generations"] if each["number"] == state["active"])
    directory, program = seen_by_worker(host, instance, "readlink {pid}/cwd {pid}/exe").splitlines()
    assert directory == record["release"]["path"]
    assert program.startswith(f"{record['environment']['prefix']}/bin/")


@pytest.mark.parametrize("account", ["ew-worker", "ew-worker-build"])
def test_neither_account_may_write_what_the_worker_runs(host: Host, account: str) -> None:
    for path in ("releases", "envs", "toolchain"):
        assert host.check_output(f"find {ROOT}/{path} ! -user root -o ! -type l -perm /022") == ""
        assert host.run(f"runuser -u {account} -- touch {ROOT}/{path}/x").rc != 0


def test_the_worker_reaches_nothing_of_the_builds(host: Host) -> None:
    worker, build = host.user("ew-worker"), host.user("ew-worker-build")
    assert worker.uid != build.uid
    assert not {*worker.groups} & {*build.groups}
    caches = host.check_output(f"find {ROOT}/cache -mindepth 1 -maxdepth 1 -type d").split()
    assert caches
    # Between builds, the place for them is empty: each makes a directory there that is its own alone.
    assert [path for path in caches if host.run(f"runuser -u ew-worker -- ls {path}").rc == 0] == [f"{ROOT}/cache/build"]
    assert host.check_output(f"find {ROOT}/cache/build -mindepth 1") == ""


def test_sandbox_leaves_only_the_workers_own_directories_writable(host: Host) -> None:
    mounts = [line.split() for line in seen_by_worker(host, "0", "cat {pid}/mountinfo").splitlines()]
    assert next(mount[5] for mount in mounts if mount[4] == "/").split(",")[0] == "ro"
    writable = {mount[4] for mount in mounts if mount[4].startswith(ROOT) and mount[5].split(",")[0] == "rw"}
    assert writable == {f"{ROOT}/workers/ew-worker/data/0/{name}" for name in ("state", "cache")}


def test_endpoints_name_both_instances_and_their_state(host: Host) -> None:
    rows = json.loads(host.file(f"{ROOT}/workers/ew-worker/endpoints.json").content_string)["endpoints"]
    assert [(row["instance"], row["port"], row["status"]) for row in rows] == [("ew-worker@0", 50051, "serving"), ("ew-worker@1", 50052, "serving")]
    assert {row["address"] for row in rows} == {host.check_output("hostname --ip-address").split()[0]}


def test_no_lease_and_no_job_is_left(host: Host) -> None:
    assert not host.file(f"{ROOT}/workers/ew-worker/lease.json").exists
    assert host.check_output(f"find {ROOT} -path '*/jobs/*'") == ""


def test_every_instance_answers_every_host(fleet: Fleet, expect: Expect) -> None:
    """As the gateway would: over the network, with grpc_health from the toolchain of each host."""
    for asker in fleet.hosts:
        targets = [
            {"address": f"{fleet.addresses[host]}:{port}", "services": ["", "ew.ai.v1.InferenceService"]} for host in fleet.hosts for port in (50051, 50052)
        ]
        python = fleet.on(asker, f"ls {ROOT}/toolchain/*/bin/python")
        found = fleet.module(asker, "grpc_health", {"targets": targets, "attempts": 10}, python)
        expect(f"health of all instances, asked from {asker}", ["serving"] * 6, [each["status"] for each in found["targets"]])
