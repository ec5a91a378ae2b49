# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From what py-rattler says to codes and remedies. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ..errors import WorkerError
from ..network import CA_REMEDY, PROXY_REMEDY, PROXY_WORDS
from .backends import CreateRequest
from .specs import strip_credentials

_FETCH_ANEW = "Fetch or index the channel anew; do not install this file."
_OPEN = "With build_user, what root, cache and channels name must be open to that account (chmod a+rX)."
_LEAVE_OUT = "Leave the package out, or take it from a channel that you trust."
_LOOK = "Look at what the message names."
# (code, remedy, what the text says); the first that fits. What the machine lacks comes before what the network did.
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("disk_full", "Free space or inodes below the prefix and the cache (df -h; df -i), then run again.", r"os error 28\b|No space left"),
    ("disk_full", "The disk quota is used up: free space, then run the same command again.", r"os error 122\b|Disk quota exceeded"),
    ("not_writable", "The file system is read-only: remount it, or choose another root.", r"os error 30\b|Read-only file system"),
    ("not_writable", f"Run it with the rights it needs (become: true). {_OPEN}", r"os error 13\b|Permission denied"),
    ("prefix_too_long", "Choose a shorter root, name or prefix.", r"target prefix cannot be longer"),
    ("hash_mismatch", _FETCH_ANEW, r"hash mismatch|mismatch.*sha256|sha256.*mismatch"),
    ("channel_unreachable", PROXY_REMEDY, PROXY_WORDS),
    ("channel_unreachable", "Check the credentials in the channel's address.", r"\b40[13] (?!File)|Unauthorized|Forbidden"),
    ("channel_unreachable", "Check the channel's address: there is no such channel for this platform.", r"could not find subdir|\b404\b"),
    ("channel_unreachable", CA_REMEDY, r"certificate|UnknownIssuer"),
    (
        "channel_unreachable",
        "See whether this host reaches the channel, or set channels to a mirror; with offline: true it must be cached or a directory.",
        r"client error|dns error|tcp connect|timed out|error sending request|decoding response body|Request failed|Connection|HTTP status|"
        r"no usable repodata cache",
    ),
)
_KINDS: dict[str, tuple[str, str]] = {
    "HashMismatch": ("hash_mismatch", _FETCH_ANEW),
    "UnsafePackage": ("unsafe_package", _LEAVE_OUT),
    "NotCached": ("channel_unreachable", "Run once without offline, or name a directory in channels."),
    "Unreachable": ("not_writable", _OPEN),
    "SolverError": ("unsatisfiable", "Loosen or correct python_version, packages or channels."),
    "InvalidMatchSpecError": ("invalid_option", "Correct that spec in packages, python_version or file."),
    "InvalidChannelError": ("invalid_option", "Correct the option channels."),
}
# Where a lock names the packages, no channel is asked and none can be set.
_OF_LOCKS: dict[str, tuple[str, str]] = {
    "hash_mismatch": (
        "A package is not the one that was locked",
        "Find out who changed the file; where that is right, lock anew. A file that is still right elsewhere can be named by its address there.",
    ),
    "channel_unreachable": (
        "A package of the lock cannot be had",
        "See whether this host reaches that address and may read it (credentials: the option channels); or lock with a mirror's addresses.",
    ),
    "unsafe_package": ("A package of the lock is refused", _LEAVE_OUT),
}
_SUBJECTS = {
    "unsatisfiable": "No set of packages fulfils what is wanted",
    "channel_unreachable": "A channel did not answer as one",
    "hash_mismatch": "A package is not what its channel says it is",
    "unsafe_package": "A package is refused",
    "invalid_option": "The solver cannot read what is wanted",
    "disk_full": "The disk is full",
    "not_writable": "The prefix or the cache cannot be written",
}


def classify(kind: str, message: str, request: CreateRequest) -> WorkerError:
    """The error for an exception of the type ``kind`` with that message."""
    code, remedy = _KINDS.get(kind) or next(((code, remedy) for code, remedy, pattern in _ROWS if re.search(pattern, message)), ("create_failed", _LOOK))
    subject = _SUBJECTS.get(code, "Creating the environment failed")
    if request.locked:
        if code == "create_failed" and re.search(r"No such file|os error 2\b", message):
            code = "channel_unreachable"
        subject, remedy = _OF_LOCKS.get(code, (subject, remedy))
    # The solver draws a tree; the others only break their lines.
    words = strip_credentials(message.strip() if kind == "SolverError" else " ".join(message.split())) or f"the library raised {kind}"
    return WorkerError(code, f"{subject}: {words.rstrip('.')}.", remedy, **_details(request))


def _details(request: CreateRequest) -> dict[str, t.Any]:
    return {"specs": list(request.specs), "channels": [strip_credentials(channel) for channel in request.channels]}
