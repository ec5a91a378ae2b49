# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The part of YAML that programs write: mappings and lists by indentation, and strings. Pure functions.

A host has no YAML library for certain. What is not understood is refused with its line: anchors, tags, block texts,
lists and mappings in brackets but the empty ones. Numbers stay the text that they are.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

_KEY = re.compile(r"""^(?P<key>'(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"#:{}\[\],&*!|>%@`?-](?:[^:]|:(?=\S))*?)\s*:(?:\s+(?P<rest>.*))?$""")
_SINGLE = re.compile(r"^'(?P<text>(?:[^']|'')*)'\s*(?:\s#.*)?$")
_DOUBLE = re.compile(r'^"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:\s#.*)?$')
_WORDS: dict[str, t.Any] = {"null": None, "~": None, "true": True, "false": False}
_DEEPEST = 20
# No address is as long, and no pattern above takes its time over what is shorter.
_LONGEST = 4096


class NotPlain(ValueError):
    """line: its number. The text is the rest of a sentence about it."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class Mapping(dict[str, t.Any]):
    """A mapping that knows the line where it begins; 0 where it came from JSON."""

    line = 0


@dataclasses.dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str

    @property
    def is_item(self) -> bool:
        return self.text == "-" or self.text.startswith("- ")


def read_plain_yaml(text: str, skipped: t.Container[str] = ()) -> Mapping:
    """The mapping that the text is. skipped: keys of it whose value is left unread. Raises NotPlain."""
    reader = _Reader(_lines(text))
    if reader.here is None:
        return Mapping()
    if reader.here.indent or reader.here.is_item:
        raise NotPlain(reader.here.number, "is no 'key:'")
    return reader.mapping(0, 0, skipped)


def _lines(text: str) -> list[_Line]:
    lines: list[_Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        bare = raw.strip()
        if not bare or bare.startswith("#") or (raw.rstrip() == "---" and not lines):
            continue
        if len(raw) > _LONGEST:
            raise NotPlain(number, f"is longer than {_LONGEST} characters")
        indent = len(raw) - len(raw.lstrip())
        if "\t" in raw[:indent]:
            raise NotPlain(number, "is indented with a tab")
        lines.append(_Line(number, indent, bare))
    return lines


class _Reader:
    def __init__(self, lines: list[_Line]) -> None:
        self.lines = lines
        self.position = 0

    @property
    def here(self) -> t.Optional[_Line]:
        return self.lines[self.position] if self.position < len(self.lines) else None

    def mapping(self, indent: int, depth: int, skipped: t.Container[str] = ()) -> Mapping:
        found = Mapping()
        found.line = self._here().number
        while self.here is not None and self.here.indent == indent and not self.here.is_item:
            line = self._here()
            parts = _KEY.match(line.text)
            if parts is None:
                raise NotPlain(line.number, "is no 'key:'")
            key = str(_scalar(parts.group("key"), line.number))
            if key in found:
                raise NotPlain(line.number, f"has the key {key!r} a second time")
            self.position += 1
            if key in skipped:
                found[key] = None
                self._skip(indent)
            else:
                found[key] = self._value(parts.group("rest") or "", line, depth)
        if self.here is not None and self.here.indent > indent:
            raise NotPlain(self.here.number, "is indented further than what it belongs to")
        if self.here is not None and depth == 0:
            raise NotPlain(self.here.number, "is no 'key:'")
        return found

    def sequence(self, indent: int, depth: int) -> list[t.Any]:
        found: list[t.Any] = []
        while self.here is not None and self.here.indent == indent and self.here.is_item:
            line = self._here()
            rest = line.text[1:].lstrip()
            if rest == "-" or rest.startswith("- "):
                raise NotPlain(line.number, "is a list in a list, which is not read here")
            inner = _Line(line.number, indent + len(line.text) - len(rest), rest)
            if _KEY.match(rest):
                self.lines[self.position] = inner
                found.append(self.mapping(inner.indent, depth + 1))
            else:
                self.position += 1
                found.append(self._value(rest, line, depth))
        return found

    def _value(self, rest: str, line: _Line, depth: int) -> t.Any:
        """What stands behind a key or a dash, or below it."""
        if depth >= _DEEPEST:
            raise NotPlain(line.number, "is nested too deep")
        below = self.here
        if rest and not rest.startswith("#"):
            return self._text(rest, line)
        if below is None or below.indent < line.indent or (below.indent == line.indent and (line.is_item or not below.is_item)):
            return None
        return self.sequence(below.indent, depth + 1) if below.is_item else self.mapping(below.indent, depth + 1)

    def _text(self, rest: str, line: _Line) -> t.Any:
        """A string, with the further lines that a long one has."""
        words = [rest]
        while self.here is not None and self.here.indent > line.indent and not _ends(" ".join(words)):
            if words[0][0] not in "'\"" and (_KEY.match(self.here.text) or self.here.is_item):
                raise NotPlain(self.here.number, "is indented further than what it belongs to")
            words.append(self.here.text)
            if sum(map(len, words)) > _LONGEST:
                raise NotPlain(line.number, f"is longer than {_LONGEST} characters with its further lines")
            self.position += 1
        return _scalar(" ".join(words), line.number)

    def _skip(self, indent: int) -> None:
        while self.here is not None and (self.here.indent > indent or (self.here.indent == indent and self.here.is_item)):
            self.position += 1

    def _here(self) -> _Line:
        return self.lines[self.position]


def _ends(text: str) -> bool:
    """Whether a string in quotes is complete; one without never says so."""
    return bool(_SINGLE.match(text) or _DOUBLE.match(text))


def _scalar(text: str, number: int) -> t.Any:
    single, double = _SINGLE.match(text), _DOUBLE.match(text)
    if single:
        return single.group("text").replace("''", "'")
    if double:
        try:
            return json.loads(f'"{double.group("text")}"')
        except ValueError:
            raise NotPlain(number, "has an escape in its string that is not read here") from None
    bare = re.sub(r"\s+#.*$", "", text)
    if bare in ("{}", "[]"):
        return Mapping() if bare == "{}" else []
    if bare[0] in "'\"&*!|>%@`{[}],?" or re.search(r":\s|:$", bare):
        raise NotPlain(number, "is more than a string, a list by dashes or a mapping by indentation, and not read here")
    return _WORDS.get(bare, bare)
