# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Masking credentials by their form, where their value is not known to be one. Needs nothing of Ansible."""

from __future__ import annotations

import re

MASK = "********"
# A secret is masked by its value wherever it turns up; a shorter one would mask parts of paths, ports and versions.
MASKED_LENGTH = 6
# A user part without a password may be a token of its own: both are masked. The bound keeps a long line from costing time squared.
_USER_INFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,30}://)(?P<user>[^/\s@:'\"]+)(?::(?P<password>[^/\s'\"]*))?@", re.IGNORECASE)
_CONDA_TOKEN = re.compile(r"(/t/)[^/\s'\"]+")


def redact(text: str) -> str:
    """The text with the credentials in addresses (``https://user:password@…``, ``/t/<token>/``) masked."""
    return _CONDA_TOKEN.sub(rf"\g<1>{MASK}", _USER_INFO.sub(rf"\g<scheme>{MASK}@", text))
