# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests share; they run in the order in which they stand."""

from __future__ import annotations

import pathlib

import pytest

from tests.molecule.fleet import Fleet, copy_example

pytest_plugins = ["tests.molecule.plugin"]


@pytest.fixture(scope="session", autouse=True)
def source(fleet: Fleet) -> pathlib.Path:
    """The worker directory of every deploy."""
    path = copy_example("worker", fleet.directory / "worker")
    # One host after the other is the matter of another scenario; serial is read before the inventory's variables are.
    fleet.variables.update(worker_dir=str(path), worker_serial="100%")
    return path
