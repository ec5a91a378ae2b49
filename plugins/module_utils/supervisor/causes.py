# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What usually lies behind a worker that does not stay up. Pure: from how it ended and what it wrote last."""

from __future__ import annotations

import re
import typing as t

# systemd.exec(5), "Process exit codes": what failed before the program ran.
_BEFORE_EXEC = {
    200: "its working directory, the release, is missing or not readable by the service user",
    203: "its Python interpreter is missing or not executable by the service user",
    208: "its standard output could not be set up",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "its sandbox could not be set up: a path in writable_paths is missing, or the kernel lacks a feature (try sandbox: none)",
    238: "its state directory could not be made",
    243: "a file of its option tls could not be read",
}
_IN_LOG = (
    (r"ModuleNotFoundError: No module named '([\w.]+)'", "the environment lacks the package of '{0}', or the release lacks the file"),
    (r"No module named ([\w.]+)", "the release has no module '{0}' (option module)"),
    (r"Address already in use|EADDRINUSE|[Ff]ailed to bind", "something else listens on its port"),
    (r"the following arguments are required|unrecognized arguments|^usage: ", "the worker does not take these arguments (option arguments)"),
    (r"CUDA out of memory|CUDA error: out of memory", "the GPU's memory is full"),
    (r"(?:GLIBC(?:XX)?_[\d.]+)' not found", "a library in the environment is too new for this host"),
    (r"cannot open shared object file|undefined symbol", "a native library is missing or does not fit"),
    (r"Read-only file system", "it writes outside its state and cache directories (option writable_paths)"),
    (r"PermissionError|Permission denied", "the service user, or the sandbox, may not do what it tried"),
    (r"MemoryError|Cannot allocate memory", "it got no memory (limits.memory, or the machine's)"),
    (r"No space left on device", "a file system is full"),
    (r"cannot run .+: No such file", "its Python interpreter is missing"),
)
_SIGNALS = {
    -9: "it was killed from outside, or the kernel had no memory left (journalctl -k | grep -i oom)",
    -4: "a native library was built for another processor",
    -11: "a native library crashed",
    -6: "a native library aborted",
    -7: "a native library crashed, or shared memory is full",
    -31: "its sandbox forbids a system call that it made (sandbox: none shows whether)",
}
_RESULTS = {
    "oom-kill": "the kernel had no memory left for it (limits.memory, or the machine's)",
    "resources": "systemd could not set it up: look at its environment and secrets files",
    "timeout": "it did not start in time",
}


def usual_cause(result: str, status: t.Optional[int], lines: t.Sequence[str], memory_limit: str = "") -> str:
    """One clause without a full stop, empty where nothing is recognised. result, status, memory_limit: as in model.Found."""
    memory = killed_for_memory(result, status, memory_limit)
    if memory:
        return memory
    if result in _RESULTS:
        return _RESULTS[result]
    if status in _BEFORE_EXEC:
        return _BEFORE_EXEC[status]
    told = _latest("\n".join(lines))
    if told:
        return told
    if status in _SIGNALS:
        return _SIGNALS[status]
    return "it ended by itself without an error" if status == 0 else ""


def killed_for_memory(result: str, status: t.Optional[int], limit: str) -> str:
    """The clause for a process that its own limit ended, or empty. Only with control groups of version 2 systemd knows it for sure."""
    if not limit or limit == "infinity" or (result != "oom-kill" and status != -9):
        return ""
    return f"it was {'' if result == 'oom-kill' else 'probably '}killed for memory, limit {limit} (limits.memory)"


def _latest(text: str) -> str:
    """What the last recognised line means; of several meanings of one line, the first in the table."""
    found = [
        (match.start(), -rank, words.format(*match.groups()))
        for rank, (pattern, words) in enumerate(_IN_LOG)
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]
    if not found:
        return ""
    line = text.rfind("\n", 0, max(found)[0]) + 1
    return max((row for row in found if row[0] >= line), key=lambda row: row[1])[2]
