# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether another account could exchange a file that root is about to run or to read for others. Needs nothing of Ansible."""

from __future__ import annotations

import os
import stat
import typing as t


def writable_by_others(path: str) -> t.Optional[str]:
    """The file, or the directory above it, that another account than root can change or exchange; links are followed, and looked at too."""
    ways = dict.fromkeys(each for end in (path, os.path.realpath(path)) for each in _way(end))
    for each in ways:
        status = os.stat(each)
        others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
        # In such a directory (/tmp) nobody exchanges what is another's.
        sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or (others and not sticky):
            return each
    return None


def _way(path: str) -> list[str]:
    way = [os.path.normpath(path)]
    while os.path.dirname(way[-1]) != way[-1]:
        way.append(os.path.dirname(way[-1]))
    return way
