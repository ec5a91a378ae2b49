# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests share; they run in the order of the files' names, each going on where the one before it has ended."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from tests.figures import tell
from tests.molecule.fleet import Fleet, copy_example
from tests.molecule.plugin import Expect
from tests.molecule.trial import PLACE, Trial

pytest_plugins = ["tests.molecule.plugin"]


@pytest.fixture(scope="session")
def source(fleet: Fleet) -> pathlib.Path:
    """The worker directory of every deploy."""
    return copy_example("worker", fleet.directory / "worker")


@pytest.fixture(scope="session")
def opened(fleet: Fleet, source: pathlib.Path) -> t.Iterator[Trial]:
    """The host with a worker that serves."""
    fleet.variables.update(worker_dir=str(source), worker_find_links=["/srv/packages/wheels", f"{PLACE}/wheels"])
    trial = Trial(fleet, "f1")
    with trial.open():
        run = fleet.play("deploy", **trial.next())
        tell(f"first deploy: {run.seconds:.0f} s")
        yield trial


@pytest.fixture
def trial(opened: Trial, expect: Expect) -> Trial:
    """The host, for one test's findings."""
    opened.expect = expect
    return opened
