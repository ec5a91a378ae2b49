# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests share; they run in the order of the files' names, each going on where the one before it has ended."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from tests.molecule.company import Company
from tests.molecule.fleet import Fleet, copy_example

pytest_plugins = ["tests.molecule.plugin"]


@pytest.fixture(scope="session")
def source(fleet: Fleet) -> pathlib.Path:
    """The worker directory of every deploy."""
    return copy_example("worker", fleet.directory / "worker")


@pytest.fixture(scope="session")
def company(fleet: Fleet) -> t.Iterator[Company]:
    """Channels, indexes and the proxy in front of them."""
    with Company(fleet).open() as opened:
        yield opened
