# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two runs at once, and runs that were killed: the lease keeps them apart and never outlives its holder."""

from __future__ import annotations

import json

import pytest

from tests.integration.deploy_driver import Place

pytestmark = pytest.mark.slow

# Slow to serve, so that a second run surely meets the first
SLOW = {"EW_TEST_SERVING_DELAY": "12"}
APPLYING = "Remember what was applied]"  # what comes next waits for health


def test_of_two_deploys_at_once_one_wins_and_the_other_names_the_holder(place: Place) -> None:
    worker = place.worker(worker_env=SLOW)
    winner = worker.begin("deploy", worker_health_services=["ew.ai.v1.InferenceService"])
    winner.wait_to_say(APPLYING)
    loser = worker.run("deploy", worker_env={"OTHER": "1"})
    assert winner.process.poll() is None, "the first run was over before the second one began: this shows nothing"
    assert (loser.failure["code"], loser.failure["stage"], loser.changed) == ("leased", "preflight", 0)
    assert f"(deploy, pid {winner.process.pid}, run " in loser.failure["message"]
    assert "worker_take_lease=true" in loser.failure["remedy"]
    won = winner.end().ok()
    assert worker.ask()["pid"] == won.host["instances"][0]["pid"]
    assert not (worker.home / "lease.json").exists()
    # The loser has left nothing that the next run would have to mend
    assert worker.deploy(worker_env=SLOW, worker_health_services=["ew.ai.v1.InferenceService"]).changed == 0


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
