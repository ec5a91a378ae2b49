# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module tells of what it did."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "[Unit]\nA=1\n", ([], ["[Unit]", "A=1"])),
        ("[Unit]\nA=1\n", None, (["[Unit]", "A=1"], None)),
        ("one", "two", ("one", "two")),
        (None, {"number": 1}, (None, {"number": 1})),
        (["a\n"], [], (["a\n"], [])),
    ],
)
def test_long_text_is_shown_line_by_line(before: t.Any, after: t.Any, shown: tuple[t.Any, t.Any]) -> None:
    actions = Actions()
    actions.differ("x", before, after)
    assert actions.as_result()["diff"] == {"before": {"x": shown[0]}, "after": {"x": shown[1]}}


def test_equal_sides_are_no_difference_and_no_action_is_no_change() -> None:
    actions = Actions()
    actions.differ("x", "a\nb", "a\nb")
    assert actions.as_result() == {"changed": False, "actions": [], "diff": {"before": {}, "after": {}}}
    actions.add("instance", "w@0", "started")
    assert actions.as_result()["changed"] is True
