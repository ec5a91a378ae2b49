# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A callback for tests: every result whole, one JSON line each, in the file that RESULT_LINES names."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: result_lines
type: aggregate
short_description: Results as JSON lines
description: Writes every result to the file that the variable RESULT_LINES names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "result_lines"

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._write(result.result)

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._write(result.result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        # the key is gone where errors are ignored
        self._write({**result.result, "failed": True})

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._write({**result.result, "unreachable": True})

    def _write(self, result: t.Mapping[str, t.Any]) -> None:
        with open(os.environ["RESULT_LINES"], "a", encoding="utf-8") as handle:
            handle.write(json.dumps(result, default=_as_text) + "\n")


def _as_text(value: t.Any) -> str:
    """Warnings are objects by now."""
    event = getattr(value, "event", None)
    return str(getattr(event, "msg", value))
