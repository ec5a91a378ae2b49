# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of a worker directory stay behind: a documented part of the syntax of ``.gitignore``.

Empty lines and those that start with ``#`` say nothing. ``!`` takes back in what an earlier line left out. A pattern with a
``/`` at its start or in its middle counts from the worker directory, any other one at every depth; one that ends in ``/`` means
directories only. ``*`` and ``?`` stop at a ``/``, ``**`` does not; ``[abc]``, ``[a-z]`` and ``[!a]`` stand for one character,
``\\`` takes the next one as it is. The last line that matches decides. As with git, nothing below a directory that is left out can
be taken back in, and a link counts as a file.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import typing as t

FILE_NAME = ".workerignore"
# Left out by default, because they are secrets, of use on one machine only, or made anew.
DEFAULT_PATTERNS = (
    *(".git", ".hg", ".svn", FILE_NAME),
    *(".env", ".env.*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", ".netrc", ".pypirc", ".ssh", ".aws"),
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*"),
    *("__pycache__", "*.pyc", "*.pyo", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".coverage"),
    *("node_modules", ".idea", ".vscode", ".DS_Store", "Thumbs.db", "*.swp", "*.swo"),
)
_STAR, _DIRECTORIES = "*", "**/"
# Whatever its name is, a directory with one of these is an environment, which works at the place where it was made and nowhere else.
ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta/history")


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One line: does it take in (``!``), does it mean directories only, and what it matches."""

    taken_in: bool
    directories_only: bool
    expression: re.Pattern[str]


def parse_patterns(lines: t.Iterable[str]) -> list[Pattern]:
    """The patterns of the lines in their order; lines that say nothing are left out."""
    return [pattern for pattern in map(_parse_line, lines) if pattern is not None]


def _parse_line(line: str) -> t.Optional[Pattern]:
    text = line.rstrip("\r\n")
    if text.startswith("#"):
        return None
    # a blank at the end counts only where it is escaped
    while text.endswith(" ") and not re.search(r"(?<!\\)(?:\\\\)*\\ $", text):
        text = text[:-1]
    taken_in = text.startswith("!")
    text = text[1:] if taken_in else text
    directories_only = text.endswith("/")
    text = text[:-1] if directories_only else text
    if not text or _ends_in_half_an_escape(text):
        return None
    prefix = "" if "/" in text else "(?:.*/)?"
    body = _translate(text[1:] if text.startswith("/") else text)
    return None if body is None else Pattern(taken_in, directories_only, re.compile(prefix + body, re.DOTALL))


def _ends_in_half_an_escape(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def _translate(text: str) -> t.Optional[str]:
    """The regular expression of a pattern; None for one that can match nothing (an open bracket)."""
    pieces: list[str] = []
    position = 0
    while position < len(text):
        at_start = position == 0 or text[position - 1] == "/"
        if at_start and text.startswith("**/", position):
            pieces.append(_DIRECTORIES)
            position += 3
        elif at_start and text[position:] == "**":
            pieces.append(".+")
            position += 2
        elif text[position] == "*":
            while text.startswith("*", position):
                position += 1
            pieces.append(_STAR)
        elif text[position] == "[":
            piece, position = _translate_set(text, position)
            if piece is None:
                return None
            pieces.append(piece)
        elif text[position] == "\\":
            pieces.append(re.escape(text[position + 1]))
            position += 2
        else:
            pieces.append("[^/]" if text[position] == "?" else re.escape(text[position]))
            position += 1
    return _assembled(pieces)


def _assembled(pieces: t.Sequence[str]) -> str:
    """One expression that finds its way in polynomial time, whatever a hostile pattern asks of a hostile name.

    Of all ways to match, the shortest for each but the last star will do, so that it is never tried again (a lookahead that
    captures stands for an atomic group, which older Pythons lack).
    """
    numbers = itertools.count()

    def once(any_number: str, then: str) -> str:
        name = f"g{next(numbers)}"
        return f"(?=(?P<{name}>{any_number}?{then}))(?P={name})"

    def name_of(part: t.Sequence[str]) -> str:
        first, *others = ("".join(chunk) for chunk in _split(part, _STAR))
        return first + "".join(once("[^/]*", chunk) for chunk in others[:-1]) + "".join(f"[^/]*{chunk}" for chunk in others[-1:])

    first, *others = ("/".join(name_of(name) for name in _split(part, "/")) for part in _split(pieces, _DIRECTORIES))
    return first + "".join(once("(?:[^/]+/)*", names) for names in others[:-1]) + "".join(f"(?:.*/)?{names}" for names in others[-1:])


def _split(pieces: t.Sequence[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece == separator:
            parts.append([])
        else:
            parts[-1].append(piece)
    return parts


def _translate_set(text: str, start: int) -> tuple[t.Optional[str], int]:
    """The expression for the bracket that opens at ``start``, and the position behind it."""
    position = start + 1
    inverted = text[position : position + 1] in ("!", "^")
    position += inverted
    members: list[str] = []
    while position < len(text) and (text[position] != "]" or not members):
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
            members.append(re.escape(text[position]))
        else:
            # a "-" between two members is a range, at either end it stands for itself
            inner = text[position] == "-" and members and text[position + 1 : position + 2] not in ("]", "")
            members.append("-" if inner else re.escape(text[position]))
        position += 1
    if position >= len(text):
        return None, position
    piece = f"(?!/)[{'^' if inverted else ''}{''.join(members)}]"
    try:
        re.compile(piece)
    except re.error:
        return None, position
    return piece, position + 1


def verdict(patterns: t.Sequence[Pattern], path: str, directory: bool) -> t.Optional[bool]:
    """True: left out; False: taken in by a ``!``; None: no pattern says anything. path: below the worker directory."""
    for pattern in reversed(patterns):
        if (directory or not pattern.directories_only) and pattern.expression.fullmatch(path):
            return not pattern.taken_in
    return None


class Rules:
    """The default patterns, then those of the directory's ``.workerignore``, then more; usable as ``tree.Excluded``."""

    def __init__(self, lines: t.Iterable[str] = ()) -> None:
        self.patterns = parse_patterns([*DEFAULT_PATTERNS, *lines])

    def __call__(self, path: str, directory: bool, full: str) -> bool:
        found = verdict(self.patterns, path, directory)
        if found is None and directory:
            return any(os.path.exists(os.path.join(full, mark)) for mark in ENVIRONMENT_MARKS)
        return bool(found)


def rules_of(directory: str, more: t.Iterable[str] = ()) -> Rules:
    """The rules for the worker directory. Raises OSError or UnicodeDecodeError for a ``.workerignore`` that cannot be read."""
    path = os.path.join(directory, FILE_NAME)
    lines: list[str] = []
    if os.path.isfile(path):
        with open(path, encoding="utf-8-sig") as handle:
            lines = handle.read().split("\n")
    return Rules([*lines, *more])
