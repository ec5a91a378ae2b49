# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test sanity, on every Python that this machine has, with nothing ignored."""

from __future__ import annotations

import re

import pytest

from tools.checkout import CHECKOUT
from tools.testing.interpreters import search_path
from tools.testing.sanity import pip_settings, prepare_home
from tools.testing.tree import copy_tree

from .command import BIN, call


@pytest.mark.slow
def test_sanity_finds_nothing() -> None:
    environ = {"HOME": str(prepare_home()), "PATH": search_path(BIN)}
    done = call("ansible-test", "sanity", "--local", "--color", "no", cwd=copy_tree(), env=environ, timeout=1800)
    output = done.stdout + done.stderr
    found = [line for line in output.splitlines() if line.startswith(("ERROR:", "FATAL:"))]
    assert not found, "\n".join(found)
    assert done.returncode == 0, output[-8000:]
    for name in ("validate-modules", "pylint", "pep8", "import", "yamllint", "shellcheck"):
        assert re.search(rf'Running sanity test "{name}"', output), f"{name} did not run:\n{output[-8000:]}"


def test_nothing_is_ignored() -> None:
    assert [path.name for path in (CHECKOUT / "tests" / "sanity").glob("ignore*")] == []


def test_settings_of_pip_reach_a_home_of_its_own() -> None:
    listing = "\n".join(
        [
            ":env:.cert='/etc/certs.crt'",
            ":env:.index-url='https://index.test/simple?a=b'",
            "global.index-url='https://other.test/simple'",
            "install.find-links='/wheels'",
            "no such line",
        ]
    )
    assert pip_settings(listing) == {
        "global": {"index-url": "https://index.test/simple?a=b", "cert": "/etc/certs.crt"},
        "install": {"find-links": "/wheels"},
    }
