# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner of the tests, and what it prepares."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from tools.testing import interpreters, machine, tree
from tools.testing.__main__ import PLACES, pytest_arguments


@pytest.mark.parametrize(("kind", "covered"), [("all", False), ("coverage", True)])
def test_everything_is_one_run(kind: str, covered: bool) -> None:
    arguments = pytest_arguments(kind, 2, ["-x"])
    assert not [each for each in arguments if each.startswith("tests/")]
    assert {"--numprocesses=4", "--dist=loadgroup", "--no-loadscope-reorder"} <= set(arguments)
    assert ("--cov" in arguments) is covered
    assert arguments[-1] == "-x"


@pytest.mark.parametrize("kind", sorted(set(PLACES) - {"all", "coverage"}))
def test_one_kind_names_its_directory(kind: str) -> None:
    arguments = pytest_arguments(kind, 8, [])
    assert arguments[0] == f"tests/{kind}"
    assert ("--numprocesses=8" in arguments) == (kind != "molecule")
    assert "--cov" not in arguments


def project(path: pathlib.Path) -> pathlib.Path:
    """A small checkout: a tracked file, a new one, an ignored one, a link, one that is tracked and gone."""
    path.mkdir()
    for name, text in ((".gitignore", "/ignored\n"), ("tracked", "1"), ("gone", "1"), ("ignored", "1"), ("directory/new", "1")):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    (path / "link").symlink_to("tracked")
    subprocess.run(["git", "init", "--quiet"], cwd=path, check=True)
    subprocess.run(["git", "add", ".gitignore", "tracked", "gone"], cwd=path, check=True)
    (path / "gone").unlink()
    return path


def listing(path: pathlib.Path) -> set[str]:
    """The files of a copy, its repository left out."""
    found = {each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_symlink() or each.is_file()}
    return {each for each in found if not each.startswith(".git/")}


def test_copy_has_what_git_has_and_follows_it(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = project(tmp_path / "source"), tmp_path / "a" / "copy"
    monkeypatch.setattr(tree, "CHECKOUT", source)
    assert tree.copy_tree(target) == target
    assert listing(target) == {".gitignore", "tracked", "directory/new", "link"}
    assert os.readlink(target / "link") == "tracked"
    before = (target / "tracked").stat().st_mtime_ns
    (source / "directory" / "new").write_text("2")
    (source / "link").unlink()
    (target / "stray").write_text("x")
    (target / "tests" / "output").mkdir(parents=True)
    (target / "tests" / "output" / "kept").write_text("x")
    tree.copy_tree(target)
    assert listing(target) == {".gitignore", "tracked", "directory/new", "tests/output/kept"}
    assert (target / "directory" / "new").read_text() == "2"
    assert (target / "tracked").stat().st_mtime_ns == before


def test_a_shim_that_does_not_start_is_left_out(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shims, good = tmp_path / "shims", tmp_path / "good"
    programs = ((shims, "python3.9", "exit 127"), (shims, "pyenv", f"echo {sys.executable}"), (good, "python3.10", f'exec {sys.executable} "$@"'))
    for directory, name, body in programs:
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(f"#!/bin/sh\n{body}\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{good}{os.pathsep}/bin")
    monkeypatch.setattr(interpreters, "LINKS", tmp_path / "links")
    monkeypatch.setattr(interpreters, "VERSIONS", ("3.9", "3.10"))
    assert interpreters.search_path(tmp_path / "first") == os.pathsep.join(str(each) for each in (tmp_path / "first", tmp_path / "links", good, "/bin"))
    assert {each.name: os.readlink(each) for each in (tmp_path / "links").iterdir()} == {"python3.9": sys.executable}


def test_words_of_this_machine_have_its_mirror_but_no_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@mirror" + ".test.invalid/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://pypi.org/simple")
    words = machine.machine_words()
    assert words["mirror" + ".test.invalid"] == "pip's settings"
    assert "pypi.org" not in words


def test_tests_of_one_group_run_in_one_process(tmp_path: pathlib.Path) -> None:
    """With some pairs of pytest and pytest-xdist they do not, and nothing says so."""
    for name in ("one", "other"):
        test = "def test_it(each):\n    with open(__file__ + '.pids', 'a') as seen:\n        seen.write(f'{os.getpid()}\\n')\n    time.sleep(0.05)\n"
        marks = f"pytestmark = pytest.mark.xdist_group({name!r})\n\n@pytest.mark.parametrize('each', range(4))\n"
        (tmp_path / f"test_{name}.py").write_text(f"import os\nimport time\n\nimport pytest\n\n{marks}{test}")
    options = [each for each in pytest_arguments("integration", 2, []) if each.startswith(("--numprocesses", "--dist", "--no-loadscope"))]
    assert len(options) == 3
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "."], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for name in ("one", "other"):
        pids = (tmp_path / f"test_{name}.py.pids").read_text().split()
        assert (len(pids), len(set(pids))) == (4, 1)
