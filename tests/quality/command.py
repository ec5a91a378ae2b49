# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a tool and fails the test with what the tool said."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from tools.checkout import CHECKOUT, unmeasured

BIN = pathlib.Path(sys.executable).parent
LONGEST = 12_000  # characters of a tool's output that a failure shows


def run(
    *command: str | pathlib.Path, cwd: pathlib.Path = CHECKOUT, env: t.Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a tool of the test environment; a status other than 0 fails the test. env: added to this process's variables."""
    done = call(*command, cwd=cwd, env=env, timeout=timeout)
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        cut = "" if len(output) <= LONGEST else f"… ({len(output) - LONGEST} characters left out)\n"
        pytest.fail(f"{' '.join(str(each) for each in command)}: status {done.returncode}\n{cut}{output[-LONGEST:]}", pytrace=False)
    return done


def call(
    *command: str | pathlib.Path, cwd: pathlib.Path = CHECKOUT, env: t.Mapping[str, str] | None = None, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """The same, and the caller looks at the status."""
    program = BIN / command[0]
    return subprocess.run(
        [str(program if program.exists() else command[0]), *(str(each) for each in command[1:])],
        cwd=cwd,
        env={**unmeasured(os.environ), "PY_COLORS": "0", "NO_COLOR": "1", **(env or {})},
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
    )
