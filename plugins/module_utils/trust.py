# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether another account could exchange a file that root is about to run or to read for others. Needs nothing of Ansible."""

from __future__ import annotations

import os
import stat
import typing as t


def writable_by_others(path: str, lasting: bool = False) -> t.Optional[str]:
    """What another account than root can change or exchange: the file, a link on the way to it, or a directory that any of these is in.

    lasting: the path will be followed again some day. What root has in a directory like /tmp nobody exchanges, but it may be gone by then.
    """
    for each in _ways(path):
        status = os.stat(each)
        others = status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0)
        sticky = not lasting and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or os.lstat(each).st_uid != 0 or (others and not sticky):
            return each
    return None


def _ways(path: str) -> list[str]:
    """Whatever decides where the path leads, every link of a chain too."""
    found: dict[str, None] = {}
    waiting = [os.path.normpath(path)]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found[each] = None
        parent = os.path.dirname(each)
        waiting.append(parent)
        if os.path.islink(each):
            waiting.append(os.path.normpath(os.path.join(os.path.realpath(parent), os.readlink(each))))
    return list(found)
