# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The moments between two writes, by name, at which tests kill a module to see that the next run mends what it left.

In production that is one look at a variable that nobody sets. The variable names a file, which has the name of one boundary in it.
The file must be a regular one of the module's own account with the mode 0600: whoever has another account than the module's can
neither make it nor choose a root-owned one with that content, even where the variable should get through to it. It is removed before
the process is killed, so the same command with the same variables goes through when it is run again, and its absence tells that the
boundary was reached. Detached jobs inherit the variable. All names are in docs/testing.md. Needs nothing of Ansible.
"""

from __future__ import annotations

import os
import signal
import stat

VARIABLE = "EW_WORKER_FAULT"
_LONGEST = 200


def boundary(name: str) -> None:
    """Everything before this line is written, nothing after it is. A test that asked for this boundary has the process killed (SIGKILL)."""
    order = os.environ.get(VARIABLE)
    if order and _asks_for(order, name):
        os.unlink(order)
        os.kill(os.getpid(), signal.SIGKILL)


def _asks_for(path: str, name: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == 0o600
        return ours and os.read(descriptor, _LONGEST).decode("ascii", "replace").strip() == name
    finally:
        os.close(descriptor)
