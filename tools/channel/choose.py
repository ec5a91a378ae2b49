# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The channel to deploy from: the real one when it answers, else one packed here. The choice is kept.

It is kept because a different channel means different environments: a second deploy is to change nothing, even when
the network has come or gone since.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pack import Channel
from .probe import Answer

CHOICE = "choice.json"


@dataclass(frozen=True)
class Choice:
    """What to deploy from, and why."""

    channel: str
    """A channel's name or URL."""
    python_version: str | None
    """The only version that the channel holds; None when the channel holds them all."""
    packed: bool
    """Whether this call packed it."""
    reason: str

    def as_json(self) -> dict[str, Any]:
        """For the command line's output."""
        return {
            "channel": self.channel,
            "python_version": self.python_version,
            "packed": self.packed,
            "reason": self.reason,
        }

    def line(self) -> str:
        """One line for people."""
        if self.python_version is None:
            return f"packages come from {self.channel}: {self.reason}"
        return f"packages come from this machine's own CPython {self.python_version} ({self.channel}): {self.reason}"


def remembered(cache: Path, channel: str) -> bool | None:
    """Whether the real channel was taken before; None if nothing was chosen yet for that channel."""
    try:
        choice = json.loads((cache / CHOICE).read_text(encoding="utf-8"))
        return bool(choice["remote"]) if choice["asked"] == channel else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(cache: Path, channel: str, remote: bool) -> None:
    """Keep the choice."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / CHOICE).write_text(json.dumps({"asked": channel, "remote": remote}), encoding="utf-8")


def choose(cache: Path, channel: str, fresh: bool, ask: Callable[[], Answer], make: Callable[[Path], Channel]) -> Choice:
    """Take the remembered choice, else ask the channel and pack one of our own if it does not answer.

    ``ask`` probes the channel, ``make`` packs into the directory given or finds that it is packed.
    """
    before = None if fresh else remembered(cache, channel)
    if before is None:
        answer = ask()
        remote, reason = answer.answers, f"{channel}: {answer.reason}"
    else:
        remote, reason = before, f"chosen before ({cache / CHOICE}; remove it to choose again)"
    if remote:
        choice = Choice(channel, None, False, reason)
    else:
        made = make(cache / "channel")
        choice = Choice(made.url, made.pythons[0], made.packed, reason)
    remember(cache, channel, remote)
    return choice
