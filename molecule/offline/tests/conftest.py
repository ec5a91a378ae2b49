# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What these tests share; they run in the order in which they stand."""

from __future__ import annotations

import pytest

from tests.molecule.fleet import Fleet

pytest_plugins = ["tests.molecule.plugin"]


@pytest.fixture(scope="session", autouse=True)
def everywhere(fleet: Fleet) -> None:
    """Who goes first is another scenario's matter."""
    fleet.variables["worker_serial"] = "100%"
