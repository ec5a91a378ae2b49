# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""environment.yml: the part of YAML that such files use, read strictly. Pure functions.

A host has no YAML library for certain, and the conda family itself turns an empty file or ``- python: 3.11`` into an empty
environment without a word: what is not understood is refused here with its line.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import WorkerError
from .locked import LockedPackage
from .specs import for_message, spec_name, strip_credentials

_KEY = re.compile(r"^(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*:(?:\s+(?P<value>.*))?$")
_IGNORED_KEYS = {"name", "prefix"}


@dataclasses.dataclass(frozen=True)
class EnvironmentFile:
    """What such a file asks for; ``pip`` are lines of a requirement file. locked: exactly these packages, where it is a lock."""

    channels: tuple[str, ...]
    packages: tuple[str, ...]
    pip: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    locked: tuple[LockedPackage, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Row:
    number: int
    indent: int
    text: str


def parse_environment_file(text: str, path: str) -> EnvironmentFile:
    """Read the text. Raises WorkerError ``broken_file`` with path and line."""
    lists: dict[str, list[str]] = {"channels": [], "dependencies": [], "pip": []}
    variables: list[tuple[str, str]] = []
    heads: dict[str, _Row] = {}
    for head, body in _sections(_rows(text, path), path):
        found = _KEY.match(head.text)
        if found is None:
            raise _broken(path, head, "is no 'key:'")
        key, value = found.group("key"), found.group("value") or ""
        if key in heads:
            raise _broken(path, head, f"has the key '{key}' a second time; the first is in line {heads[key].number}")
        heads[key] = head
        if key in _IGNORED_KEYS:
            _refuse_block(head, value, body, path)
        elif key == "variables":
            variables = _variables(head, value, body, path)
        elif key in ("channels", "dependencies"):
            _read_list(key, head, value, body, lists, path)
        else:
            raise _broken(path, head, f"has the unknown key '{key}'")
    if "dependencies" not in heads:
        where = f"{path} has no 'dependencies:'" if heads else f"{path} is empty"
        raise WorkerError("broken_file", f"{where}, so the environment would be empty.", "List what to install under 'dependencies:'.", path=path)
    if not lists["dependencies"] and not lists["pip"]:
        raise _broken(path, heads["dependencies"], "names no dependency, so the environment would be empty")
    return EnvironmentFile(tuple(lists["channels"]), tuple(lists["dependencies"]), tuple(lists["pip"]), tuple(variables))


def _rows(text: str, path: str) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        bare = _without_comment(line).rstrip()
        if not bare.strip() or (bare == "---" and not rows):
            continue
        indent = len(bare) - len(bare.lstrip())
        row = _Row(number, indent, bare.strip())
        if bare in ("---", "..."):
            raise _broken(path, row, "begins a second document")
        if "\t" in bare[:indent]:
            raise _broken(path, row, "is indented with a tab")
        rows.append(row)
    return rows


def _without_comment(line: str) -> str:
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (position == 0 or line[position - 1] in " [,-"):
            quote = character
        elif character == "#" and (position == 0 or line[position - 1] in " \t"):
            return line[:position]
    return line


def _sections(rows: t.Sequence[_Row], path: str) -> list[tuple[_Row, list[_Row]]]:
    """Each top-level key with what stands below it."""
    sections: list[tuple[_Row, list[_Row]]] = []
    for row in rows:
        # YAML lets a list below a key start in the key's own column.
        if row.indent == 0 and not _is_item(row):
            sections.append((row, []))
        elif sections:
            sections[-1][1].append(row)
        else:
            raise _broken(path, row, "stands before the first key")
    return sections


def _read_list(key: str, head: _Row, value: str, body: t.Sequence[_Row], lists: dict[str, list[str]], path: str) -> None:
    if value:
        if body or not (value.startswith("[") and value.endswith("]")):
            raise _broken(path, head, f"gives '{key}' something other than a list")
        items = [(_scalar(item, head, path), head) for item in value[1:-1].split(",") if item.strip()]
    else:
        items = _items(key, body, lists["pip"], path)
    seen: dict[str, int] = {}
    for text, row in items:
        # Two specs of one package may be meant as one; the solvers read them as both.
        name = text if key == "channels" else spec_name(text) or text
        if name in seen:
            raise _broken(path, row, f"names {strip_credentials(name)} again, which line {seen[name]} has")
        seen[name] = row.number
        lists[key].append(text)


def _items(key: str, body: t.Sequence[_Row], pip: list[str], path: str) -> list[tuple[str, _Row]]:
    """The items of a list by dashes; those below ``- pip:`` go into ``pip``."""
    found: list[tuple[str, _Row]] = []
    indent = body[0].indent if body else 0
    section: t.Optional[_Row] = None
    for row in body:
        if not _is_item(row) or row.indent < indent or (row.indent > indent and section is None):
            raise _broken(path, row, f"is no '- item' of '{key}'")
        item = row.text[1:].strip()
        if row.indent > indent:
            pip.append(_scalar(item, row, path))
            continue
        _refuse_empty(section, pip, path)
        section = row if key == "dependencies" and re.match(r"^pip\s*:$", item) else None
        if section is None:
            found.append((_scalar(item, row, path), row))
        elif pip:
            raise _broken(path, row, "begins the list of pip a second time")
    _refuse_empty(section, pip, path)
    return found


def _refuse_empty(section: t.Optional[_Row], pip: t.Sequence[str], path: str) -> None:
    if section is not None and not pip:
        raise _broken(path, section, "has no '- requirement' below it: list some, or take the line out")


def _refuse_block(head: _Row, value: str, body: t.Sequence[_Row], path: str) -> None:
    """What does not count must be one line all the same: it could be the rest of something else."""
    if body:
        raise _broken(path, body[0], f"stands below '{head.text.split(':')[0]}', which is one string")
    if value:
        _scalar(value, head, path)


def _is_item(row: _Row) -> bool:
    return row.text == "-" or row.text.startswith("- ")


def _scalar(text: str, row: _Row, path: str) -> str:
    text = text.strip()
    quoted = re.match(r"^(['\"])(?P<inner>[^'\"]*)\1$", text)
    if quoted:
        return quoted.group("inner")
    if not text or text.lower() in ("~", "null"):
        raise _broken(path, row, "is empty, not a string")
    if text[0] in "'\"&*!|>{[?@`%":
        raise _broken(path, row, "is not a plain string")
    mapping = re.match(r"^(?P<name>[A-Za-z0-9_.-]+)\s*:(?:\s+(?P<value>.*))?$", text)
    if mapping and (mapping.group("value") or "").startswith("["):
        raise _broken(path, row, f"has a list in one line: write '{mapping.group('name')}:' and each of its items in a line of its own below")
    if mapping:
        raise _broken(path, row, f"is a mapping, not a string: write '{mapping.group('name')}={mapping.group('value') or '…'}'")
    return text


def _variables(head: _Row, value: str, body: t.Sequence[_Row], path: str) -> list[tuple[str, str]]:
    if value:
        raise _broken(path, head, "gives 'variables' something other than 'NAME: value' lines")
    found: dict[str, str] = {}
    for row in body:
        parts = _KEY.match(row.text)
        if parts is None or not parts.group("value") or row.indent != body[0].indent:
            raise _broken(path, row, "is no 'NAME: value'")
        if parts.group("key") in found:
            raise _broken(path, row, f"names the variable {parts.group('key')} again")
        found[parts.group("key")] = _scalar(parts.group("value"), row, path)
    return list(found.items())


def _broken(path: str, row: _Row, problem: str) -> WorkerError:
    remedy = "Write it as in the documentation of the option 'file'."
    return WorkerError("broken_file", f"{path}, line {row.number}{for_message(row.text)} {problem}.", remedy, path=path, line=row.number)
