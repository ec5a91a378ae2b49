# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The locks of what is kept of workers. Whoever needs several takes them in this order: root, state, lease. Needs nothing of Ansible."""

from __future__ import annotations

import os
import typing as t

from ..files import locked
from ..layout import Layout

# What is removed under it may be big.
ROOT_TIMEOUT = 600.0
STATE_TIMEOUT = 60.0
LEASE_TIMEOUT = 10.0


def root_lock(root: str) -> str:
    """The file of the lock of the root."""
    return os.path.join(Layout(root).locks, "root.lock")


def of_root(root: str) -> t.ContextManager[None]:
    """Held while somebody begins to work below the root, and while what the workers share is removed."""
    return locked(root_lock(root), ROOT_TIMEOUT, "what the workers share is being removed")


def of_state(root: str, name: str) -> t.ContextManager[None]:
    """Held from reading the generations of a worker to writing them."""
    return locked(os.path.join(Layout(root).locks, f"state-{name}.lock"), STATE_TIMEOUT, f"the generations of {name}")


def of_lease(root: str, name: str) -> t.ContextManager[None]:
    """Held from reading the lease of a worker to writing it."""
    return locked(os.path.join(Layout(root).locks, f"lease-{name}.lock"), LEASE_TIMEOUT, f"the lease of {name}")
