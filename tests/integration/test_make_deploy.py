# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`make deploy`, again, `make status`, `make undeploy`: from a clean clone, with an empty home."""

from __future__ import annotations

import pathlib
import re
import tempfile
import typing as t

import pytest

from tests.shared import free_ports
from tools.testing.tree import copy_tree

from .clean_room import changed, clean_environment, left_in, processes_below, run


@pytest.fixture
def place() -> t.Iterator[pathlib.Path]:
    """A directory with a short path, as a socket needs it."""
    with tempfile.TemporaryDirectory(prefix="make-", ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


@pytest.mark.slow
def test_a_clean_clone_deploys_calls_and_leaves_nothing(place: pathlib.Path) -> None:
    clone, home, temporary = copy_tree(place / "clone"), place / "home", place / "tmp"
    home.mkdir()
    temporary.mkdir()
    environ = clean_environment(home, TMPDIR=str(temporary))
    port = f"ARGS=-e worker_port={free_ports()}"

    first = run(["make", "--no-print-directory", "deploy", port], clone, environ)
    assert "packages come from" in first
    assert changed(first)[0] > 0
    assert re.search(r"^label\s+\w+", first, re.MULTILINE), first[-3000:]
    assert re.search(r"^\s+epoch\s+epochs\s+loss", first, re.MULTILINE), first[-3000:]

    again = run(["make", "--no-print-directory", "deploy", port], clone, environ)
    assert changed(again) == [0]
    assert "Installing requirements" not in again
    assert re.search(r"^label\s+\w+", again, re.MULTILINE), again[-3000:]

    status = run(["make", "--no-print-directory", "status", port], clone, environ)
    assert re.search(r"localhost\s+ew-worker@0\s+running\s+\d+", status), status[-3000:]
    assert changed(status) == [0]

    run(["make", "--no-print-directory", "undeploy"], clone, environ)
    assert left_in(home) == [".local", ".local/share"]  # directories of the desktop, empty
    assert left_in(temporary) == []
    assert processes_below(place) == []
