# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An interpreter that never was, for tables."""

from __future__ import annotations

import json
from typing import Any

from tools.channel import interpreter

ANSWER = {
    "implementation": "CPython",
    "version": "3.11.7",
    "version_info": [3, 11],
    "build": "3.11.7 (main)",
    "abiflags": "",
    "debug": False,
    "executable": "/py/bin/python3.11",
    "prefix": "/py",
    "machine": "x86_64",
    "bits": 64,
    "libc": "glibc",
    "multiarch": "x86_64-linux-gnu",
    "stdlib": "/py/lib/python3.11",
    "dynload": "/py/lib/python3.11/lib-dynload",
    "include": "/py/include/python3.11",
    "preferred_scheme": "posix_prefix",
    "sysconfigdata": "_sysconfigdata__linux_x86_64-linux-gnu",
    "wheel_dirs": ["/py/lib/python3.11/ensurepip/_bundled"],
}


def python(**changes: Any) -> interpreter.Interpreter:
    return interpreter.parse(json.dumps(ANSWER | changes))
