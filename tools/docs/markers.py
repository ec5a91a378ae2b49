# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` in a document."""

from __future__ import annotations

import re


class MarkerError(Exception):
    """A document lacks a pair of markers, or has it twice."""


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<=<!-- begin: {re.escape(name)} -->\n)(.*?)(?=<!-- end: {re.escape(name)} -->)", re.DOTALL)


def between(document: str, name: str) -> str:
    """What stands between the markers, without the empty lines around it."""
    found = _pattern(name).findall(document)
    if len(found) != 1:
        raise MarkerError(f"The document has {len(found)} pairs of the lines `<!-- begin: {name} -->` and `<!-- end: {name} -->`, one is needed.")
    return str(found[0]).strip("\n")


def replaced(document: str, name: str, text: str) -> str:
    """The document with the text between the markers."""
    between(document, name)
    return _pattern(name).sub(lambda _found: f"\n{text}\n\n", document)
