# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What stands at a path that is not ours. Reads files, starts no program, and believes nothing that it reads."""

from __future__ import annotations

import os
import re
import stat
import typing as t

_TOOLS = ("conda", "mamba", "micromamba")
# What only one of the tools leaves in a prefix.
_LEFT = {
    "CACHEDIR.TAG": "rattler",
    "conda-meta/conda-meta.lock": "micromamba",
    "conda-meta/created_at": "conda",
    ".condatmp": "conda",
}
_LARGEST = 64 << 20


def what_is(path: str) -> str:
    """What stands at a path that is not ours, as the end of a sentence."""
    if os.path.islink(path):
        return f"a link to {os.readlink(path)}"
    if not os.path.isdir(path):
        return "no directory"
    if not os.path.isdir(os.path.join(path, "conda-meta")):
        return "a directory that is no environment"
    history = "" if os.path.lexists(os.path.join(path, "conda-meta", "history")) else ", without a history"
    return f"an environment of {tool_of(path) or 'another tool'}{history}"


def tool_of(path: str) -> t.Optional[str]:
    """What made a prefix: told by the command in its history, or by what only one of the tools leaves."""
    commands = re.findall(r"^# cmd: (\S+)", read_any(os.path.join(path, "conda-meta", "history")) or "", re.MULTILINE)
    names: list[str] = [os.path.basename(command) for command in commands]
    known = next((name for name in names if name in _TOOLS), None)
    if known is not None:
        return known
    return next((tool for name, tool in _LEFT.items() if os.path.lexists(os.path.join(path, name))), None)


def read_any(path: str) -> t.Optional[str]:
    """The text, or None for what is no file, too large, or closed to us. Never waits for a pipe."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8", errors="replace") as handle:
            status = os.fstat(handle.fileno())
            return handle.read() if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST else None
    except OSError:
        return None
