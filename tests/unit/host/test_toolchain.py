# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What names a toolchain, and which directories are one."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import toolchain, toolchain_interpreter
from ansible_collections.ew_ai.worker.plugins.module_utils.host.toolchain_interpreter import Interpreter

BASE = Interpreter("/usr/bin/python3", "3.11.2", "x86_64-linux-gnu", "cpython", True)
TEXT = "# made by x\na==1 --hash=sha256:aa\n"


@pytest.mark.parametrize(
    ("text", "changes", "same"),
    [
        (TEXT, {}, True),
        ("# made by another\n\na==1 \\\n    --hash=sha256:aa", {}, True),
        (TEXT, {"python": "/usr/local/bin/python3"}, True),
        (TEXT, {"version": "3.11.9"}, True),
        (TEXT, {"version": "3.12.2"}, False),
        (TEXT, {"platform": "aarch64-linux-gnu"}, False),
        (TEXT, {"abi": "cpythont"}, False),
        ("a==1 --hash=sha256:ab", {}, False),
        ("a==2 --hash=sha256:aa", {}, False),
    ],
)
def test_fingerprint(text: str, changes: dict[str, str], same: bool) -> None:
    wanted = toolchain.fingerprint_of(TEXT, BASE)
    assert len(wanted) == 16
    assert (toolchain.fingerprint_of(text, dataclasses.replace(BASE, **changes)) == wanted) is same


def test_a_child_describes_itself_as_the_running_interpreter_does(tmp_path: pathlib.Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(os.path.realpath(sys.executable))
    found = toolchain_interpreter.interpreter_at(str(link))
    assert dataclasses.replace(found, python="") == dataclasses.replace(toolchain_interpreter.running(), python="")


@pytest.mark.parametrize("path", ["/nonexistent/python", "/bin/true", "/bin/false"])
def test_no_interpreter(path: str) -> None:
    with pytest.raises(OptionError, match="no Python that runs here") as caught:
        toolchain_interpreter.interpreter_at(path)
    assert path in caught.value.message


def test_an_old_interpreter(tmp_path: pathlib.Path) -> None:
    old = tmp_path / "python"
    words = json.dumps({"python": str(old), "version": "3.8.10", "platform": "x", "abi": "cpython", "has_venv": True})
    old.write_text(f"#!/bin/sh\necho '{words}'\n", encoding="utf-8")
    old.chmod(0o755)
    with pytest.raises(OptionError, match=r"it is Python 3\.8\.10"):
        toolchain_interpreter.interpreter_at(str(old))


def test_without_venv_the_packages_are_named() -> None:
    with pytest.raises(WorkerError) as caught:
        toolchain_interpreter.refuse_without_venv(dataclasses.replace(BASE, has_venv=False))
    assert caught.value.code == "no_venv"
    assert "python3-venv" in caught.value.remedy
    assert "python3.11-venv" in caught.value.remedy
    assert "dnf install" in caught.value.remedy


@pytest.mark.parametrize(
    ("files", "complete", "ours"),
    [
        ([], False, True),
        (["bin/python", "toolchain.json"], True, True),
        (["toolchain.json"], False, True),
        (["bin/python", ".building"], False, True),
        ([".building"], False, True),
        (["bin/python"], False, False),
        (["notes.txt"], False, False),
    ],
)
def test_which_directories_are_ours(tmp_path: pathlib.Path, files: list[str], complete: bool, ours: bool) -> None:
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"fingerprint": "f"}', encoding="utf-8")
        path.chmod(0o755)
    assert toolchain.is_complete(str(tmp_path), "f") is complete
    assert not toolchain.is_complete(str(tmp_path), "g")
    if ours:
        toolchain.refuse_foreign(str(tmp_path))
    else:
        with pytest.raises(WorkerError, match="is no toolchain") as caught:
            toolchain.refuse_foreign(str(tmp_path))
        assert caught.value.code == "foreign_directory"


def test_a_file_in_the_way_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "f").write_text("", encoding="utf-8")
    with pytest.raises(WorkerError, match="is no toolchain"):
        toolchain.refuse_foreign(str(tmp_path / "f"))


def test_a_removal_that_breaks_off_leaves_a_marked_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "f"
    (directory / "bin").mkdir(parents=True)
    (directory / "toolchain.json").write_text("{}", encoding="utf-8")

    def broken(path: str) -> None:
        raise OSError(5, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(toolchain.shutil, "rmtree", broken)  # stands in for a disk that fails
        with pytest.raises(OSError, match="Input/output"):
            toolchain.remove_tree(str(directory))
    assert sorted(os.listdir(directory)) == [".building", "bin"]
    toolchain.remove_tree(str(directory))
    assert not directory.exists()
    toolchain.remove_tree(str(directory))


def test_removing_where_there_is_nothing(tmp_path: pathlib.Path) -> None:
    actions = Actions()
    toolchain.remove_all(str(tmp_path), actions, False, 1)
    assert not actions.changed


def test_orphans_of_a_killed_build_are_ended(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "f"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "sleep").symlink_to("/bin/sleep")
    orphan = subprocess.Popen([str(directory / "bin" / "sleep"), "300"])
    reader = subprocess.Popen(["tail", "-f", str(directory / "bin" / "sleep")], stdout=subprocess.DEVNULL)
    try:
        toolchain.end_orphans(str(directory))
        assert orphan.wait(10) == -9
        assert reader.poll() is None, "who only reads there is left alone"
    finally:
        reader.kill()
        reader.wait()
