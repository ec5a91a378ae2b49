# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The options and the result of ``worker_release``, which its module and its action plugin share."""

from __future__ import annotations

import typing as t

ARGUMENTS: dict[str, t.Any] = {
    "root": {"type": "path", "required": True},
    "source": {"type": "str"},
    "requirements_file": {"type": "str", "default": "requirements.txt"},
    "extra_files": {"type": "list", "elements": "str", "default": []},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "release": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "package": {"type": "path"},
    "content": {
        "type": "dict",
        "options": {"layout": {"type": "str"}, "files": {"type": "int", "default": 0}, "bytes": {"type": "int", "default": 0}},
    },
}
REQUIRED_IF: list[t.Any] = [("state", "present", ["source"]), ("state", "absent", ["release"])]
EMPTY: dict[str, t.Any] = {
    "release": {"id": None, "path": None, "layout": None, "files": None, "bytes": None},
    "created": False,
    "requirements": None,
    "requirement_files": {},
    "extra_files": {},
    "sent_bytes": 0,
}
