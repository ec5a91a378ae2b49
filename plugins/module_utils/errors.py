# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The one error type of the collection: what went wrong, under which code, and what to do next.

Needs nothing of Ansible: resident services raise and print the same errors.
"""

from __future__ import annotations

import typing as t

LONGEST_VALUE = 200  # characters of a bad value that a message shows


class WorkerError(Exception):
    """A failure that an operator can act on.

    code: a stable word for programs (``port_in_use``, ``build_failed`` …), lower case with underscores.
    message: one sentence that names the option, the value and what came back; what is longer stands on further lines.
    remedy: what to do next, at best a command to run.
    details: anything JSON can hold; merged into the module's result beside ``msg``.
    """

    def __init__(self, code: str, message: str, remedy: str = "", **details: t.Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.details: dict[str, t.Any] = details

    def __str__(self) -> str:
        blank = "\n" if "\n" in self.message else " "
        return f"{self.message}{blank}{self.remedy}".rstrip()

    def as_result(self) -> dict[str, t.Any]:
        """The keys that every failed module result carries: msg, code, remedy, and the details."""
        return {**self.details, "msg": str(self), "code": self.code, "remedy": self.remedy}


class OptionError(WorkerError):
    """A bad value of an option, found before anything was changed."""

    def __init__(self, option: str, value: object, problem: str, remedy: str) -> None:
        super().__init__(
            "invalid_option",
            f"Option '{option}' has the value {shown(value)}: {problem}.",
            remedy,
            option=option,
        )


def shown(value: object) -> str:
    """The value as Python writes it, its middle left out where it is long."""
    text = repr(value)
    half = LONGEST_VALUE // 2
    return text if len(text) <= LONGEST_VALUE else f"{text[:half]}…{text[-half:]} ({len(text)} characters)"
