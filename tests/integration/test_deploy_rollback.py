# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rollback without build or download, the refusal of what was rolled back, and what stays on disk."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from tests.integration.deploy_driver import Data, Place, Run, Worker
from tests.integration.local_packages import local_channel, served, write_index, write_wheel
from tests.integration.test_deploy_converge import builders

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-rollback")]

UNREACHABLE = "http://127.0.0.1:9/simple"


class History:
    """A worker with three generations, each with its own code and the last with its own environment; and where its packages came from."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.source = place.copy("history", version="1")
        # Everything that is fetched comes from a directory that then goes away
        self.channel = place.home / "channel"
        self.channel.symlink_to(local_channel(), target_is_directory=True)
        self.worker = place.worker(self.source, 2, worker_channels=[self.channel.as_uri()])
        self.worker.deploy()
        self.change("2").deploy()
        self.change("3", worker_packages=["ew-lib"]).deploy()

    def change(self, version: str, **variables: t.Any) -> Worker:
        """The worker, its directory changed to that version."""
        (self.source / "worker" / "version.py").write_text(f"CODE_VERSION = {version!r}\n")
        self.worker.variables.update(variables)
        return self.worker


@pytest.fixture(scope="module")
def history() -> t.Iterator[History]:
    place = Place()
    yield History(place)
    place.end()


def versions(worker: Worker) -> list[str]:
    return [worker.ask(index)["code_version"] for index in (0, 1)]


class TestRollback:
    def test_rollback_needs_no_build_and_no_download(self, history: History) -> None:
        worker = history.worker
        assert versions(worker) == ["3", "3"]
        environments = sorted(history.place.root.glob("envs/*"))
        history.channel.unlink()
        run = worker.traced("rollback", worker_index_url=UNREACHABLE, worker_channels=["http://127.0.0.1:9/channel"]).ok()
        assert versions(worker) == ["2", "2"]
        assert run.host["generation"] == 2
        assert builders(run) == []
        outside = [where for where in run.connected if where[1] not in range(worker.port, worker.port + 2)]
        assert outside == []
        assert sorted(history.place.root.glob("envs/*")) == environments
        assert isinstance(run.host["gapMs"], int)
        assert run.host["gapMs"] > 0
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_the_same_source_is_then_refused(self, history: History) -> None:
        worker = history.worker
        history.channel.symlink_to(local_channel(), target_is_directory=True)
        pids = [worker.ask(index)["pid"] for index in (0, 1)]
        run = worker.run("deploy")
        assert (run.failure["code"], run.failure["stage"]) == ("rolled_back", "instances")
        assert "Generation 3" in run.failure["message"]
        assert "was rolled back" in run.failure["message"]
        assert "worker_force=true" in run.failure["remedy"]
        assert [worker.ask(index)["pid"] for index in (0, 1)] == pids
        # and check mode says the same
        assert worker.run("deploy", check=True).failure["code"] == "rolled_back"

    def test_force_deploys_it_all_the_same(self, history: History) -> None:
        run = history.worker.deploy(worker_force=True)
        assert versions(history.worker) == ["3", "3"]
        assert run.host["generation"] >= 3
        assert history.worker.deploy().changed == 0

    def test_rollback_to_a_number(self, history: History) -> None:
        run = history.worker.run("rollback", worker_rollback_to=2).ok()
        assert versions(history.worker) == ["2", "2"]
        assert run.host["generation"] == 2
        missing = history.worker.run("rollback", worker_rollback_to=99)
        assert missing.failure["code"] == "unknown_generation"
        assert versions(history.worker) == ["2", "2"]

    def test_keep_prunes_generations_releases_and_environments(self, history: History) -> None:
        worker = history.change("5")
        foretold = worker.run("deploy", check=True, worker_keep=2).ok()
        run = worker.deploy(worker_keep=2)
        assert [action for action in foretold.actions if action[2] == "removed"] == [action for action in run.actions if action[2] == "removed"]
        assert [action[0] for action in run.actions if action[2] == "removed"].count("release") >= 1
        kept = worker.state()["generations"]
        assert len(kept) == 2
        assert on_disk(history.place.root / "releases") == {each["release"]["path"] for each in kept}
        assert on_disk(history.place.root / "envs") == {each["environment"]["prefix"] for each in kept}
        assert versions(worker) == ["5", "5"]


def on_disk(directory: pathlib.Path) -> set[str]:
    return {str(path) for path in directory.iterdir() if path.is_dir() and not path.is_symlink()}


def test_rollback_of_a_first_generation_says_that_there_is_none_before(place: Place) -> None:
    worker = place.worker()
    worker.deploy()
    pid = worker.ask()["pid"]
    run = worker.run("rollback")
    assert "no earlier good generation" in run.failure["message"]
    assert worker.ask()["pid"] == pid


def test_a_converged_run_needs_neither_index_nor_channel(place: Place, tmp_path: pathlib.Path) -> None:
    """Both are addresses that answered at the first deploy and then go away."""
    wheel = write_wheel(tmp_path / "wheels", "greeting", "1.0")
    with served(local_channel()) as channel, served(write_index(tmp_path / "index", [wheel])) as index:
        remote: Data = {
            "worker_channels": [f"http://{channel}"],
            "worker_index_url": f"http://{index}",
            "worker_installer": "pip",
        }
        source = place.copy("offline", "flat-worker")
        (source / "requirements.txt").write_text("greeting==1.0\n")
        worker = place.worker(source, worker_auto_start=False, **remote)
        assert worker.deploy().changed > 0
    run: Run = worker.traced("deploy").ok()
    assert (run.changed, run.connected, builders(run)) == (0, [], [])
