# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a local package says that it needs."""

from __future__ import annotations

import pathlib
import shutil
import sys

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build_needs import Needs, needs_of

WHOLE = '[build-system]\nrequires = ["hatchling>=1", "wheel"]\n[project]\nname = "x"\ndependencies = ["numpy>=1.26,<2"]\n'
CASES = [
    (WHOLE, Needs(("hatchling>=1", "wheel"), ("numpy>=1.26,<2",), True)),
    ('[project]\nname = "x"\n', Needs((), (), True)),
    ('[build-system]\nrequires = ["setuptools"]\n', Needs(("setuptools",), (), False)),
    ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', Needs((), (), False)),
    ('[build-system]\nrequires = ["-r evil.txt", "a @ file:///b", "a\\nb", 3]\n', Needs()),
    ('[build-system]\nrequires = "setuptools"\n', Needs()),
    ("build-system = 1\nproject = []\n", Needs()),
    ("[broken\n", Needs()),
    ("", Needs()),
]


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_package_says(tmp_path: pathlib.Path, text: str, expected: Needs, packed: bool) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/pyproject.toml").write_text('[build-system]\nrequires = ["of-another"]\n')
    (tree / "pyproject.toml").write_text(text)
    assert needs_of(shutil.make_archive(str(tmp_path / "x-1.0"), "gztar", tmp_path, "tree") if packed else str(tree)) == expected


@pytest.mark.parametrize("name", ["absent", "empty", "x.tar.gz"])
def test_what_says_nothing(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    assert needs_of(str(tmp_path / name)) == Needs()


def test_an_older_python_reads_it_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(WHOLE)
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert needs_of(str(tmp_path)) == CASES[0][1]
