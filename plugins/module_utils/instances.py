# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whose instance a process is, by the variables that every instance carries. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import os
import typing as t

from .layout import WorkerLayout
from .names import is_name
from .processes import environ, user_of

WORKER = "EW_WORKER"
INSTANCE = "EW_INSTANCE"
STATE_DIR = "EW_STATE_DIR"


def instance_of(layout: WorkerLayout, pid: int) -> t.Optional[str]:
    """The instance of this worker that the process is or was started by; None for anything else.

    Everybody can start a process with such variables: it counts only where it is the instance's own user's, or ours.
    """
    variables = environ(pid) or {}
    name = variables.get(INSTANCE, "")
    if variables.get(WORKER) != layout.name or not variables.get(STATE_DIR, "").startswith(layout.home + os.sep) or not is_name(name):
        return None
    users = {os.geteuid()}
    with contextlib.suppress(OSError):
        users.add(os.stat(layout.directories(name)[0]).st_uid)
    return name if user_of(pid) in users else None
