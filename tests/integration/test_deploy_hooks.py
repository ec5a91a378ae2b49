# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a play of the user's own meets the role: hooks, tags, and the handler topic."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from tests.integration.clean_room import left_in
from tests.integration.deploy_driver import Data, Place, Worker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-hooks")]

STAGES = ("preflight", "toolchain", "release", "environment", "instances", "health")
HOOKS = tuple(f"{when}_{stage}" for stage in STAGES for when in ("before", "after"))

OWN_PLAY = """
- hosts: workers
  gather_facts: false
  tasks:
    - name: Deploy
      ansible.builtin.import_role:
        name: ew_ai.worker.worker
    - name: Say that something outside the release has changed
      ansible.builtin.command: "true"
      notify: restart ew worker
"""


def play(worker: Worker, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook with the worker's variables."""
    command = [*worker.command("deploy", worker.place.home), *arguments]
    return subprocess.run(command, env=worker.place.environ(), text=True, capture_output=True, check=False, timeout=300)


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


def test_tag_of_a_stage_goes_as_far_as_that_stage(clean_place: Place) -> None:
    worker = clean_place.worker()
    done = play(worker, "--tags", "worker_release")
    assert done.returncode == 0, done.stdout
    assert len(list((clean_place.root / "releases").glob("[!.]*"))) == 1
    assert not (clean_place.root / "envs").exists()
    assert not (worker.home / "lease.json").exists()


def test_own_play_restarts_the_instances_by_the_handler_topic(place: Place, tmp_path: pathlib.Path) -> None:
    worker = place.worker()
    worker.deploy()
    before = worker.ask()
    own = tmp_path / "own.yml"
    own.write_text(OWN_PLAY)
    command = [str(own) if word.endswith("playbooks/deploy.yml") else word for word in worker.command("deploy", worker.place.home)]
    done = subprocess.run(command, env=place.environ(), text=True, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    after = worker.ask()
    assert (after["generation"], after["pid"] != before["pid"]) == (before["generation"], True)
