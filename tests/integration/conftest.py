# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fixtures of the tests over real environments and real deploys."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from tests.integration.conda_env_room import Room, directory
from tests.integration.deploy_driver import Place


@pytest.fixture(scope="session")
def package_cache() -> t.Iterator[pathlib.Path]:
    with directory("ew-cache-") as path:
        yield path


@pytest.fixture
def room(package_cache: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Room]:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    with directory("ew-env-") as path:
        yield Room(path, package_cache)


@pytest.fixture(scope="session")
def place() -> t.Iterator[Place]:
    """The place that the tests of this process share."""
    made = Place()
    yield made
    made.end()


@pytest.fixture
def clean_place() -> t.Iterator[Place]:
    """A place where nothing was ever deployed."""
    made = Place()
    yield made
    made.end()
