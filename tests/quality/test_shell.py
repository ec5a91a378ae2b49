# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shell scripts."""

from __future__ import annotations

from tools.checkout import CHECKOUT
from tools.testing.tree import project_files

from .command import run


def scripts() -> list[str]:
    """Every file that is a shell script by its name or its first line; templates are none yet."""
    found = []
    for name in project_files():
        path = CHECKOUT / name
        if path.is_symlink() or name.suffix == ".j2":
            continue
        with open(path, "rb") as stream:
            first = stream.readline(80)
        if name.suffix == ".sh" or (first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"bash", b" sh"))):
            found.append(str(name))
    return found


def test_shellcheck_finds_nothing() -> None:
    names = scripts()
    assert ".ci/run" in names
    run("shellcheck", "--severity=style", *names)
