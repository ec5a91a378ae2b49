# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a channel answers, within a time that a person would wait."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from .errors import ChannelError

# The first exists on every current channel, the second on all.
INDEXES = ("noarch/repodata.json.zst", "noarch/repodata.json")
NOT_THERE = "HTTP status 404"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    channel: str
    url: str
    answers: bool
    reason: str
    seconds: float


def base_url(channel: str) -> str:
    """The address of a channel given by name or URL, as py-rattler takes it; it ends with a slash."""
    from rattler import Channel

    try:
        return Channel(channel).base_url.rstrip("/") + "/"
    except Exception as error:
        # py-rattler raises several types of its own here, none of them public.
        raise ChannelError(f"--channel {channel}: {error}; give a name such as conda-forge or a URL") from error


def _get(url: str, timeout: float) -> str:
    """Why the URL does not answer; empty if it does. The body is not read."""
    try:
        with urllib.request.urlopen(url, timeout=timeout):  # the URL is the user's own channel
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP status {error.code}"
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(error)


def why_silent(base: str, timeout: float) -> str:
    """Why the channel at ``base`` does not answer; empty if it does."""
    reason = NOT_THERE
    for index in INDEXES:
        if reason == NOT_THERE:
            reason = _get(base + index, timeout)
    return reason


def probe(channel: str, timeout: float) -> Answer:
    """Ask for the channel's index; ``timeout`` in seconds holds for the whole, name resolution included."""
    url = base_url(channel)
    started = time.monotonic()
    found: list[str] = []
    # A thread: resolving a name cannot be given a time-out. It dies with the process.
    worker = threading.Thread(target=lambda: found.append(why_silent(url, timeout)), daemon=True)
    worker.start()
    worker.join(timeout)
    reason = found[0] if found else f"no answer within {timeout:g} s"
    return Answer(channel, url, not reason, reason or "it answers", round(time.monotonic() - started, 3))
