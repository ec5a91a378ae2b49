# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The pinned, hashed requirements of a toolchain, and whether an interpreter already has what they name.

Needs nothing of Ansible and no packaging library: a bare host has none.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import OptionError

# What the modules were written for. An interpreter that has these, or newer, needs no toolchain.
MINIMUM = {
    "grpcio": "1.60",
    "py-rattler": "0.25",
    "supervisor": "4.2",
    "typing-extensions": "4.12",
    "uv": "0.13",
}

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[\w\s,.-]*\])?\s*==\s*(?P<version>[0-9][\w.!+-]*)\s*"
    r"(?:;(?P<marker>(?:(?!--hash=).)*))?(?P<hashes>(?:\s*--hash=[a-z0-9]+:[0-9a-f]+)*)",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class Pin:
    """One line: a distribution (normalised name), its version, and the condition under which it counts."""

    name: str
    version: str
    marker: str


def parse_pins(text: str, option: str = "requirements") -> list[Pin]:
    """Every requirement of the text. Raises OptionError where one is not pinned and hashed, or an option stands among them."""
    pins = []
    for line in logical_lines(text):
        match = _PIN.fullmatch(line)
        if match is None:
            shown = line.split(" --hash", 1)[0][:100]
            raise OptionError(option, shown, "it is no pinned requirement (name==version)", "Compile it: uv pip compile --universal --generate-hashes")
        if not match["hashes"]:
            raise OptionError(option, line[:100], "it has no --hash", "Compile it: uv pip compile --universal --generate-hashes")
        pins.append(Pin(normalised(match["name"]), match["version"], (match["marker"] or "").strip()))
    if not pins:
        raise OptionError(option, text[:100], "it names no package", "Give the text of a compiled requirements file.")
    return pins


def logical_lines(text: str) -> list[str]:
    """The lines that count: joined where one goes on, without comments and blank ones, blanks made single."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = [" ".join(re.sub(r"(^|\s)#.*", "", line).split()) for line in joined.splitlines()]
    return [line for line in lines if line]


def normalised(name: str) -> str:
    """The name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(path: t.Iterable[str]) -> dict[str, str]:
    """Version by normalised name of what the directories of a ``sys.path`` hold; the first directory counts.

    Reads the names of directories only: the library's own way costs twenty times as much.
    """
    found: dict[str, str] = {}
    for directory in path:
        try:
            names = os.listdir(directory or ".")
        except OSError:
            continue
        for name in names:
            match = re.fullmatch(r"(.+?)-([0-9][^-]*)(?:-py[\d.]+)?\.(?:dist-info|egg-info)", name)
            if match:
                found.setdefault(normalised(match[1]), match[2])
    return found


def satisfied(pins: t.Sequence[Pin], found: t.Mapping[str, str]) -> bool:
    """Whether every distribution that the pins name is there: those of ``MINIMUM`` in that version or newer, others as pinned."""
    versions: dict[str, set[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, set()).add(pin.version)
    for name, pinned in versions.items():
        version = found.get(name)
        if version is None:
            return False
        if version not in pinned and not (name in MINIMUM and _numbers(version) >= _numbers(MINIMUM[name])):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
