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

from tests.integration.deploy_driver import LONGEST, Place, Worker

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


def test_what_a_later_stage_would_refuse_is_told_before_the_first(clean_place: Place) -> None:
    """Hooks that are not there, and settings: nothing is built, no lease is kept."""
    worker = clean_place.worker(worker_hooks={"after_health": ["gone.yml"], "befor_release": []}, worker_limits={"memory": "1G"})
    run = worker.run("deploy")
    assert (run.failure["code"], run.failure["stage"], run.changed) == ("preflight", "preflight", 0)
    message = run.failure["message"]
    assert [
        word for word in ("gone.yml", "{{ inventory_dir }}", "'befor_release'", "worker_limits.memory", "supervisord cannot do this") if word not in message
    ] == []
    assert not clean_place.root.exists()


def test_tag_of_a_stage_goes_as_far_as_that_stage(clean_place: Place) -> None:
    worker = clean_place.worker()
    done = play(worker, "--tags", "worker_release")
    assert done.returncode == 0, done.stdout
    assert len(list((clean_place.root / "releases").glob("[!.]*"))) == 1
    assert not (clean_place.root / "envs").exists()
    assert not (worker.home / "lease.json").exists()


def test_own_play_restarts_the_instances_once_by_the_handler_topic(place: Place, tmp_path: pathlib.Path) -> None:
    """However many tasks notify it."""
    worker = place.worker()
    worker.deploy()
    before = worker.ask()
    own = tmp_path / "own.yml"
    own.write_text(OWN_PLAY)
    command = [str(own) if word.endswith("playbooks/deploy.yml") else word for word in worker.command("deploy", worker.place.home)]
    done = subprocess.run(command, env=place.environ(), text=True, capture_output=True, check=False, timeout=LONGEST)
    assert done.returncode == 0, done.stdout
    after = worker.ask()
    assert (after["generation"], after["pid"] != before["pid"]) == (before["generation"], True)
    log = (worker.home / "supervisord" / "supervisord.log").read_text()
    assert re.findall(rf"spawned: '{worker.name}@0' with pid (\d+)", log) == [str(before["pid"]), str(after["pid"])]
