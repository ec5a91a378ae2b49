# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make deploy`, again, `make status`, `make undeploy`: from a clean clone, with an empty home, by root and by an ordinary account."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import typing as t

import pytest

from tests.figures import tell
from tests.shared import free_ports
from tools.testing.sanity import write_pip_settings
from tools.testing.tree import copy_tree

from .clean_room import changed, clean_environment, left_in, processes_below, run

NOBODY = 65534
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class Clone:
    """A clone, a home and a directory for temporary files, all of one account, below a short path: a socket needs that."""

    def __init__(self, place: pathlib.Path, account: str) -> None:
        self.place = place
        self.clone, self.home, self.temporary = place / "clone", place / "home", place / "tmp"
        copy_tree(self.clone)
        for directory in (self.home, self.temporary):
            directory.mkdir()
        self._environ = clean_environment(self.home, TMPDIR=str(self.temporary))
        self._port = f"ARGS=-e worker_port={free_ports()}"
        self._become: list[str] = []
        if account == "ordinary":
            self._give_away()

    def _give_away(self) -> None:
        """From now on all is done by an account that has no rights and no settings but pip's."""
        write_pip_settings(self.place / "pip.conf", {})
        own = {"PIP_CACHE_DIR": str(self.place / "pip"), "PIP_CONFIG_FILE": str(self.place / "pip.conf"), "PATH": SYSTEM_PATH}
        self._environ = {**self._environ, **own, "USER": "nobody", "LOGNAME": "nobody"}
        self._become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        for path in (self.place, *self.place.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)

    def make(self, target: str) -> str:
        """What make wrote."""
        return run([*self._become, "make", "--no-print-directory", target, self._port], self.clone, self._environ)

    def root(self) -> pathlib.Path:
        return self.home / ".local/share/ew_ai_worker"


def why_not(account: str) -> str:
    """Why this machine cannot run the tests as that account; empty where it can."""
    if account == "whoever runs this":
        return ""
    if os.geteuid() != 0:
        return "whoever runs this is an ordinary account already, and only root can become another"
    if shutil.which("setpriv") is None:
        return "becoming another account needs setpriv(1)"
    usable = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        path = shutil.which(name, path=SYSTEM_PATH)
        if path and subprocess.run([path, "-c", usable], user=NOBODY, group=NOBODY, check=False, capture_output=True, cwd="/").returncode == 0:
            return ""
    return f"no Python 3.11 or newer with ensurepip in {SYSTEM_PATH}: every account can run only those"


@pytest.fixture
def place() -> t.Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="make-", ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


def in_order(output: str, *patterns: str) -> None:
    """Each is there, after the one before it."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.MULTILINE).search(output, at)
        assert found, f"no {pattern!r} after:\n{output[:at][-500:]}\nin\n{output[at:][-6000:]}"
        at = found.end()


# The report comes first, then a real Infer and a real Train.
REPORT = (r"^\W*\[1/3\] environment +ok", r"\[2/3\] start_worker +ok .*PID=\d+", r"\[3/3\] health_check +ok .*\d+ms", r"SUCCESS: .*\(\d+ms\)")
CALLS = (r"^\$ .*worker\.client .* infer$", r"^label\s+\w+", r"^\$ .*worker\.client .* train$", r"^\s+epoch\s+epochs\s+loss", r"^Done in \d+ s")


@pytest.mark.slow
@pytest.mark.parametrize("account", ["whoever runs this", "ordinary"])
def test_a_clean_clone_deploys_calls_and_leaves_nothing(place: pathlib.Path, account: str) -> None:
    if why_not(account):
        pytest.skip(why_not(account))
    there = Clone(place, account)
    first = there.make("deploy")
    in_order(first, "packages come from", *REPORT, *CALLS)
    assert changed(first)[0] > 0
    packed = re.search(r"packages come from this machine's own CPython (\S+)", first)
    if packed:
        (python,) = there.root().glob("envs/*-*-*/bin/python")
        assert run([python, "--version"], place, {}).split() == ["Python", packed[1].rstrip(".,;:")]

    again = there.make("deploy")
    in_order(again, *REPORT, *CALLS)
    assert changed(again) == [0]
    assert "Installing requirements" not in again
    for which, output in (("first", first), ("second", again)):
        tell(f"make deploy, {which} run: {re.findall(r'^Done in ([0-9]+ s)', output, re.MULTILINE)[-1]}")

    status = there.make("status")
    assert re.search(r"localhost\s+ew-worker@0\s+running\s+\d+", status), status[-3000:]
    assert changed(status) == [0]

    there.make("undeploy")
    assert left_in(there.home) == [".local", ".local/share"]  # directories of the desktop, empty
    assert left_in(there.temporary) == []
    assert processes_below(place) == []
