# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of environments share."""

from __future__ import annotations

import pathlib

import pytest

from tests.recorded import Lab


@pytest.fixture
def lab(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A place in which recorded tools answer."""
    return Lab(tmp_path, monkeypatch)
