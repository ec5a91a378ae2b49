# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What creating a prefix fails at, whatever tool does it: the words of a failure, by its code, and what the machine itself lacks. Pure data and functions."""

from __future__ import annotations

import re
import typing as t

from .backends import CreateRequest
from .specs import strip_credentials

# (code, remedy, what the text says).
Row = t.Tuple[str, str, str]

CREDENTIALS = "Check the credentials in the channel's address (worker_channels)."
FETCH_ANEW = "Fetch or index the channel anew; do not install this file."
LOOK = "Look at what the message names."
LOOSEN = "Loosen or correct python_version, packages or channels (worker_python_version, worker_packages, worker_channels)."
OPEN = "With build_user, what root, cache and channels name must be open to that account (chmod a+rX)."
ONCE_ONLINE = "Run once without offline (worker_offline: false), or name a directory in channels (worker_channels)."
REACH = (
    "See whether this host reaches the channel (curl -I CHANNEL/noarch/repodata.json), or set channels (worker_channels) to a mirror; "
    "with offline: true it must be cached or a directory."
)
SPEC = "Correct that spec in packages, python_version or file (worker_packages, worker_python_version, worker_environment_file)."
SUBJECTS = {
    "unsatisfiable": "No set of packages fulfils what is wanted",
    "channel_unreachable": "A channel did not answer as one",
    "hash_mismatch": "A package is not what its channel says it is",
    "unsafe_package": "A package is refused",
    "invalid_option": "The solver cannot read what is wanted",
    "disk_full": "The disk is full",
    "not_writable": "The prefix or the cache cannot be written",
    "build_failed": "A script of a package failed",
    "prefix_too_long": "The prefix is too long",
}
# What the machine lacks comes before what the network did, and what the network did before what else there is. Python's words and Rust's.
_MACHINE: tuple[Row, ...] = (
    (
        "disk_full",
        "Free space or inodes below the prefix and the cache (df -h; df -i), then run again.",
        r"No space left|NoSpaceLeft|\[Errno 28\]|os error 28\b",
    ),
    ("disk_full", "The disk quota is used up: free space, then run the same command again.", r"Disk quota exceeded|\[Errno 122\]|os error 122\b"),
    ("not_writable", "The file system is read-only: remount it, or choose another root.", r"Read-only file system|\[Errno 30\]|os error 30\b"),
    (
        "not_writable",
        f"Run it with the rights it needs (become: true). {OPEN}",
        r"Permission denied|sufficient permissions|NotWritable|NoWritable|\[Errno 13\]|os error 13\b",
    ),
    (
        "prefix_too_long",
        "Choose a shorter root, name or prefix.",
        r"PaddingError|placeholder.*(?:long|length)|longer than the placeholder|target prefix cannot be longer",
    ),
)


def classify_text(text: str, rows: t.Sequence[Row]) -> tuple[str, str]:
    """(code, remedy) of the first row that fits: of the machine's, then of these."""
    return next(((code, remedy) for code, remedy, pattern in (*_MACHINE, *rows) if re.search(pattern, text)), ("create_failed", LOOK))


def subject(code: str) -> str:
    """How the message begins."""
    return SUBJECTS.get(code, "Creating the environment failed")


def wanted(request: CreateRequest) -> dict[str, t.Any]:
    """What every error tells of what was asked for."""
    return {"specs": list(request.specs), "channels": [strip_credentials(channel) for channel in request.channels]}
