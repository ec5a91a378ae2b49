# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a play of the user's own meets the role: hooks, tags, and the handler topic."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess

import pytest

from tests.integration.clean_room import left_in
from tests.integration.deploy_driver import LONGEST, Data, Place, Worker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-hooks")]

STAGES = ("preflight", "toolchain", "release", "environment", "instances", "health")
HOOKS = tuple(f"{when}_{stage}" for stage in STAGES for when in ("before", "after"))

OWN_PLAY = """
- hosts: workers
  gather_facts: false
  tasks:
    - name: Deploy one worker
      ansible.builtin.import_role:
        name: ew_ai.worker.worker
      vars: %s
    - name: Deploy another one
      ansible.builtin.import_role:
        name: ew_ai.worker.worker
      vars: %s
    - name: Say that something outside the release has changed
      ansible.builtin.command: "true"
      notify: restart ew worker
    - name: Say that something else has changed too
      ansible.builtin.command: "true"
      notify: restart ew worker
"""


def play(worker: Worker, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the worker's variables."""
    command = [*worker.command("deploy", worker.place.home), *arguments]
    return subprocess.run(command, env=worker.place.environ(), text=True, capture_output=True, check=False, timeout=LONGEST)


def test_hooks_are_run_in_the_order_of_the_stages(place: Place, tmp_path: pathlib.Path) -> None:
    witness = tmp_path / "witness"
    for name in HOOKS:
        line = f"echo {name} $(ls {place.root}/releases 2>/dev/null | wc -l) >> {witness}"
        (tmp_path / f"{name}.yml").write_text(f"- name: Write down that {name} was here\n  ansible.builtin.shell: {line}\n")
    place.worker(worker_hooks={name: [str(tmp_path / f"{name}.yml")] for name in HOOKS}).deploy()
    assert [line.split()[0] for line in witness.read_text().splitlines()] == list(HOOKS)


def test_a_hook_that_fails_is_told_by_its_name_and_leaves_no_lease(place: Place, tmp_path: pathlib.Path) -> None:
    hook = tmp_path / "drain.yml"
    hook.write_text("- name: Ask the balancer\n  ansible.builtin.fail:\n    msg: the balancer says no\n")
    worker = place.worker()
    worker.deploy()
    before = worker.ask()
    run = worker.run("deploy", worker_hooks={"before_instances": [str(hook)]}, worker_env={"GREETING": "hello"})
    assert (run.failure["stage"], run.failure["message"]) == ("instances", "The hook before_instances failed: the balancer says no")
    assert run.failure["restored"] == "Nothing that serves was touched."
    assert worker.ask()["pid"] == before["pid"]
    assert not (worker.home / "lease.json").exists()


@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ({"after_instance": ["{file}"]}, "after_instance"),
        ({"before_health": ["{file}.missing"]}, "before_health"),
        ({"before_health": "{file}"}, "before_health"),
    ],
)
def test_hooks_that_could_not_run_are_told_before_anything_is_done(clean_place: Place, tmp_path: pathlib.Path, hooks: Data, said: str) -> None:
    file = tmp_path / "hook.yml"
    file.write_text("- ansible.builtin.debug:\n")
    given = json.loads(json.dumps(hooks).replace("{file}", str(file)))
    run = clean_place.worker(worker_hooks=given).run("deploy")
    assert run.failure["stage"] == "preflight"
    assert said in run.failure["message"]
    assert left_in(clean_place.data) == []


def test_hooks_before_a_stage_run_only_where_the_run_goes_on_to_it(clean_place: Place, tmp_path: pathlib.Path) -> None:
    witness = tmp_path / "witness"
    for name in ("after_preflight", "before_toolchain"):
        (tmp_path / f"{name}.yml").write_text(f"- name: Write down that {name} was here\n  ansible.builtin.shell: echo {name} >> {witness}\n")
    worker = clean_place.worker(worker_hooks={name: [str(tmp_path / f"{name}.yml")] for name in ("after_preflight", "before_toolchain")})
    done = play(worker, "--tags", "worker_preflight")
    assert done.returncode == 0, done.stdout
    assert witness.read_text().split() == ["after_preflight"]


def test_what_a_later_stage_would_refuse_is_told_before_the_first(clean_place: Place) -> None:
    """Hooks that are not there, and settings: nothing is built, no lease is kept."""
    hooks = {"after_health": ["gone.yml"], "befor_release": []}
    worker = clean_place.worker(worker_hooks=hooks, worker_limits={"memory": "1G"}, worker_conda_path="/nowhere/bin/conda", worker_backend="auto")
    run = worker.run("deploy")
    assert (run.failure["code"], run.failure["stage"], run.changed) == ("preflight", "preflight", 0)
    message = run.failure["message"]
    words = ("gone.yml", "{{ inventory_dir }}", "'befor_release'", "worker_limits.memory", "supervisord cannot do this", "/nowhere/bin/conda")
    assert [word for word in words if word not in message] == []
    assert not clean_place.root.exists()


def test_tag_of_a_stage_goes_as_far_as_that_stage(clean_place: Place) -> None:
    worker = clean_place.worker()
    done = play(worker, "--tags", "worker_release")
    assert done.returncode == 0, done.stdout
    assert len(list((clean_place.root / "releases").glob("[!.]*"))) == 1
    assert not (clean_place.root / "envs").exists()
    assert not (worker.home / "lease.json").exists()


def test_own_play_restarts_the_instances_of_each_worker_once_by_the_handler_topic(place: Place, tmp_path: pathlib.Path) -> None:
    workers = [place.worker(), place.worker()]
    own = tmp_path / "own.yml"
    own.write_text(OWN_PLAY % tuple(json.dumps({"worker_name": worker.name, "worker_port": worker.port}) for worker in workers))
    command = [str(own) if word.endswith("playbooks/deploy.yml") else word for word in workers[0].command("deploy", place.home)]
    variables = json.loads(command[command.index("-e") + 1])
    shared = {name: value for name, value in variables.items() if name not in ("worker_name", "worker_port")}
    command[command.index("-e") + 1] = json.dumps(shared)
    done = subprocess.run(command, env=place.environ(), text=True, capture_output=True, check=False, timeout=LONGEST)
    assert done.returncode == 0, done.stdout
    for worker in workers:
        origin = worker.ask()
        assert origin["generation"] == "1"
        log = (worker.home / "supervisord" / "supervisord.log").read_text()
        pids = re.findall(rf"spawned: '{worker.name}@0' with pid (\d+)", log)
        assert (len(pids), pids[-1]) == (2, str(origin["pid"]))
        assert worker.endpoints() == {"0": "serving"}
