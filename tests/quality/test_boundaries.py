# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every boundary at which tests can kill a module is in the table of docs/testing.md and is tried by a test."""

from __future__ import annotations

import ast
import re

from tests.integration.test_boundaries import BOUNDARIES, OF_JOBS
from tools.checkout import CHECKOUT

STAGED = "file.staged"  # followed by the name of the file


def in_the_code() -> set[str]:
    """The names that plugins call ``boundary`` with."""
    found = set()
    for path in (CHECKOUT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "boundary":
                texts = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
                assert texts, f"{path}: line {node.lineno} names no boundary"
                found |= {text.strip() for text in texts}
    return found


def test_each_boundary_is_in_the_table_and_is_tried() -> None:
    code = in_the_code()
    table = set(re.findall(r"^\| `([a-z_.]+)(?: FILE)?` \|", (CHECKOUT / "docs" / "testing.md").read_text(encoding="utf-8"), re.MULTILINE))
    tried = {name.split()[0] for names in BOUNDARIES.values() for name in names} | set(OF_JOBS)
    assert STAGED in code
    assert table == code
    assert tried == code
    assert len(code) >= 20
