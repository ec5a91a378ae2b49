# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_preflight`` over a real root, and through Ansible with its action plugin: what the controller adds, and what never leaves it."""

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

from tests.integration.action_driver import Play, run_task, run_tasks
from tests.integration.module_driver import run_module
from tests.integration.test_worker_generation import HOLDER, NAME, built, call, wanted
from tests.shared import free_ports

SECRET = "geheimnis-4711"


def options(tmp_path: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    """Those of a run that nothing stands in the way of."""
    return {"root": str(tmp_path / "root"), "name": "ew-worker", "minimum_disk_mb": 1, **more}


def worker_directory(tmp_path: pathlib.Path) -> str:
    directory = tmp_path / "source"
    (directory / "worker").mkdir(parents=True)
    (directory / "worker" / "main.py").touch()
    return str(directory)


def test_the_lease_names_this_very_process(tmp_path: pathlib.Path) -> None:
    play = Play("worker_preflight", [options(tmp_path)], tmp_path)
    with play.start() as process:
        output, _nothing = process.communicate(timeout=300)
    (found,) = play.results()
    assert not found.get("failed"), output
    assert "started_at" not in found
    lease = json.loads((tmp_path / "root/workers/ew-worker/lease.json").read_text())
    assert (lease["pid"], lease["run"], lease["verb"], lease["timeout"]) == (process.pid, found["run"], "deploy", 7200)
    assert lease["start_ticks"] > 0
    assert " pid:[" in lease["machine"]
    assert found["facts"]["active_environment"] is None


@pytest.mark.parametrize(("change", "taken"), [({}, True), ({"machine": "another boot pid:[1]"}, False), ({"start_ticks": 1, "pid": 1}, True)])
def test_only_a_run_that_is_dead_for_sure_loses_its_lease(tmp_path: pathlib.Path, change: dict[str, t.Any], taken: bool) -> None:
    """Two controllers may well have one name: what is no process here may be one there."""
    assert not run_task("worker_preflight", options(tmp_path), tmp_path).get("failed")
    path = tmp_path / "root/workers/ew-worker/lease.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    found = run_task("worker_preflight", options(tmp_path), tmp_path)
    assert found.get("failed", False) is not taken
    assert found.get("code") == (None if taken else "leased")
    if not taken:
        assert found["holder"]["machine"] == change["machine"]


def test_everything_is_told_at_once_and_before_anything_is_changed(tmp_path: pathlib.Path) -> None:
    bad = options(
        tmp_path,
        source=str(tmp_path / "nowhere"),
        supervisor="supervisord",
        ports=[free_ports()],
        instances=["0"],
        settings={"instances": [], "limits": {"memory": "1G"}, "restart": {"burst": 100, "delay": 10, "window": 300}},
        environment_settings={"name": "e", "python_version": "3.1", "channels": ["file:///nowhere/channel"], "executable": "/nowhere/conda"},
        health_settings={"attempts": 0},
        hooks={"before_instance": [], "before_instances": ["nowhere.yml"]},
        secrets={"TO-KEN": SECRET},
    )
    found = run_task("worker_preflight", bad, tmp_path)
    assert found["code"] == "preflight"
    expected = [
        *(
            "nowhere",
            "worker_limits.memory",
            "worker_restart.window",
            "worker_python_version",
            "worker_conda_path is '/nowhere/conda', and that is not there",
            "worker_health_attempts",
        ),
        *("before_instance'", "nowhere.yml", "worker_secrets has the value 'TO-KEN'", "The channel file:///nowhere/channel does not answer"),
    ]
    assert [word for word in expected if word not in found["msg"]] == []
    assert len(found["failures"]) == len(expected)
    assert "Fix them and run the same command again." in found["msg"]
    assert SECRET not in json.dumps(found)
    assert not (tmp_path / "root").exists()


def test_what_supervisord_cannot_do_is_no_obstacle_elsewhere(tmp_path: pathlib.Path) -> None:
    settings = {"instances": [], "limits": {"memory": "1G"}}
    codes = {}
    for supervisor in ("supervisord", "systemd"):
        found = run_task("worker_preflight", options(tmp_path, supervisor=supervisor, settings=settings), tmp_path, check=True)
        codes[supervisor] = [each["msg"].partition(" ")[0] for each in found["failures"]]
    assert codes["supervisord"] == ["worker_limits.memory"]
    assert "worker_limits.memory" not in codes["systemd"]


def test_neither_passwords_nor_secrets_are_sent_or_told(tmp_path: pathlib.Path) -> None:
    address = f"http://reader:{SECRET}@127.0.0.1:9/simple"
    given = options(
        tmp_path,
        source=worker_directory(tmp_path),
        addresses=[address, ""],
        environment_settings={"name": "e", "channels": [f"http://127.0.0.1:9/t/{SECRET}/forge"], "index_url": address},
        secrets={"TOKEN": SECRET},
    )
    found = run_task("worker_preflight", given, tmp_path)
    assert sorted(each["check"] for each in found["failures"]) == ["channel_unreachable", "index_unreachable"]
    assert SECRET not in json.dumps(found)
    assert found["invocation"]["module_args"]["addresses"] == ["http://127.0.0.1:9/simple"]


def test_a_verb_is_not_held_up_by_what_a_deploy_needs(tmp_path: pathlib.Path) -> None:
    deploying = options(tmp_path, source=worker_directory(tmp_path), minimum_disk_mb=10**9)
    stopping = options(tmp_path, verb="stop", minimum_disk_mb=10**9)
    found = run_tasks("worker_preflight", [deploying, stopping], tmp_path, check=True)
    assert [each.get("code") for each in found] == ["disk_full", None]


def test_hooks_are_found_where_the_tasks_include_them(tmp_path: pathlib.Path) -> None:
    """A relative path leads to the play's own directory."""
    (tmp_path / "whole.yml").write_text("- ansible.builtin.debug:\n    msg: '{{ 1 + 1 }}'\n")
    play = Play("worker_preflight", [options(tmp_path, hooks={"after_health": ["beside.yml", str(tmp_path / "whole.yml")]})], tmp_path, check=True)
    with play.start() as process:
        process.communicate(timeout=300)
    (missing,) = play.results()
    assert missing["code"] == "invalid_hooks"
    assert str(play.directory / "beside.yml") in missing["msg"]
    (play.directory / "beside.yml").write_text("- ansible.builtin.debug:\n")
    play.results_path.unlink()
    with play.start() as process:
        process.communicate(timeout=300)
    assert [each.get("failed", False) for each in play.results()] == [False]


# ---- the module alone


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
    variables = {**os.environ, "EW_WORKER": NAME, "EW_INSTANCE": "0", "EW_STATE_DIR": str(tmp_path / home / "data/0/state")}
    with subprocess.Popen([sys.executable, "-c", code], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = preflight(tmp_path, ports=[int(server.stdout.readline())])
        server.communicate("\n")
    assert [each["check"] for each in found["failures"]] == codes


def test_two_runs_at_once_one_gets_the_lease(tmp_path: pathlib.Path) -> None:
    found: list[dict[str, t.Any]] = []
    threads = [threading.Thread(target=lambda run=run: found.append(preflight(tmp_path, lease={**HOLDER, "run": run}))) for run in ("one", "two")]
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
        ({"wanted": {"channels": ["file:///nowhere/at/all"]}}, "channel_unreachable"),
        ({"wanted": {"channels": ["http://127.0.0.1:9/channel"]}}, "channel_unreachable"),
        ({"supervisor": "supervisord", "supervisord_findings": [{"check": "invalid_option", "msg": "x", "remedy": "y"}]}, "invalid_option"),
        ({"minimum_disk_mb": 10**9}, "disk_full"),
    ],
)
def test_one_obstacle_keeps_its_own_code(tmp_path: pathlib.Path, options: dict[str, t.Any], code: str) -> None:
    found = preflight(tmp_path, **options) if "root" not in options else preflight(pathlib.Path(options["root"]))
    assert (found["failed"], found["code"]) == (True, code)
    assert found["remedy"]


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


def test_work_on_what_is_deployed_needs_no_room(tmp_path: pathlib.Path) -> None:
    """A worker can be stopped on a disk that is full."""
    assert preflight(tmp_path, minimum_disk_mb=10**9)["code"] == "disk_full"
    found = preflight(tmp_path, minimum_disk_mb=10**9, wanted={"deploys": False})
    assert not found.get("failed"), found


def test_nobody_is_asked_where_something_is_deployed(tmp_path: pathlib.Path) -> None:
    silent: dict[str, t.Any] = {"addresses": ["http://127.0.0.1:9/simple"], "wanted": {"channels": ["file:///nowhere"], "environment_name": "ew_ai_worker"}}
    found = preflight(tmp_path, **silent)
    assert [each["check"] for each in found["failures"]] == ["channel_unreachable", "index_unreachable"]
    for more in ({"offline": True}, {"wanted": {**silent["wanted"], "deploys": False}}):
        assert not preflight(tmp_path, **{**silent, **more}).get("failed")
    serving = built(tmp_path, 1)
    assert not preflight(tmp_path, **silent).get("failed"), "an environment of that name is there"
    options = wanted(tmp_path, "r1")
    options["conda_environment"]["prefix"] = str(serving)
    number = call(tmp_path, **options)["generation"]
    call(tmp_path, state="finished", generation=number, verdict="healthy")
    facts = preflight(tmp_path, **{**silent, "wanted": {**silent["wanted"], "environment_name": "other"}})["facts"]
    assert (facts["active_generation"], facts["active_environment"]) == (1, str(serving))


def test_pips_own_index_is_asked_where_requirements_may_need_it(tmp_path: pathlib.Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text("[global]\nindex-url = http://reader:geheim4711@127.0.0.1:9/simple\n")
    options = {"root": str(tmp_path / "root"), "name": NAME, "minimum_disk_mb": 1}
    environ = {"PIP_CONFIG_FILE": str(configuration), "PIP_INDEX_URL": "", "PIP_EXTRA_INDEX_URL": ""}
    assert not run_module("worker_preflight", options, environ=environ).get("failed")
    found = run_module("worker_preflight", {**options, "wanted": {"needs_own_index": True}}, environ=environ)
    assert not found.get("failed"), "the channels may meet the requirements"
    assert "http://127.0.0.1:9/simple" in str(found["warnings"])
    assert "geheim4711" not in json.dumps(found)
    found = run_module(
        "worker_preflight", {**options, "addresses": ["http://reader:geheim4711@localhost/simple"]}, environ={**environ, "http_proxy": "http://127.0.0.1:9"}
    )
    assert found["code"] == "index_unreachable"
    assert "geheim4711" not in found["msg"]
    configuration.write_text("[global\n")
    assert run_module("worker_preflight", {**options, "wanted": {"needs_own_index": True}}, environ=environ)["code"] == "broken_file"


def test_no_instance_is_no_deploy(tmp_path: pathlib.Path) -> None:
    assert preflight(tmp_path, ports=[])["code"] == "invalid_instances"
