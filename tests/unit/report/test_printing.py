# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a worker writes must not command the terminal of whoever reads it."""

from __future__ import annotations

import pytest

from ansible_collections.ew_ai.worker.plugins.plugin_utils import printing


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain ü 你\ttab", "plain ü 你\ttab"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("100%\r\x9b31m\x7f", "100%\\x0d\\x9b31m\\x7f"),
    ],
)
def test_control_characters_are_spelt_out(line: str, shown: str) -> None:
    assert printing.printable(line) == shown


def test_they_are_wherever_lines_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    printing.say("REPORT", ["one\x1b[2J", "two"])
    printing.show("host", ["three\x1b[2J"])
    found = "".join(capsys.readouterr())
    assert "one\\x1b[2J\ntwo" in found
    assert "host | three\\x1b[2J" in found
    assert "\x1b[2J" not in found
