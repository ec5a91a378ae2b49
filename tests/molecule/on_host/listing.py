# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints a host's files as JSON, ``{path: "type mode uid:gid content"}``: ``python3 - PATH... < listing.py``.

The content is a digest, or where a link leads. Other file systems below a path are looked at too, but not those which the
kernel makes up.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys

MADE_UP = {"/proc", "/sys", "/dev"}


def content(path: str, status: os.stat_result) -> str:
    """What is in it; empty for what has no content of its own."""
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    return ""


def row(path: str) -> str:
    """One path."""
    status = os.lstat(path)
    kind = stat.filemode(status.st_mode)
    return f"{kind} {status.st_uid}:{status.st_gid} {content(path, status)}".rstrip()


def main() -> None:
    """Print the listing of every path that is there."""
    found = {}
    for top in sys.argv[1:]:
        for directory, directories, files in os.walk(top):
            directories[:] = [name for name in directories if os.path.join(directory, name) not in MADE_UP]
            for path in [directory, *(os.path.join(directory, name) for name in files)]:
                try:
                    found[path] = row(path)
                except FileNotFoundError:  # it has gone since
                    continue
            for name in directories:
                if os.path.islink(os.path.join(directory, name)):
                    found[os.path.join(directory, name)] = row(os.path.join(directory, name))
    json.dump(found, sys.stdout)


main()
