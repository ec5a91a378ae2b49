# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each behaviour in the table of docs/testing.md has its tests, for conda, micromamba and py-rattler each, or says why not."""

from __future__ import annotations

import importlib
import re
import types
import typing as t

from tests.recorded import BACKENDS
from tools.checkout import CHECKOUT

FILES = ("", "_input", "_prefixes", "_rattler")


def named_tests() -> dict[str, set[str]]:
    """The tests by name, with the backends that they are for."""
    found: dict[str, set[str]] = {}
    for name in FILES:
        module = importlib.import_module(f"tests.unit.environment.test_environment_recorded{name}")
        for test, function in vars(module).items():
            if test.startswith("test_") and isinstance(function, types.FunctionType):
                found[test] = {"rattler"} if name == "_rattler" else backends_of(function)
    return found


def backends_of(function: types.FunctionType) -> set[str]:
    """The values of its parameter ``tool``."""
    found: set[str] = set()
    for mark in getattr(function, "pytestmark", ()):
        if mark.name == "parametrize":
            names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
            if "tool" in names:
                found |= {row if len(names) == 1 else row[names.index("tool")] for row in mark.args[1]}
    return found


def table() -> t.Iterator[tuple[str, list[str], set[str]]]:
    """(behaviour, its tests, the backends that are excused)."""
    text = (CHECKOUT / "docs" / "testing.md").read_text(encoding="utf-8").partition("\n## What the real tools do\n")[2].partition("\n## ")[0]
    for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE)[1:]:
        behaviour, tests, excuse = (cell.strip() for cell in re.split(r" \|(?: |$)", line))
        yield behaviour, re.findall(r"`(test_\w+)`", tests), set(excuse.partition(":")[0].split(", ")) - {""}


def test_each_behaviour_is_tested_for_each_backend() -> None:
    there = named_tests()
    rows = list(table())
    assert len(rows) >= 30
    for behaviour, tests, excused in rows:
        covered = set().union(*(there.get(test, set()) for test in tests))
        assert (behaviour, covered | excused) == (behaviour, set(BACKENDS))
        assert not covered & excused, behaviour


def test_the_table_has_each_test_and_no_other() -> None:
    assert {test for _behaviour, tests, _excused in table() for test in tests} == set(named_tests())
