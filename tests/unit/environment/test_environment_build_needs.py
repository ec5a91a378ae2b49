# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a local package says that it needs."""

from __future__ import annotations

import pathlib
import shutil
import sys

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import gather
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build_needs import Needs, extras_in, name_in, needs_of
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Line

WHOLE = '[build-system]\nrequires = ["hatchling>=1", "wheel"]\n[project]\nname = "x"\ndependencies = ["numpy>=1.26,<2"]\n'
CASES = [
    (WHOLE, Needs(("hatchling>=1", "wheel"), ("numpy>=1.26,<2",), True, "x")),
    ('[project]\nname = "X.._y"\n', Needs((), (), True, "x-y")),
    ('[build-system]\nrequires = ["setuptools"]\n', Needs(("setuptools",), (), False, "tree")),
    ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', Needs((), (), False, "x")),
    # What is left out is not all.
    ('[project]\nname = "x"\ndependencies = ["a", "b @ https://example.com/b.whl"]\n', Needs((), ("a",), False, "x")),
    ('[build-system]\nrequires = ["-r evil.txt", "a @ file:///b", "a\\nb", 3]\n', Needs(name="tree")),
    ('[build-system]\nrequires = "setuptools"\n', Needs(name="tree")),
    ("build-system = 1\nproject = []\n", Needs(name="tree")),
    ("[broken\n", Needs(name="tree")),
    ("a = " + "[" * 100_000, Needs(name="tree")),
    ("", Needs(name="tree")),
]


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_package_says(tmp_path: pathlib.Path, text: str, expected: Needs, packed: bool) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    (tree / "below/pyproject.toml").write_text('[build-system]\nrequires = ["of-another"]\n')
    (tree / "pyproject.toml").write_text(text)
    assert needs_of(shutil.make_archive(str(tmp_path / "tree-1.0"), "gztar", tmp_path, "tree") if packed else str(tree)) == expected


@pytest.mark.parametrize("name", ["absent", "empty", "x.tar.gz", "cut-1.0.tar.gz"])
def test_what_says_nothing(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    whole = pathlib.Path(shutil.make_archive(str(tmp_path / "whole"), "gztar", pathlib.Path(__file__).parent, pathlib.Path(__file__).name))
    (tmp_path / "cut-1.0.tar.gz").write_bytes(whole.read_bytes()[:500])
    found = needs_of(str(tmp_path / name))
    assert (found.build, found.run, found.known) == ((), (), False)


@pytest.mark.parametrize(
    ("line", "run", "known"),
    [
        ("./x", ("a",), True),
        ("./x[gpu]", ("a", "torch"), True),
        ("./x[GPU, web] ; python_version > '3'", ("a", "torch", "aiohttp"), True),
        ("./x[nobody]", ("a",), False),
        ("x[web] @ file:///somewhere/x", ("a", "aiohttp"), True),
    ],
)
def test_extras_that_are_asked_for_count(tmp_path: pathlib.Path, line: str, run: tuple[str, ...], known: bool) -> None:
    optional = '[project.optional-dependencies]\nGpu = ["torch"]\nweb = ["aiohttp"]\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\ndependencies = ["a"]\n{optional}')
    found = needs_of(str(tmp_path), extras_in(line))
    assert (found.run, found.known) == (run, known)


@pytest.mark.parametrize(("row", "name"), [("Ew_Common", "ew-common"), ("ew.common>=1", "ew-common"), ("a[b]<2", "a"), (" ", "")])
def test_the_name_in_a_requirement(row: str, name: str) -> None:
    assert name_in(row) == name


def test_an_older_python_reads_it_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(WHOLE)
    monkeypatch.setitem(sys.modules, "tomllib", None)
    assert needs_of(str(tmp_path)) == CASES[0][1]


def test_extras_that_local_packages_ask_of_each_other_count(tmp_path: pathlib.Path) -> None:
    """And those that one asks of itself, as in ``all = ["x[gpu]"]``."""
    projects = {
        "common": '[project]\nname = "common"\n[project.optional-dependencies]\nall = ["common[gpu]>=1"]\ngpu = ["torch"]\nunused = ["pandas"]\n',
        "service": '[project]\nname = "service"\ndependencies = ["Common[all] ~= 1.0", "numpy"]\n',
    }
    for name, text in projects.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(text)
    lines = [Line(f"./{name}", local=str(tmp_path / name)) for name in projects]
    common, service = gather._needs(lines)
    assert (common.run, common.known) == (("common[gpu]>=1", "torch"), True)
    assert (service.run, service.known) == (("Common[all] ~= 1.0", "numpy"), True)
