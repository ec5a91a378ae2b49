# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker that prints its secret and fails: nobody who reads about the deploy reads the secret."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from tests.integration.deploy_driver import Place

pytestmark = pytest.mark.slow

SECRET = "hunter22-and-more"
INDISCREET = """
print("the token is", os.environ["TOKEN"], flush=True)
if os.environ.get("FAILS"):
    os._exit(3)
"""


def holders(directory: pathlib.Path) -> set[str]:
    """The files below it that hold the secret."""
    found = subprocess.run(["grep", "-rlI", SECRET, str(directory)], text=True, capture_output=True, check=False)
    return {pathlib.Path(line).relative_to(directory).as_posix() for line in found.stdout.splitlines()}


def test_a_failing_worker_that_prints_its_secret(place: Place) -> None:
    source = place.copy("indiscreet")
    with (source / "worker" / "__init__.py").open("a") as package:
        package.write(INDISCREET)
    worker = place.worker(source, worker_secrets={"TOKEN": SECRET})
    worker.arguments = ["-vvv"]  # beside --diff
    good = worker.deploy()
    bad = worker.run("deploy", worker_env={"FAILS": "1"})
    assert (bad.failure["code"], bad.failure["restored"]) == ("start_failed", "Generation 1 serves again.")
    assert any("the token is" in line for line in bad.failure["logs"]), "it was printed, so this shows something"
    for run in (good, bad):
        assert SECRET not in json.dumps(run.report)
        assert SECRET not in run.output
    kept = holders(worker.home)
    assert {name for name in kept if name.startswith("logs/")} == {"logs/0.log"}, "what a worker writes is its own matter"
    assert kept & {"state.json", "deploy.log", "endpoints.json", "lease.json"} == set()
    closed = {name: (worker.home / name).stat().st_mode & 0o077 for name in kept if not name.startswith("logs/")}
    assert set(closed.values()) <= {0}, closed
