# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Numbers that make sense: neither too small nor too large for what takes them, and no NaN. Needs nothing of Ansible."""

from __future__ import annotations

import math
import typing as t

from .errors import OptionError

# More than this no kernel and no supervisor takes as a time or a count; as seconds it is thirty years.
MOST = 1_000_000_000

Number = t.TypeVar("Number", int, float)


def at_least(option: str, value: Number, least: float, most: float = MOST) -> Number:
    """The number as it is. Raises OptionError."""
    # The comparison is false for a NaN as well.
    if not least <= value < math.inf:
        raise OptionError(option, value, f"it is below {least:g} or no number", f"Give {least:g} or more.")
    if value > most:
        raise OptionError(option, value, f"it is above {most:.0f}", f"Give a number from {least:g} to {most:.0f}.")
    return value
