# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Copies of the requirement files for the installer: the very text that was fingerprinted, where the build user can read it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import typing as t

from .content import Content
from .requirements import Line, Requirements, render


@dataclasses.dataclass(frozen=True)
class Sources:
    """Paths for the installer's ``-r`` and ``-c``. wheels: the requirements without those that must be built."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    wheels: tuple[str, ...]


def write_sources(content: Content, directory: str, environ: t.Mapping[str, str]) -> Sources:
    """Write them into ``directory``; local packages are copied along, because building one writes into its tree."""
    writer = _Writer(directory, environ)
    wanted = [requirements for requirements in (*content.requirements, content.pip) if requirements.lines]
    return Sources(
        tuple(writer.write(each) for each in wanted),
        tuple(writer.write(each) for each in content.constraints),
        tuple(writer.write(each.without(must_be_built)) for each in wanted),
    )


def must_be_built(line: Line) -> bool:
    """Whether the line names something that surely has no wheel: a directory, a repository."""
    return (bool(line.local) and not line.local.endswith(".whl")) or re.search(r"\b(git|hg|svn|bzr)\+", line.text) is not None


class _Writer:
    def __init__(self, directory: str, environ: t.Mapping[str, str]) -> None:
        self.directory = directory
        self.environ = environ
        self.trees: dict[str, str] = {}
        self.count = 0

    def write(self, requirements: Requirements) -> str:
        for tree in requirements.local_directories():
            if tree not in self.trees:
                self.trees[tree] = os.path.join(self.directory, f"local-{len(self.trees)}", os.path.basename(tree) or "tree")
                shutil.copytree(tree, self.trees[tree], symlinks=True, ignore=shutil.ignore_patterns(".git", "__pycache__"))
        included = {index: self.write(line.nested) for index, line in enumerate(requirements.lines) if line.nested is not None}
        self.count += 1
        path = os.path.join(self.directory, f"requirements-{self.count}.txt")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
            handle.write(render(requirements, included, self.trees, self.environ))
        return path
