# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What killed runs leave beside the bundles: not, or no longer, whole, and as big as these. Needs nothing of Ansible."""

from __future__ import annotations

import os

STAGING, REMOVED = ".staging-", ".removed-"


def leftovers(directory: str) -> list[str]:
    """The paths of those in the directory of the bundles."""
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory) if name.startswith((STAGING, REMOVED))]
    except FileNotFoundError:
        return []


def size_of(directory: str) -> int:
    """Bytes that removing the directory would free, as far as can be told while somebody may be removing it."""
    total = 0
    for place, _directories, files in os.walk(directory):
        for name in files:
            try:
                status = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            total += status.st_blocks * 512 if status.st_nlink == 1 else 0
    return total
