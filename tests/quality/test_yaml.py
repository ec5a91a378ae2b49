# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML, playbooks and roles."""

from __future__ import annotations

import pytest
import yaml

from tools.checkout import CHECKOUT
from tools.testing.tree import copy_tree, project_files

from .command import run

EXCUSES = ("# noqa", "skip_ansible_lint", "# yamllint disable")


def test_yamllint_finds_nothing() -> None:
    run("yamllint", "--strict", *(str(name) for name in project_files() if name.suffix in (".yml", ".yaml")), ".yamllint", ".ansible-lint")


@pytest.mark.slow
def test_ansible_lint_finds_nothing() -> None:
    """Profile production, without the network."""
    run("ansible-lint", "--profile", "production", "--offline", "--strict", "--nocolor", cwd=copy_tree(), timeout=900)


def test_ansible_lint_skips_nothing() -> None:
    settings = yaml.safe_load((CHECKOUT / ".ansible-lint").read_text(encoding="utf-8"))
    assert settings["profile"] == "production"
    assert not {"skip_list", "warn_list", "mock_modules", "mock_roles"} & set(settings)
    assert not (CHECKOUT / ".ansible-lint-ignore").exists()
    excused = [
        f"{name}:{number} {word}"
        for name in project_files()
        if name.suffix in (".yml", ".yaml")
        for number, line in enumerate((CHECKOUT / name).read_text(encoding="utf-8").splitlines(), 1)
        for word in EXCUSES
        if word in line
    ]
    assert excused == []
