# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Style and types of all Python code."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tools.checkout import CHECKOUT, COLLECTION

from .command import run


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", ".")


def test_ruff_would_format_nothing() -> None:
    run("ruff", "format", "--check", ".")


def test_types_of_plugins() -> None:
    """Strict, by the path that makes the modules' names what they are on a host."""
    run("mypy", "--strict", COLLECTION / "plugins")


def test_types_of_tools_and_tests() -> None:
    """Not the unit and integration tests: they hand wrong values around on purpose."""
    run("mypy", "--python-version", "3.11", "tools", "tests/conftest.py", "tests/hosts", "tests/molecule", "tests/quality")


@pytest.mark.parametrize("example", ["worker", "flat-worker"])
def test_types_of_examples(example: str, tmp_path: pathlib.Path) -> None:
    """Each example is a project of its own, with its own import root."""
    root = CHECKOUT / "examples" / example
    assert list(root.rglob("*.py")), f"examples/{example} has no Python files"
    if (root / "__init__.py").is_file():  # the old flat layout: the directory is the package, and becomes `worker` on a host
        root = shutil.copytree(root, tmp_path / "worker").parent
    packages = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    sources = sorted(path.name for path in root.glob("*.py"))
    config = ("--config-file", CHECKOUT / "pyproject.toml")
    if sources:
        run("mypy", *config, *sources, cwd=root)
    if packages:
        run("mypy", *config, *(option for package in packages for option in ("-p", package)), cwd=root)
