# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints as JSON which files hold which texts: ``python3 holders.py TEXTS PATH...``, TEXTS a JSON list of
hexadecimal bytes, each written backwards.

Whatever the user who runs it cannot read is passed over: run as anybody, it tells what anybody can read. Of the kernel's files only
those of processes are looked at.
"""

from __future__ import annotations

import json
import os
import stat
import sys

LARGEST = 1 << 26
KERNEL = {"/sys", "/dev", "/proc"}


def paths(tops: list[str]) -> list[str]:
    """The files below, and what every process tells of itself."""
    found = [f"/proc/{pid}/{name}" for pid in os.listdir("/proc") if pid.isdigit() for name in ("cmdline", "environ") if int(pid) != os.getpid()]
    for top in tops:
        for directory, directories, files in os.walk(top):
            directories[:] = [name for name in directories if os.path.join(directory, name) not in KERNEL]
            found += [os.path.join(directory, name) for name in files]
    return found


def main() -> None:
    """Print ``[path, …]``."""
    texts = [bytes.fromhex(each[::-1]) for each in json.loads(sys.argv[1])]
    holders = []
    for path in paths(sys.argv[2:]):
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
                continue
            with open(path, "rb") as stream:
                content = stream.read()
        except OSError:  # closed to this user, or gone
            continue
        if any(text in content for text in texts):
            holders.append(path)
    json.dump(sorted(holders), sys.stdout)


main()
