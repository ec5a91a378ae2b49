# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Starts supervisord while holding a lock, so that a second one never stands beside it. Copied to the host and run there.

supervisord takes another one with the same socket for running only as long as the socket file exists; the lock lasts as
long as the process. Called as ``launcher.py <lock file> <supervisord.conf>``; ends with 3 where the lock is held.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

HELD = 3
# supervisord closes every descriptor from 5 up when it starts.
_KEPT_DESCRIPTOR = 4
# Seconds: who only looks whether a supervisord runs holds the lock for a moment.
_PATIENCE = 2.0
_POLL = 0.02


def main(lock_file: str, configuration: str) -> int:
    """Become the supervisord; returns only where it could not start or was already there."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    if descriptor != _KEPT_DESCRIPTOR:
        os.dup2(descriptor, _KEPT_DESCRIPTOR, inheritable=False)
        os.close(descriptor)
    deadline = time.monotonic() + _PATIENCE
    while not _taken(_KEPT_DESCRIPTOR):
        if time.monotonic() > deadline:
            return HELD
        time.sleep(_POLL)
    from supervisor import supervisord

    supervisord.main(["-c", configuration])
    return 0


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
