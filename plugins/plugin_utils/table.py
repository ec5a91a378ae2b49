# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text tables and figures as people read them."""

from __future__ import annotations

import datetime
import typing as t


def render(rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """Lines with the columns under each other; the first row is the heading."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def size(count: t.Optional[int]) -> str:
    """``12.3 MiB``, or ``-`` where nothing is known."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def since(started_at: t.Optional[str], now: datetime.datetime) -> str:
    """How long ago an ISO 8601 time was: ``3d 4h``, ``5m 2s``; ``-`` where nothing is known."""
    if not started_at:
        return "-"
    seconds = max(0, int((now - datetime.datetime.fromisoformat(started_at.replace("Z", "+00:00"))).total_seconds()))
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    shown = [f"{number}{unit}" for number, unit in parts if number]
    return " ".join(shown[:2]) or "0s"
