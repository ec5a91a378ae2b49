# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From what py-rattler says to codes and remedies. Pure functions."""

from __future__ import annotations

import re

from ..errors import WorkerError
from ..network import CA_REMEDY, PROXY_REMEDY, PROXY_WORDS
from .backends import CreateRequest
from .solver_words import CREDENTIALS, FETCH_ANEW, LOOSEN, ONCE_ONLINE, OPEN, REACH, SPEC, Row, classify_text, subject, wanted
from .specs import strip_credentials

_LEAVE_OUT = "Leave the package out, or take it from a channel that you trust."
# What the library says; the first that fits.
_ROWS: tuple[Row, ...] = (
    ("hash_mismatch", FETCH_ANEW, r"hash mismatch|mismatch.*sha256|sha256.*mismatch"),
    ("channel_unreachable", PROXY_REMEDY, PROXY_WORDS),
    ("channel_unreachable", CREDENTIALS, r"\b40[13] (?!File)|Unauthorized|Forbidden"),
    ("channel_unreachable", "Check the channel's address: there is no such channel for this platform.", r"could not find subdir|\b404\b"),
    ("channel_unreachable", CA_REMEDY, r"certificate|UnknownIssuer"),
    (
        "channel_unreachable",
        REACH,
        r"client error|dns error|tcp connect|timed out|error sending request|decoding response body|Request failed|Connection|HTTP status|"
        r"no usable repodata cache",
    ),
)
_KINDS: dict[str, tuple[str, str]] = {
    "HashMismatch": ("hash_mismatch", FETCH_ANEW),
    "UnsafePackage": ("unsafe_package", _LEAVE_OUT),
    "NotCached": ("channel_unreachable", ONCE_ONLINE),
    "Unreachable": ("not_writable", OPEN),
    "SolverError": ("unsatisfiable", LOOSEN),
    "InvalidMatchSpecError": ("invalid_option", SPEC),
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


def classify(kind: str, message: str, request: CreateRequest) -> WorkerError:
    """The error for an exception of the type ``kind`` with that message."""
    code, remedy = _KINDS.get(kind) or classify_text(message, _ROWS)
    if request.locked and code == "create_failed" and re.search(r"No such file|os error 2\b", message):
        code = "channel_unreachable"
    begin, remedy = _OF_LOCKS.get(code, (subject(code), remedy)) if request.locked else (subject(code), remedy)
    # The solver draws a tree; the others only break their lines.
    words = strip_credentials(message.strip() if kind == "SolverError" else " ".join(message.split())) or f"the library raised {kind}"
    return WorkerError(code, f"{begin}: {words.rstrip('.')}.", remedy, **wanted(request))
