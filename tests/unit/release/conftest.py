# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of releases share."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest

import ansible_collections.ew_ai.worker.plugins.module_utils.errors as ours

NOBODY = 65534


@pytest.fixture
def public_path() -> t.Iterator[pathlib.Path]:
    """A directory that other accounts can enter."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="releases-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def as_nobody() -> t.Callable[[str], str]:
    """Runs Python code without root's rights, and returns what it printed."""

    def run(code: str) -> str:
        collections = pathlib.Path(ours.__file__).parents[5]
        # Modules are imported before the rights are given up: the checkout may be closed to others.
        imports = "\n".join(line for line in code.splitlines() if line.startswith(("import", "from")))
        drop = f"import os\nif os.geteuid() == 0:\n    os.setgroups([])\n    os.setgid({NOBODY})\n    os.setuid({NOBODY})\n"
        done = subprocess.run(
            [sys.executable, "-c", f"{imports}\n{drop}\n{code}"],
            env={**os.environ, "PYTHONPATH": str(collections)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
