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

_KEY = re.compile(r"^(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)\s*:(?:\s+(?P<value>.*))?$")
_IGNORED_KEYS = {"name", "prefix"}


@dataclasses.dataclass(frozen=True)
class EnvironmentFile:
    """What an environment.yml asks for; ``pip`` are lines of a requirement file."""

    channels: tuple[str, ...]
    packages: tuple[str, ...]
    pip: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class _Row:
    number: int
    indent: int
    text: str


def parse_environment_file(text: str, path: str) -> EnvironmentFile:
    """Read the text. Raises WorkerError ``unsupported_file`` (a lock format) or ``broken_file`` with path and line."""
    _refuse_locks(text, path)
    lists: dict[str, list[str]] = {"channels": [], "dependencies": [], "pip": []}
    variables: list[tuple[str, str]] = []
    for head, body in _sections(_rows(text, path), path):
        found = _KEY.match(head.text)
        if found is None:
            raise _broken(path, head, "is no 'key:'")
        key, value = found.group("key"), found.group("value") or ""
        if key in _IGNORED_KEYS:
            continue
        if key == "variables":
            variables = [_variable(row, path) for row in body]
        elif key in ("channels", "dependencies"):
            _read_list(key, head, value, body, lists, path)
        else:
            raise _broken(path, head, f"has the unknown key '{key}'")
    if not lists["dependencies"] and not lists["pip"]:
        raise WorkerError("broken_file", f"{path} names no dependency, so the environment would be empty.", "List what to install under 'dependencies:'.")
    return EnvironmentFile(tuple(lists["channels"]), tuple(lists["dependencies"]), tuple(lists["pip"]), tuple(variables))


def _refuse_locks(text: str, path: str) -> None:
    kind = ""
    if re.search(r"^@EXPLICIT\b", text, re.MULTILINE):
        kind = "an @EXPLICIT list"
    elif re.search(r"^package:", text, re.MULTILINE) and re.search(r"^metadata:", text, re.MULTILINE):
        kind = "a conda-lock file"
    if kind:
        raise WorkerError("unsupported_file", f"{path} is {kind}, which this version cannot install.", "Give an environment.yml, or packages and requirements.")


def _rows(text: str, path: str) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in enumerate(text.splitlines(), 1):
        bare = _without_comment(line).rstrip()
        if not bare.strip() or bare == "---":
            continue
        indent = len(bare) - len(bare.lstrip())
        row = _Row(number, indent, bare.strip())
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
        lists[key].extend(_scalar(item, head, path) for item in value[1:-1].split(",") if item.strip())
        return
    indent = body[0].indent if body else 0
    below_pip = False
    for row in body:
        if not _is_item(row) or row.indent < indent or (row.indent > indent and not below_pip):
            raise _broken(path, row, f"is no '- item' of '{key}'")
        item = row.text[1:].strip()
        if row.indent > indent:
            lists["pip"].append(_scalar(item, row, path))
        elif key == "dependencies" and re.match(r"^pip\s*:$", item):
            below_pip = True
        else:
            below_pip = False
            lists[key].append(_scalar(item, row, path))


def _is_item(row: _Row) -> bool:
    return row.text == "-" or row.text.startswith("- ")


def _scalar(text: str, row: _Row, path: str) -> str:
    text = text.strip()
    quoted = re.match(r"^(['\"])(?P<inner>[^'\"]*)\1$", text)
    if quoted:
        return quoted.group("inner")
    if not text or text[0] in "'\"&*!|>{[?@`%" or text in ("~", "null"):
        raise _broken(path, row, "is not a plain string")
    mapping = re.match(r"^(?P<name>[A-Za-z0-9_.-]+)\s*:(?:\s+(?P<value>.*))?$", text)
    if mapping:
        raise _broken(path, row, f"is a mapping, not a string: write '{mapping.group('name')}={mapping.group('value') or '…'}'")
    return text


def _variable(row: _Row, path: str) -> tuple[str, str]:
    found = _KEY.match(row.text)
    if found is None or not found.group("value"):
        raise _broken(path, row, "is no 'NAME: value'")
    return found.group("key"), _scalar(found.group("value"), row, path)


def _broken(path: str, row: _Row, problem: str) -> WorkerError:
    return WorkerError("broken_file", f"{path}, line {row.number} ({row.text[:80]!r}) {problem}.", "Write it as in the documentation of the option 'file'.")
