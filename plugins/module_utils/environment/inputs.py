# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The three kinds of file that describe an environment, told apart by their contents. Pure functions."""

from __future__ import annotations

import re
import typing as t

from ..errors import WorkerError
from .conda_lock_file import parse_conda_lock
from .environment_file import EnvironmentFile, parse_environment_file
from .explicit_file import MARK, parse_explicit

ENVIRONMENT, EXPLICIT, CONDA_LOCK = "environment.yml", "explicit list", "conda-lock file"
_PACKAGE = re.compile(r"^(?:[a-z]+://|/)\S+\.(?:conda|tar\.bz2)(?:#\S*)?$")


def kind_of(text: str) -> str:
    """What the text is meant to be; whatever is no lock counts as an environment.yml."""
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    # One without its mark is told so by the parser.
    if MARK in lines or _PACKAGE.match(first):
        return EXPLICIT
    return CONDA_LOCK if first.startswith("{") or re.search(r"^package:", text, re.MULTILINE) else ENVIRONMENT


def parse_input(text: str, path: str, platform: t.Optional[str]) -> EnvironmentFile:
    """Read the text. platform: of the host, None where it is not known yet.

    Raises WorkerError ``broken_file``, ``unsupported_file`` or ``wrong_platform``.
    """
    text = text.lstrip("\ufeff")
    kind = kind_of(text)
    if kind == EXPLICIT:
        return EnvironmentFile((), (), (), (), parse_explicit(text, path, platform))
    if kind == CONDA_LOCK:
        lock = parse_conda_lock(text, path, platform)
        return EnvironmentFile((), (), lock.pip, (), lock.packages)
    if re.search(r"^environments:", text, re.MULTILINE) and re.search(r"^packages:", text, re.MULTILINE):
        remedy = "Write an explicit list of it: pixi workspace export conda-explicit-spec"
        raise WorkerError("unsupported_file", f"{path} is a lock file of pixi, which is not read here.", remedy, path=path)
    return parse_environment_file(text, path)
