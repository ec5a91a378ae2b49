# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Credentials by their form, in whatever a worker or a tool may write."""

from __future__ import annotations

import time

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import strip_credentials
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/x", "https://host/x"),
        ("https://u:p@host/x", "https://********@host/x"),
        ("https://token@host/x", "https://********@host/x"),
        ("https://u:p@ss@host/x@1", "https://********@host/x@1"),
        ("-fHTTPS://u:p@host --x=git+ssh://u@h/r@v1", "-fHTTPS://********@host --x=git+ssh://********@h/r@v1"),
        ("https://h/t/tk-1/x and 'https://u:p@h'", "https://h/t/********/x and 'https://********@h'"),
        ("mail ann@host", "mail ann@host"),
    ],
)
def test_credentials_in_addresses(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize("text", ["a" * 1_000_000, "a://" + "b" * 1_000_000, "a://b:" * 100_000, "a-" * 500_000, "x://" + "y:" * 500_000, "/t/" * 300_000])
def test_a_long_line_costs_no_more_than_its_length(text: str) -> None:
    """A worker that writes a megabyte without a blank must not hold up its own recovery."""
    start = time.monotonic()
    redact(text)
    strip_credentials(text)
    assert time.monotonic() - start < 60, "hours, where it grows with the square"
