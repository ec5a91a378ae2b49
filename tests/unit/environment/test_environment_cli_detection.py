# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which program creates the environment: where it is looked for, what it says it is, and what is refused."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import cli_detection
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import Detected
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.cli_backend import CliBackend
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

USER = 1000


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No place of the machine is looked at: it may have a conda."""
    monkeypatch.setattr(cli_detection, "PARENTS", ("~",))
    monkeypatch.setattr(cli_detection, "PROGRAMS", ("~/.local/bin",))


def program(path: pathlib.Path, answer: str = "conda 26.7.1", mode: int = 0o755) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(mode)
    return str(path)


def test_places_are_looked_at_in_the_documented_order() -> None:
    environ = {"CONDA_EXE": "/own/bin/conda", "MAMBA_EXE": "/m/micromamba", "PATH": "relative:/one:/opt/conda/bin:/one"}
    found = cli_detection.places("conda", environ, "/home/op")
    assert found[:3] == ("/own/bin/conda", "/one/conda", "/opt/conda/bin/conda")
    order = ["/home/op/miniforge3/bin/conda", "/home/op/miniforge3/condabin/conda", "/home/op/anaconda3/bin/conda", "/opt/miniforge3/bin/conda"]
    order += ["/home/op/.local/bin/conda", "/usr/local/bin/conda"]
    assert [found.index(each) for each in order] == sorted(found.index(each) for each in order)
    assert len(set(found)) == len(found)
    assert cli_detection.places("micromamba", environ, "/home/op")[0] == "/m/micromamba"
    assert "/m/micromamba" not in cli_detection.places("mamba", environ, "/home/op")


def test_first_that_can_be_run_is_taken_and_what_was_looked_at_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a/conda").mkdir(parents=True)
    program(tmp_path / "b/conda", mode=0o644)
    wanted = program(tmp_path / "c/conda")
    environ = {"PATH": ":".join(str(tmp_path / each) for each in "abcd")}
    path, looked = cli_detection.search("conda", environ, str(tmp_path), USER)
    assert path == wanted
    problems = [each.problem for each in looked]
    assert problems == ["is no file", "cannot be executed", ""]


@pytest.mark.parametrize("name", ["conda", "mamba", "micromamba"])
@pytest.mark.usefixtures("only_here")
def test_one_that_was_named_and_is_absent_is_an_error_that_tells_every_place(name: str, tmp_path: pathlib.Path) -> None:
    environ = {"PATH": str(tmp_path)}
    with pytest.raises(WorkerError) as failed:
        cli_detection.check_place(name, None, environ, str(tmp_path), USER)
    assert failed.value.code == "backend_unavailable"
    places = cli_detection.places(name, environ, str(tmp_path))
    assert [each for each in places if each not in failed.value.message] == []
    assert failed.value.details["looked_at"] == list(places)
    assert "backend: rattler" in failed.value.remedy


@pytest.mark.usefixtures("only_here")
def test_only_auto_goes_on_without_one(tmp_path: pathlib.Path) -> None:
    environ = {"PATH": str(tmp_path)}
    assert cli_detection.check_place("auto", "conda", environ, str(tmp_path), USER) is None
    assert cli_detection.check_place("auto", None, environ, str(tmp_path), USER) is None
    assert cli_detection.check_place("rattler", "/nowhere/conda", environ, str(tmp_path), USER) is None


@pytest.mark.parametrize(("entry", "problem"), [("gone", "is not there"), ("directory", "is no file")])
def test_bad_path_is_refused(tmp_path: pathlib.Path, entry: str, problem: str) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(WorkerError, match=problem) as failed:
        cli_detection.check_place("auto", str(tmp_path / entry), {}, "/", USER)
    assert failed.value.code == "backend_unavailable"
    assert str(tmp_path / entry) in failed.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
@pytest.mark.parametrize("what", ["file of another", "directory of another", "file for all", "directory for all", "directory for a group", "behind a link"])
@pytest.mark.usefixtures("only_here")
def test_root_runs_nothing_that_others_can_change(tmp_path: pathlib.Path, what: str) -> None:
    path = pathlib.Path(program(tmp_path / "conda/bin/conda"))
    target = path if what.startswith("file") else path.parents[1]
    if what.endswith("another") or what == "behind a link":
        os.chown(target, USER, USER)
    else:
        target.chmod(0o777 if what.endswith("all") else 0o775)
        os.chown(target, 0, USER)
    named = path
    if what == "behind a link":
        named = tmp_path / "link"
        named.symlink_to(path)
    with pytest.raises(WorkerError, match="others than root can write") as failed:
        cli_detection.check_place("auto", str(named), {}, "/", 0)
    assert failed.value.code == "unsafe_executable"
    assert str(target) in failed.value.message
    assert cli_detection.check_place("auto", str(named), {}, "/", USER) == str(named)
    assert cli_detection.check_place("auto", "conda", {"PATH": str(named.parent)}, str(tmp_path), 0) is None


def test_a_link_in_the_middle_of_a_chain_is_looked_at(tmp_path: pathlib.Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "conda").symlink_to(program(tmp_path / "opt" / "conda"))
    (tmp_path / "conda").symlink_to(theirs / "conda")
    assert cli_detection.problem_of(str(tmp_path / "conda"), 0) == ""
    os.chown(theirs, USER, USER)
    assert str(theirs) in cli_detection.problem_of(str(tmp_path / "conda"), 0)


@pytest.mark.parametrize(
    ("answer", "path", "expected"),
    [
        ("conda 26.7.1\n", "/x/conda", ("conda", "26.7.1")),
        ("conda 26.7.1\n", "/x/mamba", ("conda", "26.7.1")),
        ("2.8.1\n", "/x/micromamba", ("micromamba", "2.8.1")),
        ("2.8.1\n", "/x/micromamba-2.8.1-0-linux-64", ("micromamba", "2.8.1")),
        ("2.8.1\n", "/x/mamba", ("mamba", "2.8.1")),
        ("2.8.1\n", "/x/conda", ("micromamba", "2.8.1")),
        ("mamba 1.5.8\nconda 23.11.0\n", "/x/mamba", ("mamba", "1.5.8")),
        ("a warning\nconda 25.1.0rc1\n", "/x/conda", ("conda", "25.1.0rc1")),
        ("Python 3.11.2\n", "/x/conda", None),
        ("", "/x/conda", None),
    ],
)
def test_what_a_program_says_it_is(answer: str, path: str, expected: t.Optional[tuple[str, str]]) -> None:
    assert cli_detection.identify(answer, path) == (Detected(*expected, path) if expected else None)


@pytest.mark.parametrize(
    ("name", "version", "fits"),
    [
        ("conda", "26.7.1", True),
        ("conda", "24.11.0", True),
        ("conda", "24.9.2", False),
        ("mamba", "1.5.8", False),
        ("mamba", "2.0", True),
        ("micromamba", "1.5.10", False),
    ],
)
def test_versions(name: str, version: str, fits: bool) -> None:
    if fits:
        cli_detection.check_version(Detected(name, version, "/x"))
        return
    with pytest.raises(WorkerError) as failed:
        cli_detection.check_version(Detected(name, version, "/x"))
    assert failed.value.code == "backend_unavailable"
    assert failed.value.details["detected_version"] == version
    assert failed.value.details["required_version"] == ".".join(map(str, cli_detection.REQUIRED[name]))


def test_a_program_is_what_it_answers(tmp_path: pathlib.Path) -> None:
    assert CliBackend("auto", program(tmp_path / "conda", "2.8.1")).detect().name == "micromamba"
    with pytest.raises(WorkerError, match=r"is micromamba 2\.8\.1, while backend is conda"):
        CliBackend("conda", program(tmp_path / "conda", "2.8.1")).detect()
    with pytest.raises(WorkerError, match="neither conda, mamba nor micromamba"):
        CliBackend("conda", program(tmp_path / "conda", "hello")).detect()


def test_auto_takes_the_library_in_the_place_of_one_that_is_too_old(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path / "conda", "conda 4.9.2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CONDA_EXE", raising=False)
    assert CliBackend("auto", "conda").detect().name == "rattler"
    for backend, executable in (("auto", path), ("conda", "conda"), ("conda", None)):
        with pytest.raises(WorkerError) as failed:
            CliBackend(backend, executable).detect()
        assert failed.value.details["detected_version"] == "4.9.2"
