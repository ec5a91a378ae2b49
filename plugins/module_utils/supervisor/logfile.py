# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading the log files that supervisord writes. A line has the time that it begins with, else that of the line before."""

from __future__ import annotations

import collections
import datetime
import os
import re
import typing as t

from .journal import iso_time
from .model import LogLine, log_line

_TIME = re.compile(r"^\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*\s?(Z|[+-]\d\d:?\d\d)?")


def size(path: str) -> int:
    """The file's size in bytes; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def tail(path: str, lines: int, offset: t.Optional[int] = None) -> list[LogLine]:
    """The last lines of the log file and of its predecessor, oldest first; nothing where there is no file.

    offset: leave out what stands before it (bytes), unless the file was rotated since.
    """
    rows: t.Deque[str] = collections.deque(maxlen=max(lines, 1))
    start = offset if offset is not None and offset <= size(path) else 0
    for each in (f"{path}.1", path) if offset is None else (path,):
        try:
            with open(each, encoding="utf-8", errors="replace") as handle:
                handle.seek(start)
                rows.extend(line.rstrip("\n") for line in handle)
        except FileNotFoundError:
            continue
    return timed(rows)


def timed(rows: t.Iterable[str]) -> list[LogLine]:
    """The rows with their times."""
    found = []
    time = ""
    for row in rows:
        time = own_time(row) or time
        found.append(LogLine(time, log_line(row)))
    return found


def own_time(row: str) -> str:
    """The time in UTC that the row begins with, or nothing. Without a zone it is this machine's local time."""
    match = _TIME.match(row)
    if not match:
        return ""
    moment, fraction, zone = match.groups()
    text = f"{moment.replace(' ', 'T')}.{(fraction or '0').ljust(6, '0')}"
    if zone:
        zone = "+00:00" if zone == "Z" else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        return iso_time(datetime.datetime.fromisoformat(text + (zone or "")).timestamp())
    except ValueError:
        return ""
