# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How acting code tells that long work moves on: a callable that takes one line of text."""

from __future__ import annotations

import typing as t

Progress = t.Callable[[str], None]
# What a module calls between plan and act, with what makes two runs the same work; from then on it tells its progress.
Begin = t.Callable[..., Progress]


def silent(line: str) -> None:
    """The progress of somebody who does not listen."""
