# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests tell is printed at the end of a run, whatever process they ran in."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tests.figures import TITLE
from tools.checkout import CHECKOUT

CONFTEST = "from tests.conftest import pytest_configure, pytest_runtest_setup\n"
TESTS = """
import pytest
from tests.figures import tell

@pytest.fixture(scope="module")
def made():
    tell("made in 3 s")

def test_two(made):
    tell("100 targets: 1.2 s", "two lines")
    print("not told")

def test_one():
    tell("before it fails")
    assert False

def test_silent():
    print("not told")
"""


@pytest.mark.parametrize("processes", [0, 2])
def test_figures_come_before_the_closing_line(tmp_path: pathlib.Path, processes: int) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), *(["-n", str(processes)] if processes else []), "."]
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    (start,) = [number for number, line in enumerate(lines) if f" {TITLE} " in line]
    wanted = ["test_it.py::test_one", "  before it fails", "test_it.py::test_two", "  made in 3 s", "  100 targets: 1.2 s", "  two lines"]
    assert lines[start + 1 : start + 1 + len(wanted)] == wanted
    assert "1 failed, 2 passed" in lines[-1]
