# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment that make makes, and what it says where it cannot."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from tools import venv


@pytest.fixture(name="requirements")
def empty_requirements(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "some.txt"
    path.write_text("# nothing\n")
    return path


def test_made_once_then_left_alone(tmp_path: pathlib.Path, requirements: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "an environment"
    venv.ensure(place, requirements)
    assert "Installing requirements/some.txt" in capsys.readouterr().out
    inode = (place / "pyvenv.cfg").stat().st_ino
    venv.ensure(place, requirements)
    assert capsys.readouterr().out == ""
    requirements.write_text("# something else\n")
    venv.ensure(place, requirements)
    assert "Installing" in capsys.readouterr().out
    assert (place / "pyvenv.cfg").stat().st_ino == inode
    done = subprocess.run([str(venv.python(place)), "-c", "import sys; print(sys.prefix)"], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == str(place)


def test_one_that_was_moved_is_made_anew(tmp_path: pathlib.Path, requirements: pathlib.Path) -> None:
    venv.ensure(tmp_path / "old", requirements)
    (tmp_path / "old").rename(tmp_path / "new")
    assert not venv.works(tmp_path / "new")
    venv.ensure(tmp_path / "new", requirements)
    assert venv.works(tmp_path / "new")


def test_a_directory_of_someone_else_is_refused(tmp_path: pathlib.Path, requirements: pathlib.Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(venv.VenvError, match="is no virtual environment"):
        venv.ensure(tmp_path / "mine", requirements)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_an_old_python_is_refused(tmp_path: pathlib.Path, requirements: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(venv.VenvError, match=r"Python 3\.11 or newer is needed"):
        venv.ensure(tmp_path / "x", requirements)


def test_debian_without_venv_is_told_the_package(tmp_path: pathlib.Path, requirements: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ensurepip is in a package of its own there."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(venv.VenvError, match=rf"apt-get install python3\.{sys.version_info[1]}-venv"):
        venv.ensure(tmp_path / "x", requirements)
    assert not (tmp_path / "x").exists()


def test_what_pip_cannot_install_is_an_error_and_is_tried_again(tmp_path: pathlib.Path, requirements: pathlib.Path) -> None:
    requirements.write_text("no-such-package-of-this-project @ file:///nowhere/x-1-py3-none-any.whl --hash=sha256:" + "0" * 64 + "\n")
    for _attempt in range(2):
        with pytest.raises(venv.VenvError, match=r"pip could not install some\.txt"):
            venv.ensure(tmp_path / "x", requirements)
    requirements.write_text("# nothing\n")
    venv.ensure(tmp_path / "x", requirements)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nonsense"], "invalid choice"), ([], "the following arguments are required")],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    done = subprocess.run([sys.executable, str(venv.CHECKOUT / "tools" / "venv.py"), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr


def test_without_any_python_make_says_what_to_do(tmp_path: pathlib.Path) -> None:
    """No directory on PATH but one with an old python3; the checkout has no .venv."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    shutil.copy(venv.CHECKOUT / "Makefile", tmp_path)
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "venv"], cwd=tmp_path, env={"PATH": str(tmp_path / "bin")}, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no Python 3.11 or newer found as python3.13, python3.12, python3.11 or python3" in done.stderr
    assert "make venv PYTHON=/path/to/python3" in done.stderr
