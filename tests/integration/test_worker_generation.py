# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_generation``, ``worker_generation_info`` and ``worker_preflight`` over a real root."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import typing as t

import pytest

from tests.integration.module_driver import run_module
from tests.integration.twelve_steps import twelve_steps

NAME = "ew-worker"


def wanted(root: pathlib.Path, release: str) -> dict[str, t.Any]:
    """The options that ask for a generation of that release, whose directories exist."""
    paths = {"release": root / "releases" / release, "prefix": root / "envs" / f"e-{release}-1"}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    return {
        "release": {"id": release, "path": str(paths["release"])},
        "environment": {"prefix": str(paths["prefix"]), "fingerprint": release, "build": 1},
        "settings": {"port": 50051},
    }


def call(root: pathlib.Path, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """The module's result."""
    return run_module("worker_generation", {"root": str(root), "name": NAME, **options}, check=check)


def deploy(root: pathlib.Path, release: str, verdict: str = "healthy", **options: t.Any) -> dict[str, t.Any]:
    """A whole deploy as far as generations go; returns what concluded it."""
    number = call(root, **wanted(root, release))["generation"]
    return call(root, state="finished", generation=number, verdict=verdict, **options)


def info(root: pathlib.Path, **options: t.Any) -> dict[str, t.Any]:
    """What worker_generation_info tells."""
    return run_module("worker_generation_info", {"root": str(root), "name": NAME, **options})


def listing(root: pathlib.Path) -> list[str]:
    """Everything below the root."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_twelve_steps(tmp_path: pathlib.Path) -> None:
    root = tmp_path / "root"
    steps: dict[str, tuple[dict[str, t.Any], list[dict[str, str]]]] = {
        "create": (wanted(root, "r1"), [{"what": "generation", "id": f"{NAME}/1", "status": "created"}]),
        "modify": (wanted(root, "r2"), [{"what": "generation", "id": f"{NAME}/2", "status": "created"}]),
        "delete": (
            {"state": "absent", "purge": True},
            [
                {"what": "generation", "id": NAME, "status": "removed"},
                *({"what": "environment", "id": f"envs/e-{each}-1", "status": "removed"} for each in ("r1", "r2")),
                *({"what": "release", "id": f"releases/{each}", "status": "removed"} for each in ("r1", "r2")),
                {"what": "data", "id": f"workers/{NAME}", "status": "removed"},
                {"what": "shared", "id": "releases", "status": "removed"},
                {"what": "shared", "id": "envs", "status": "removed"},
            ],
        ),
    }
    before: dict[str, list[str]] = {}

    def after(step: str, check: bool, _result: dict[str, t.Any]) -> None:
        if check:
            before[step] = listing(root)
        elif step.startswith("re-"):
            assert listing(root) == before[step]

    twelve_steps(lambda args, check: call(root, check, **args), steps, after)
    assert not root.exists()


def test_good_generation_becomes_the_active_one_and_is_written_for_whoever_routes_calls(tmp_path: pathlib.Path) -> None:
    endpoints = [{"instance": f"{NAME}@0", "address": "10.0.0.1", "port": 50051, "status": "serving"}]
    found = deploy(tmp_path, "r1", endpoints=endpoints, log={"verb": "deploy"})
    assert {"what": "generation", "id": f"{NAME}/1", "status": "activated"} in found["actions"]
    home = tmp_path / "workers" / NAME
    assert json.loads((home / "endpoints.json").read_text()) == {"worker": NAME, "endpoints": endpoints}
    assert json.loads((home / "deploy.log").read_text())["verb"] == "deploy"
    again = call(tmp_path, state="finished", generation=1, verdict="healthy", endpoints=endpoints)
    assert (again["changed"], again["actions"]) == (False, [])


def test_failed_generation_leaves_the_active_one(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    deploy(tmp_path, "r2", verdict="failed", reason="it broke")
    found = info(tmp_path)
    assert found["active"]["number"] == 1
    assert found["generations"][1]["verdict"]["message"] == "it broke"


def test_old_generations_go_with_what_only_they_needed(tmp_path: pathlib.Path) -> None:
    for release in ("r1", "r2", "r3"):
        found = deploy(tmp_path, release, keep=2)
    assert found["pruned"] == ["envs/e-r1-1", "releases/r1"]
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == ["r2", "r3"]
    assert info(tmp_path)["rollback_target"]["number"] == 2


def test_what_a_process_still_runs_stays_until_it_has_ended(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path / "releases" / "r1", stdin=subprocess.PIPE, text=True) as process:
        for release in ("r2", "r3"):
            assert deploy(tmp_path, release, verdict="unverified", keep=1)["pruned"] == []
        process.communicate("\n")
    assert "releases/r1" in deploy(tmp_path, "r4", keep=1)["pruned"]
    assert [each["number"] for each in info(tmp_path)["generations"]] == [3, 4]


def test_rolled_back_source_is_refused_with_the_word_that_insists(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    deploy(tmp_path, "r2")
    call(tmp_path, state="finished", generation=1, verdict="healthy", rolled_back_from=2)
    refused = call(tmp_path, **wanted(tmp_path, "r2"))
    assert (refused["failed"], refused["code"]) == (True, "rolled_back")
    assert "worker_force=true" in refused["remedy"]
    assert call(tmp_path, force=True, **wanted(tmp_path, "r2"))["generation"] == 3


def test_only_the_worker_that_goes_is_forgotten(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    run_module("worker_generation", {"root": str(tmp_path), "name": "other", **wanted(tmp_path, "r1")})
    gone = call(tmp_path, state="absent", purge=True)
    assert (gone["last"], gone["pruned"]) == (False, [])
    assert (tmp_path / "releases" / "r1").is_dir()


def preflight(root: pathlib.Path, **options: t.Any) -> dict[str, t.Any]:
    """What worker_preflight says."""
    return run_module("worker_preflight", {"root": str(root), "name": NAME, "minimum_disk_mb": 1, **options})


def test_every_obstacle_is_told_at_once(tmp_path: pathlib.Path) -> None:
    found = preflight(tmp_path / "with blank", supervisor="systemd", minimum_disk_mb=10**9)
    checks = [each["check"] for each in found["failures"]]
    assert found["code"] == "preflight"
    assert "invalid_root" in checks
    assert len(checks) >= 2
    assert all(each["remedy"] for each in found["failures"])


def test_port_of_a_foreign_process_is_told_with_pid_and_command_though_it_is_shared(tmp_path: pathlib.Path) -> None:
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        other.bind(one.getsockname())
        one.listen()
        other.listen()
        port = one.getsockname()[1]
        found = preflight(tmp_path, ports=[port])
    assert {each["check"] for each in found["failures"]} == {"port_in_use"}
    # The test's own process, whatever runs it.
    assert f"pid {os.getpid()} ({sys.executable} " in found["msg"]
    assert {each["details"]["pid"] for each in found["failures"]} == {os.getpid()}


@pytest.mark.parametrize(("home", "codes"), [("workers/ew-worker", []), ("elsewhere/workers/ew-worker", ["port_in_use"])])
def test_instance_of_the_same_name_below_another_root_is_foreign(tmp_path: pathlib.Path, home: str, codes: list[str]) -> None:
    code = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); input()"
    variables = {**os.environ, "EW_WORKER": NAME, "EW_STATE_DIR": str(tmp_path / home / "data/0/state")}
    with subprocess.Popen([sys.executable, "-c", code], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = preflight(tmp_path, ports=[int(server.stdout.readline())])
        server.communicate("\n")
    assert [each["check"] for each in found["failures"]] == codes


def test_two_runs_at_once_one_gets_the_lease(tmp_path: pathlib.Path) -> None:
    lease = {"controller": "c", "user": "ann", "pid": 1, "verb": "deploy"}
    found: list[dict[str, t.Any]] = []
    threads = [threading.Thread(target=lambda run=run: found.append(preflight(tmp_path, lease={**lease, "run": run}))) for run in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [each for each in found if each.get("failed")]
    assert [each["code"] for each in refused] == ["leased"]
    assert "ann@c (deploy" in refused[0]["msg"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"root": "relative/root"}, "invalid_root"),
        ({"addresses": ["http://127.0.0.1:9/simple"]}, "index_unreachable"),
        ({"addresses": ["file:///nowhere/at/all"]}, "channel_unreachable"),
        ({"minimum_disk_mb": 10**9}, "disk_full"),
    ],
)
def test_one_obstacle_keeps_its_own_code(tmp_path: pathlib.Path, options: dict[str, t.Any], code: str) -> None:
    found = preflight(tmp_path, **options) if "root" not in options else preflight(pathlib.Path(options["root"]))
    assert (found["failed"], found["code"]) == (True, code)
    assert found["remedy"]


@pytest.mark.parametrize("name", ["", "..", "../../victim", "../other", "Worker", "-x"])
@pytest.mark.parametrize("module", ["worker_generation", "worker_generation_info", "worker_preflight"])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_done(tmp_path: pathlib.Path, module: str, name: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "state.json").write_text("precious")
    before = listing(tmp_path)
    lease = {"run": "r", "controller": "c", "user": "ann", "pid": 1, "verb": "uninstall"}
    options = {"worker_generation": {"state": "absent", "purge": True}, "worker_preflight": {"minimum_disk_mb": 1, "lease": lease}}
    refused = run_module(module, {"root": str(tmp_path / "root"), "name": name, **options.get(module, {})})
    assert (refused["failed"], refused["code"]) == (True, "invalid_name" if module == "worker_preflight" else "invalid_option")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_logins_umask_does_not_count(tmp_path: pathlib.Path, umask: int) -> None:
    """The service account must pass, and nobody else may write."""
    lease = {"run": "r", "controller": "c", "user": "ann", "pid": 1, "verb": "deploy"}
    before = os.umask(umask)
    try:
        preflight(tmp_path / "root", lease=lease)
    finally:
        os.umask(before)
    modes = {str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777 for path in (tmp_path / "root").rglob("*") if path.is_dir()}
    assert modes == dict.fromkeys(("root/workers", f"root/workers/{NAME}", "root/locks"), 0o755)
    assert (tmp_path / "root").stat().st_mode & 0o777 == 0o755


def test_no_instance_is_no_deploy(tmp_path: pathlib.Path) -> None:
    assert preflight(tmp_path, ports=[])["code"] == "invalid_instances"
