# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_preflight`` through Ansible, with its action plugin: what the controller adds, and what never leaves it."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from tests.integration.action_driver import Play, run_task, run_tasks

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
        ports=[50051],
        instances=["0"],
        settings={"instances": [], "limits": {"memory": "1G"}, "restart": {"burst": 100, "delay": 10, "window": 300}},
        environment_settings={"name": "e", "python_version": "3.1", "channels": ["file:///nowhere/channel"], "backend": "conda"},
        health_settings={"attempts": 0},
        hooks={"before_instance": [], "before_instances": ["nowhere.yml"]},
        secrets={"TO-KEN": SECRET},
    )
    found = run_task("worker_preflight", bad, tmp_path)
    assert found["code"] == "preflight"
    expected = [
        *("nowhere", "worker_limits.memory", "worker_restart.window", "worker_python_version", "worker_backend", "worker_health_attempts"),
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
