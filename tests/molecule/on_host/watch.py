# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the command line of every process that it sees, once, until its input ends: ``python3 watch.py``.

It looks often: an installer, a solver or a download lives far longer than the time between.
"""

from __future__ import annotations

import os
import select
import sys

INTERVAL = 0.02  # seconds


def running() -> set[str]:
    """The command lines of all processes, words joined by blanks."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                found.add(stream.read().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:  # it has ended
            continue
    return found


def main() -> None:
    """Look until the other side closes the input."""
    seen: set[str] = set()
    print("watching", flush=True)
    while not select.select([sys.stdin], [], [], INTERVAL)[0]:
        seen |= running()
    print("\n".join(sorted(seen)))


main()
