# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The search for planted secrets finds each, however it is written: else finding none would mean nothing."""

from __future__ import annotations

import base64
import json
import shlex
import urllib.parse

import pytest

from tests.planted import EVERYTHING, Planted, leaked


@pytest.mark.parametrize("each", EVERYTHING, ids=lambda each: each.kind)
def test_each_is_found_in_every_form(each: Planted) -> None:
    value = each.value("host:1")
    written = [value, json.dumps(value), json.dumps(json.dumps(value)), urllib.parse.quote(value, safe=""), shlex.quote(value), repr(value), ascii(value)]
    written += [base64.b64encode(f"{'x' * length}{value}".encode()).decode() for length in range(3)] + [value.encode().hex()]
    assert [leaked(f"before {text} after") for text in written] == [[each.kind]] * len(written)
    assert leaked(f"{each.core[:-1]} {each.core[1:]}") == []
