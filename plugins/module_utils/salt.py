# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The random bytes of a worker that key every digest into which a secret goes. Needs nothing of Ansible."""

from __future__ import annotations

import secrets

from .boundaries import boundary
from .files import write_text


def read_salt(path: str) -> bytes:
    """The worker's salt; empty where there is none yet, with which no recorded digest can agree."""
    try:
        with open(path, encoding="ascii") as handle:
            return bytes.fromhex(handle.read().strip())
    except (FileNotFoundError, ValueError):
        return b""


def make_salt(path: str) -> bytes:
    """The worker's salt, written first where there is none (mode 0600)."""
    salt = read_salt(path)
    if not salt:
        salt = secrets.token_bytes(32)
        write_text(path, salt.hex() + "\n", 0o600)
        boundary("salt.written")
    return salt
