# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback for tests: host and messages of every failure, one JSON line each, in the file that FAILURE_LINES names."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: failure_lines
type: aggregate
short_description: Failures as JSON lines
description: Writes host and messages of every failure to the file that the variable FAILURE_LINES names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "failure_lines"

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        found = result.result
        # What preflight and the check of types tell one by one.
        listed = [f"{each['msg']} {each['remedy']}" for each in found.get("failures", [])] or found.get("argument_errors")
        with open(os.environ["FAILURE_LINES"], "a", encoding="utf-8") as handle:
            handle.write(json.dumps([result.host.get_name(), listed or [str(found.get("msg", ""))]]) + "\n")
