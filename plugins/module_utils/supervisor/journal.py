# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading ``journalctl --output json``. Pure functions."""

from __future__ import annotations

import datetime
import json
import typing as t

from .model import LogLine, log_line


def parse(text: str) -> list[LogLine]:
    """The entries in order; what is no entry is left out."""
    lines = []
    # Not splitlines: it also takes characters for line ends that may stand in a message.
    for row in text.split("\n"):
        try:
            entry = json.loads(row)
        except ValueError:
            continue
        if isinstance(entry, dict):
            lines.append(LogLine(_time(entry.get("__REALTIME_TIMESTAMP")), log_line(_message(entry.get("MESSAGE")))))
    return lines


def _message(value: t.Any) -> str:
    """Text that is not UTF-8 comes as a list of bytes; a field that was sent twice as a list of texts."""
    if isinstance(value, list):
        if all(isinstance(byte, int) for byte in value):
            return bytes(value).decode("utf-8", "replace")
        return " ".join(str(each) for each in value)
    return "" if value is None else str(value)


def _time(microseconds: t.Any) -> str:
    if not str(microseconds or "").isdigit():
        return ""
    return iso_time(int(microseconds) / 1_000_000)


def iso_time(seconds: float, precision: str = "milliseconds") -> str:
    """``2026-01-05T09:08:07.123Z``."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
