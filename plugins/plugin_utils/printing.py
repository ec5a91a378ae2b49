# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines for people, shown between Ansible's own without spoiling output that a program reads."""

from __future__ import annotations

import re
import typing as t

from ansible import constants
from ansible.utils.display import Display

# What moves the cursor or renames the window; log lines and names come from workers and hosts.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# With these, standard output is for people.
HUMAN_CALLBACKS = ("default", "minimal", "oneline", "yaml", "debug", "dense", "unixy", "community.general.yaml", "community.general.unixy")


def for_programs() -> bool:
    """Whether the standard output is for programs: lines for people then go to standard error."""
    callback = str(t.cast("t.Any", constants).DEFAULT_STDOUT_CALLBACK)
    return callback.removeprefix("ansible.builtin.") not in HUMAN_CALLBACKS


def printable(line: str) -> str:
    """The line with its control characters, but for tabs and line ends, spelt out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group(0)):02x}", line)


def say(title: str, lines: t.Sequence[str]) -> None:
    """Print the lines under a heading of their own: a task's heading may come before or after, as the callback likes."""
    text = printable("\n".join(lines))
    if for_programs():
        Display().display(text, stderr=True)
        return
    Display().banner(title)
    Display().display(text)


def show(host: str, lines: t.Iterable[str]) -> None:
    """Print ``  <host> | <line>`` about work that goes on."""
    color = t.cast("t.Any", constants).COLOR_VERBOSE
    for line in lines:
        Display().display(f"  {host} | {printable(line)}", color=color, stderr=for_programs())
