# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lets every Python process of a run write down which programs it starts and whom it connects to; put this directory on PYTHONPATH."""

from __future__ import annotations

import json
import os
import socket
import sys
import typing as t

STARTS = {"subprocess.Popen": 1, "os.exec": 1, "os.posix_spawn": 1, "os.system": 0}


def write(kind: str, what: t.Any) -> None:
    """Append a line; whole, since it is one write."""
    line = json.dumps({"pid": os.getpid(), "kind": kind, "what": what}, default=os.fsdecode) + "\n"
    with open(os.environ["RUN_TRACE"], "ab", buffering=0) as stream:
        stream.write(line.encode())


def seen(event: str, arguments: tuple[t.Any, ...]) -> None:
    """The audit hook."""
    if event in STARTS:
        argv = arguments[STARTS[event]]
        write("start", [argv] if isinstance(argv, (str, bytes)) else list(argv))
    elif event == "socket.connect" and getattr(arguments[0], "family", None) in (socket.AF_INET, socket.AF_INET6):
        write("connect", list(arguments[1]))


if os.environ.get("RUN_TRACE"):
    sys.addaudithook(seen)
