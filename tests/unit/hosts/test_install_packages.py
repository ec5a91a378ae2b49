# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a machine is told that cannot have test hosts, and that the scenarios are then skipped with just that."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest

from tests.hosts.obstacle import CANNOT_RUN, SCRIPT
from tools.checkout import CHECKOUT

NOBODY = 65534
# What the script itself needs, and what tells it that this machine is no Debian.
TOOLS = ("bash", "dirname", "id", "uname")
COMMANDS = "podman mmdebstrap nsenter ip ssh ssh-keygen"


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A PATH with nothing but what the script needs to say no."""
    for name in TOOLS:
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.fail(f"there is no {name}"))
    return str(tmp_path)


def test_without_apt_the_missing_commands_are_named(path: str) -> None:
    done = subprocess.run(["bash", str(SCRIPT)], env={"PATH": path}, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (CANNOT_RUN, f"test hosts cannot run here: missing commands: {COMMANDS}\n")


@pytest.fixture
def public() -> t.Iterator[pathlib.Path]:
    """A directory that other accounts can enter, with the script and its list of packages."""
    with tempfile.TemporaryDirectory(prefix="packages-") as name:
        top = pathlib.Path(name)
        top.chmod(0o755)
        for file in (SCRIPT, CHECKOUT / "requirements" / "system-debian.txt"):
            copy = top / file.relative_to(CHECKOUT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        yield top


def as_ordinary_account(public: pathlib.Path) -> str:
    """The last line for an account other than root."""
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    script = str(public / SCRIPT.relative_to(CHECKOUT))
    done = subprocess.run(["bash", script], text=True, capture_output=True, check=False, cwd="/", **account)  # type: ignore[call-overload]
    assert done.returncode == CANNOT_RUN, done
    return str(done.stdout.splitlines()[-1])


def test_an_ordinary_account_is_told_what_to_install(public: pathlib.Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-query") is None:
        pytest.skip("only Debian and Ubuntu have packages to name")
    (public / "requirements" / "system-debian.txt").write_text("# The list\nbash\nno-such-package\nnor-this\n")
    advice = "missing no-such-package nor-this; install them with: sudo apt-get install --no-install-recommends no-such-package nor-this"
    assert as_ordinary_account(public) == f"test hosts cannot run here: {advice}"


def test_an_ordinary_account_that_has_everything_is_told_why_not_all_the_same(public: pathlib.Path) -> None:
    (public / "requirements" / "system-debian.txt").write_text("bash\n")
    said = as_ordinary_account(public)
    assert "they need root, for a network that the controller can reach" in said or "missing commands: " in said


def test_the_scenarios_are_skipped_with_exactly_that_reason(path: str) -> None:
    command = [sys.executable, "-m", "pytest", "-rs", "--no-header", "tests/molecule"]
    environ = {**os.environ, "PATH": path, "COLUMNS": "300"}
    done = subprocess.run(command, cwd=CHECKOUT, env=environ, text=True, capture_output=True, check=False, timeout=300)
    (reason,) = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    scenarios = len(list((CHECKOUT / "molecule").glob("*/molecule.yml")))
    assert reason.startswith(f"SKIPPED [{scenarios}] tests/molecule/test_scenarios.py"), done.stdout
    assert reason.endswith(f": test hosts cannot run here: missing commands: {COMMANDS}"), done.stdout
    assert f"1 passed, {scenarios} skipped" in done.stdout.splitlines()[-1]
