# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backends over recorded answers of the real tools: ``tests/replay.py`` takes the place of conda, micromamba or py-rattler, everything else is real."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys
import types
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.environment import rattler_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import Backend, CreateRequest, make_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content, fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import Indexes
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.locked import LockedPackage
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import Wanted, absent, present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import silent
from tests import replay

Row = dict[str, t.Any]
TRANSCRIPTS = pathlib.Path(__file__).parent / "data" / "transcripts"
TOOLS = ("conda", "micromamba")
# The library is called in a child of ours, which the recorded one stands in for.
BACKENDS = (*TOOLS, "rattler")
ROWS: dict[tuple[str, str], Row] = {
    (tool, row["label"]): row for tool in BACKENDS for row in json.loads((TRANSCRIPTS / f"{tool}.json").read_text(encoding="utf-8"))
}
# By backend, rows of which the same can be said.
SMALL = {"conda": "create already existing, -y json, other specs", "micromamba": "create already existing, -y json, other specs", "rattler": "uppercase EW-Z"}
WITH_PYTHON = {"conda": "create by prefix success json", "micromamba": "create by prefix success json", "rattler": "create"}


class Lab:
    """A directory with programs that answer as recorded, and what they were asked."""

    def __init__(self, top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top = top
        self.monkeypatch = monkeypatch
        self.prefix = top / "prefix"
        for name in ("scratch", "prefix", "cache"):
            (top / name).mkdir()

    def program(self, tool: str, label: str = "", name: str = "", before: str = "", after: str = "") -> str:
        """The path of one. before, after: what its shell does around each answer but that to ``--version``."""
        path = self.top / (name or tool)
        words = shlex.join([sys.executable, replay.__file__, str(TRANSCRIPTS / f"{tool}.json"), str(self.top / "log"), label])
        around = f'{before}\n{words} "$@"\nstatus=$?\n{after}\nexit $status\n'
        path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {words} "$@"\n' + (around if before or after else f'exec {words} "$@"\n'))
        path.chmod(0o755)
        return str(path)

    def backend(self, tool: str, label: str = "", **around: str) -> Backend:
        """What creates prefixes, over that row."""
        return make_backend(tool, self._executable(tool, label, **around))

    def _executable(self, tool: str, label: str, **around: str) -> t.Optional[str]:
        path = self.program(tool, label, **around)
        if tool != "rattler":
            return path
        source = f"import os\nos.execv({path!r}, [{path!r}, 'rattler'])"
        self.monkeypatch.setattr(rattler_backend, "inspect", types.SimpleNamespace(getsource=lambda module: source))
        return None

    def request(self, tool: str, label: str, **changes: t.Any) -> CreateRequest:
        """What the recorded call asked for."""
        specs, channels, options = asked(tool, label)
        request = CreateRequest(
            prefix=str(self.prefix),
            specs=specs,
            channels=channels,
            platform="linux-64",
            cache=str(self.top / "cache" / "conda"),
            scratch=str(self.top / "scratch"),
            offline="offline" in options,
            timeout=60,
        )
        return dataclasses.replace(request, **changes)

    def create(self, tool: str, label: str, before: str = "", after: str = "", **changes: t.Any) -> list[dict[str, str]]:
        return self.backend(tool, label, before=before, after=after).create(self.request(tool, label, **changes), silent)

    def create_locked(self, tool: str, label: str, locked: LockedPackage) -> list[dict[str, str]]:
        """Of that package alone, by the recorded call; hashes are looked at in rattler's child, which is a real one here."""
        request, backend = self.request(tool, label, specs=(), channels=(), locked=(locked,)), self.backend(tool, label)
        if tool == "rattler":
            self.monkeypatch.undo()
            pathlib.Path(request.cache).mkdir()
        return backend.create(request, silent)

    def place(self, prefix: t.Optional[pathlib.Path] = None) -> Place:
        """Where environments of the name ``w`` are, or that very prefix."""
        return Place(str(self.top / "root"), str(self.top / "cache"), **({"name": "w"} if prefix is None else {"prefix": str(prefix)}))

    def path(self, content: Content, build: int = 1) -> pathlib.Path:
        """The prefix of a build of the name ``w``."""
        return pathlib.Path(self.place().path(fingerprint(content), build))

    def wanted(self, tool: str, label: str, content: t.Optional[Content] = None, place: t.Optional[Place] = None, timeout: float = 60, **around: str) -> Wanted:
        """An environment of what the recorded call asked for, for the module's own steps. around: before and after of the program."""
        means = Means(tool, Indexes(), None, False, 60.0, timeout, self._executable(tool, label, **around))
        return Wanted(place or self.place(), content or content_of(tool, label), means, False, True)

    def present(self, tool: str, label: str, check: bool = False, **changes: t.Any) -> dict[str, t.Any]:
        return self.run(self.wanted(tool, label, **changes), check)

    def run(self, wanted: Wanted, check: bool = False) -> dict[str, t.Any]:
        return present(wanted, Actions(), check, lambda **identity: silent)

    def absent(self, place: t.Optional[Place] = None) -> dict[str, t.Any]:
        return absent(place or self.place(), 5.0, Actions(), False, silent)

    def calls(self) -> list[dict[str, t.Any]]:
        """What was asked of the tools; nothing where none was started."""
        log = self.top / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def creates(self) -> list[dict[str, t.Any]]:
        """The calls that make a prefix."""
        return [call for call in self.calls() if call["argv"][0] in ("create", "rattler")]

    def envs(self) -> list[str]:
        """What is below ``envs``, marks of builds included."""
        directory = self.top / "root" / "envs"
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def asked(tool: str, label: str) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """(specs, channels, options) of the recorded call."""
    argv = replay.recorded_argv(ROWS[tool, label])
    if tool == "rattler":
        return tuple(argv[2:]), (argv[1],), {"prefix": argv[0]}
    (_command, channels, specs, _file), options = replay.question(argv)
    return tuple(sorted(specs)), tuple(sorted(channels)), options


def content_of(tool: str, label: str, **changes: t.Any) -> Content:
    """An environment of what the recorded call asked for."""
    specs, channels, _options = asked(tool, label)
    return dataclasses.replace(Content(None, specs, channels, (), (), Requirements("", ()), (), "auto", "linux-64"), **changes)


def left_by(tool: str, label: str, prefix: pathlib.Path) -> pathlib.Path:
    """Make what the recorded call left at its prefix."""
    prefix.mkdir(parents=True, exist_ok=True)
    replay.make_prefix(str(prefix), ROWS[tool, label]["after"])
    return prefix


def records_of(tool: str, label: str) -> set[str]:
    """Names of the packages whose records the recorded call left."""
    return {name.rsplit("-", 2)[0] for name in ROWS[tool, label]["after"].get("conda_meta") or () if name.endswith(".json")}
