# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The generator of the README's tables, on a role of its own."""

from __future__ import annotations

import typing as t

import pytest

from tools.docs.markers import MarkerError, between, replaced
from tools.docs.variables import COMPUTED, Group, Language, as_yaml, groups_of, markdown, options_of, rows_of, table

DEFAULTS = """\
---
# What this file is.

# What to deploy
worker_dir: ""
worker_limits: {}

# Network of the host,
# and beyond
worker_address: "{{ ansible_host }}"
"""
SPECS: dict[str, t.Any] = {
    "argument_specs": {
        "main": {
            "options": {
                "worker_dir": {"type": "str", "default": "", "description": "A V(dir) | E(EW_DIR)."},
                "worker_limits": {
                    "type": "dict",
                    "default": {},
                    "description": ["Limits."],
                    "options": {"cpu": {"type": "int", "description": "x"}, "mode": {"choices": ["a", "b"], "description": "y"}},
                },
                "worker_address": {"description": "From the inventory."},
            }
        },
        "stop": {"options": {"worker_address": {"description": "From the inventory."}}},
    }
}


def test_groups_come_from_comments() -> None:
    assert groups_of(DEFAULTS) == [
        Group("What to deploy", ("worker_dir", "worker_limits")),
        Group("Network of the host, and beyond", ("worker_address",)),
    ]


def test_table_and_back() -> None:
    text = table(DEFAULTS, SPECS)
    assert text.splitlines()[:5] == [
        "### What to deploy",
        "",
        "| variable | type | default | what it does |",
        "|---|---|---|---|",
        '| `worker_dir` | str | `""` | A `dir` \\| `EW_DIR`. |',
    ]
    assert "| `worker_limits` | dict | `{}` | Limits. Keys: `cpu` (int), `mode` (a, b). |" in text
    assert rows_of(text) == {"worker_dir": ("str", '`""`'), "worker_limits": ("dict", "`{}`"), "worker_address": ("str", COMPUTED)}


def test_another_language_has_words_of_its_own() -> None:
    words = {"worker_dir": "目录", "worker_limits": "限制。", "worker_address": "地址"}
    groups = {"What to deploy": "部署什么", "Network of the host, and beyond": "网络"}
    text = table(DEFAULTS, SPECS, Language("| 变量 | 类型 | 默认值 | 作用 |", "自动", "键：", "。", groups, words))
    assert "### 网络" in text
    assert "| `worker_limits` | dict | `{}` | 限制。键：`cpu` (int), `mode` (a, b)。 |" in text
    assert rows_of(text)["worker_address"] == ("str", "自动")
    with pytest.raises(KeyError, match="worker_limits"):
        table(DEFAULTS, SPECS, Language(groups=groups, variables={"worker_dir": "目录"}))


def test_entry_points_must_agree() -> None:
    other = {"argument_specs": {**SPECS["argument_specs"], "stop": {"options": {"worker_dir": {"type": "path", "description": "x"}}}}}
    with pytest.raises(ValueError, match="worker_dir of the entry point stop differs"):
        options_of(other)


def test_a_variable_without_spec_is_an_error() -> None:
    with pytest.raises(KeyError, match="worker_new"):
        table(DEFAULTS + "worker_new: 1\n", SPECS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("conda", "conda"),
        ("3.10", '"3.10"'),
        ("true", '"true"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("127.0.0.1", "127.0.0.1"),
        (True, "true"),
        (10, "10"),
        (["--port", "{port}"], '["--port", "{port}"]'),
        ({"delay": 2}, '{"delay": 2}'),
        ("工", "工"),
    ],
)
def test_values_as_one_writes_them(value: object, text: str) -> None:
    assert as_yaml(value) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("V(false) does O(worker_dir)", "`false` does `worker_dir`"),
        ("C(a(b\\)c)", "`a(b)c`"),
        ("V(git+URL@REF\\)) x", "`git+URL@REF)` x"),
        ("B(bold) I(it)", "**bold** *it*"),
        ("L(docs, https://example.org/a)", "[docs](https://example.org/a)"),
        ("two\n  lines", "two lines"),
    ],
)
def test_markup(source: str, text: str) -> None:
    assert markdown(source) == text


def test_markers() -> None:
    document = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\nb\n"
    assert between(document, "x") == "old"
    new = replaced(document, "x", "n\\1ew")
    assert new == "a\n<!-- begin: x -->\n\nn\\1ew\n\n<!-- end: x -->\nb\n"
    assert replaced(new, "x", "n\\1ew") == new
    assert between("<!-- begin: x -->\n<!-- end: x -->", "x") == ""


@pytest.mark.parametrize("document", ["", "<!-- begin: x -->\n", "<!-- begin: x -->\n<!-- end: x -->\n" * 2])
def test_markers_must_be_there_once(document: str) -> None:
    with pytest.raises(MarkerError, match="pairs of the lines"):
        replaced(document, "x", "new")
