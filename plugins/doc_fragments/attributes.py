# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules have in common: their attributes."""

from __future__ import annotations


class ModuleDocFragment:
    """``attributes`` for a module that changes hosts, ``attributes.info`` for one that only reads."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what it would change without changing it.
    support: full
  diff_mode:
    description: Returns what was changed, or would be changed in check mode, when run in diff mode.
    support: full
  idempotent:
    description: Run twice in a row outside of check mode with the same options, it changes nothing the second time.
    support: full
  platform:
    description: The operating systems that the module works on.
    support: full
    platforms: linux
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode), where it does the same, since it changes nothing.
    support: full
  diff_mode:
    description: Returns what was changed. This module changes nothing.
    support: N/A
  idempotent:
    description: Run twice in a row with the same options, it changes nothing.
    support: full
  platform:
    description: The operating systems that the module works on.
    support: full
    platforms: linux
"""
