# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every test needs: the collection importable, a clean environment, and an order in which cheap failures come first."""

from __future__ import annotations

import os
import pathlib

import pytest

from tests import figures
from tools.checkout import CHECKOUT, COLLECTIONS, link_collection

# The long chain on real hosts starts as soon as the cheap checks are through, and what is slow on this machine runs beside it.
ORDER = ("tests/quality", "tests/unit", "tests/molecule", "tests/quality slow", "tests/integration")

link_collection()


def pytest_configure(config: pytest.Config) -> None:
    """The user's own settings of Ansible and of the old deploy module are not to change a test's outcome."""
    for name in [name for name in os.environ if name.startswith(("ANSIBLE_", "EW_", "MOLECULE_")) and name != "EW_TEST_CONDA"]:
        del os.environ[name]
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
    os.environ["ANSIBLE_NOCOLOR"] = "1"
    os.environ["PATH"] = f"{CHECKOUT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(figures.Collector(), "figures")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before the test's fixtures, which may tell figures too."""
    figures.begin(item)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order by cost; within a rank the order stays."""
    items.sort(key=rank)


def rank(item: pytest.Item) -> int:
    """The place of a test's directory in ORDER; a slow check comes later than the quick ones beside it."""
    name = "/".join(pathlib.Path(item.path).relative_to(CHECKOUT).parts[:2])
    if name == "tests/quality" and item.get_closest_marker("slow"):
        name += " slow"
    return ORDER.index(name) if name in ORDER else len(ORDER)
