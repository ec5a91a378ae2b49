# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one error that the command line shows without a traceback."""

from __future__ import annotations


class ChannelError(Exception):
    """Says what is wrong, with which value, and what to do about it."""
