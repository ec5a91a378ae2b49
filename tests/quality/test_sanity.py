# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-test sanity with nothing ignored, on the Pythons of hosts where that matters."""

from __future__ import annotations

import functools
import re
import shutil

import pytest

from tools.checkout import CHECKOUT
from tools.testing.interpreters import search_path
from tools.testing.sanity import pip_settings, prepare_home
from tools.testing.tree import copy_tree

from .command import BIN, call

# The Pythons of managed hosts: the oldest that is served, and those of the test hosts. What is imported there imports on those between.
HOST_PYTHONS = ("3.9", "3.11", "3.13")


def sanity(*arguments: str) -> str:
    """What ansible-test wrote; anything that it found fails the test."""
    done = call("ansible-test", "sanity", "--local", "--color", "no", *arguments, cwd=copy_tree(), env=environ(), timeout=1800)
    output = done.stdout + done.stderr
    found = [line for line in output.splitlines() if line.startswith(("ERROR:", "FATAL:"))]
    assert not found, "\n".join(found)
    assert done.returncode == 0, output[-8000:]
    return output


@functools.cache
def environ() -> dict[str, str]:
    """A home and a PATH for ansible-test."""
    return {"HOME": str(prepare_home()), "PATH": search_path(BIN)}


def assert_ran(output: str, *names: str) -> None:
    """Each of ansible-test's own tests did run."""
    for name in names:
        assert re.search(rf'Running sanity test "{name}"', output), f"{name} did not run:\n{output[-8000:]}"


# Three tests, so that several processes share the work; each of ansible-test's own tests is in one of them.


@pytest.mark.slow
def test_pylint_finds_nothing() -> None:
    assert_ran(sanity("--test", "pylint"), "pylint")


@pytest.mark.slow
def test_everything_imports_on_the_pythons_of_hosts() -> None:
    there = [version for version in HOST_PYTHONS if shutil.which(f"python{version}", path=environ()["PATH"])]
    assert there, f"none of Python {', '.join(HOST_PYTHONS)} is here"
    for version in there:
        assert f'Running sanity test "import" on Python {version}' in sanity("--test", "import", "--python", version)


@pytest.mark.slow
def test_all_other_sanity_tests_find_nothing() -> None:
    output = sanity("--skip-test", "pylint", "--skip-test", "import")
    assert_ran(output, "validate-modules", "pep8", "yamllint", "shellcheck", "compile", "ansible-doc")
    assert 'Running sanity test "pylint"' not in output


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
