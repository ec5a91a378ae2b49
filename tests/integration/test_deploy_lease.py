# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two runs at once, and runs that were killed: the lease keeps them apart and never outlives its holder."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.integration.deploy_driver import LONGEST, Place
from tests.shared import wait_until

pytestmark = pytest.mark.slow

# Slow to serve, so that a run is killed while it waits
SLOW = {"EW_TEST_SERVING_DELAY": "12"}
APPLYING = "Remember what was applied]"  # what comes next waits for health


HOOK = """
- name: Say that it is here, and wait until the test lets it go on
  ansible.builtin.shell: touch {here}; until test -e {gate}; do sleep 0.1; done
"""


def test_of_two_deploys_at_once_one_wins_and_the_other_names_the_holder(place: Place, tmp_path: pathlib.Path) -> None:
    hook, here, gate = (tmp_path / name for name in ("hook.yml", "here", "gate"))
    hook.write_text(HOOK.format(here=here, gate=gate))
    worker = place.worker(worker_hooks={"before_instances": [str(hook)]})
    winner = worker.begin("deploy")
    wait_until(lambda: here.exists() or winner.process.poll() is not None, "the first run is in its hook", LONGEST)
    loser = worker.run("deploy", worker_env={"OTHER": "1"})
    assert (loser.failure["code"], loser.failure["stage"], loser.changed) == ("leased", "preflight", 0)
    assert f"(deploy, pid {winner.process.pid}, run " in loser.failure["message"]
    assert "worker_take_lease=true" in loser.failure["remedy"]
    gate.touch()
    won = winner.end().ok()
    assert worker.ask()["pid"] == won.host["instances"][0]["pid"]
    assert not (worker.home / "lease.json").exists()
    # The loser has left nothing that the next run would have to mend: the hook's task alone says that it changed something
    assert worker.deploy(worker_hooks={}).changed == 0


def test_a_verb_is_refused_while_a_deploy_runs_unless_it_takes_the_lease(place: Place) -> None:
    worker = place.worker(worker_env={"EW_TEST_NEVER_LISTEN": "1"}, worker_health_attempts=100)
    running = worker.begin("deploy")
    running.wait_to_say(APPLYING)
    refused = worker.run("stop")
    assert refused.failure["code"] == "leased"
    running.kill()
    taken = worker.run("uninstall", worker_take_lease=True).ok()
    assert taken.changed > 0


@pytest.mark.parametrize("stage", ["environment", "instances"])
def test_after_a_killed_run_the_next_one_takes_over_and_converges(clean_place: Place, stage: str) -> None:
    worker = clean_place.worker(worker_env=SLOW, worker_health_services=["ew.ai.v1.InferenceService"])
    running = worker.begin("deploy")
    running.wait_to_say("| link " if stage == "environment" else APPLYING)
    running.kill()
    holder = json.loads((worker.home / "lease.json").read_text())
    assert holder["pid"] == running.process.pid
    run = worker.deploy()
    assert not (worker.home / "lease.json").exists()
    assert worker.ask()["generation"] == "1"
    assert [path.name for path in clean_place.root.glob("envs/*") if not path.is_symlink()] == [run.host["environment"].rpartition("/")[2]]
    assert (worker.deploy().changed, worker.ask()["generation"]) == (0, "1")
