# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks of packages in the tests' channel, as conda and conda-lock write them."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import this_platform
from tests.integration.local_packages import local_channel

WRONG = {"sha256": "0" * 64, "md5": "0" * 32}


def packages(*names: str) -> list[pathlib.Path]:
    """The newest file of each package in the channel."""
    files = [path for subdir in (this_platform(), "noarch") for path in sorted((local_channel() / subdir).glob("*.conda"))]
    files += [path for subdir in (this_platform(), "noarch") for path in sorted((local_channel() / subdir).glob("*.tar.bz2"))]
    found = {path.name.rsplit("-", 2)[0]: path for path in files}
    return [found[name] for name in names]


def hashed(kind: str, path: pathlib.Path) -> str:
    return hashlib.new(kind, path.read_bytes()).hexdigest()


def address(base: str, path: pathlib.Path) -> str:
    return f"{base}/{path.parent.name}/{path.name}"


def explicit(base: str, files: t.Sequence[pathlib.Path], kind: str, wrong: str = "") -> str:
    """The list. kind: of the hashes, or empty. wrong: the name of the package whose hash is not right."""
    lines = ["# platform: x", "@EXPLICIT"]
    for path in files:
        digits = WRONG[kind] if wrong and path.name.startswith(wrong) else hashed(kind, path) if kind else ""
        lines.append(address(base, path) + ("#" if kind else "") + ("sha256:" if kind == "sha256" else "") + digits)
    return "\n".join(lines) + "\n"


def conda_lock(base: str, files: t.Sequence[pathlib.Path], pip: str = "") -> str:
    """As conda-lock writes it. pip: further rows."""
    text = "version: 1\nmetadata:\n  platforms:\n  - linux-64\npackage:\n"
    for path in files:
        name, version, _build = path.name.rsplit("-", 2)
        text += (
            f"- name: {name}\n  version: '{version}'\n  manager: conda\n  platform: {this_platform()}\n  dependencies: {{}}\n"
            f"  url: {address(base, path)}\n  hash:\n    md5: {hashed('md5', path)}\n    sha256: {hashed('sha256', path)}\n"
            "  category: main\n  optional: false\n"
        )
    return text + pip
