# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The secrets of generations: for their owner's eyes, named by a keyed digest, gone with their generation."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.generation import secret_files
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout, WorkerLayout


@pytest.fixture
def paths(tmp_path: pathlib.Path) -> WorkerLayout:
    return Layout(str(tmp_path)).worker("w")


def test_only_the_owner_reads_them(paths: WorkerLayout) -> None:
    path = pathlib.Path(secret_files.write(paths, 3, {"TOKEN": "geheim"}))
    assert (path.name, path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == ("generation-3.json", 0o600, 0o700)
    assert secret_files.read(str(path)) == {"TOKEN": "geheim"}


def test_the_digest_names_the_values_and_needs_the_salt() -> None:
    one = secret_files.digest_of({"A": "1", "B": "2"}, b"salt")
    assert one == secret_files.digest_of({"B": "2", "A": "1"}, b"salt")
    assert len({one, secret_files.digest_of({"A": "1", "B": "3"}, b"salt"), secret_files.digest_of({"A": "1", "B": "2"}, b"other")}) == 3


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_broken_file_is_as_good_as_none(paths: WorkerLayout, text: str) -> None:
    path = pathlib.Path(secret_files.write(paths, 1, {}))
    path.write_text(text)
    assert secret_files.read(str(path)) is None
    path.unlink()
    assert secret_files.read(str(path)) is None


def test_what_no_generation_needs_goes_with_what_a_killed_run_left(paths: WorkerLayout) -> None:
    for number in (1, 2):
        secret_files.write(paths, number, {"TOKEN": "geheim"})
    directory = pathlib.Path(paths.secrets)
    for name in (".generation-2.json.x8f3", "0.env", "generation-x.json"):
        (directory / name).write_text("")
    secret_files.forget(paths, {**states.empty("w"), "generations": [{"number": 2}]})
    assert sorted(path.name for path in directory.iterdir()) == ["0.env", "generation-2.json", "generation-x.json"]


def test_an_empty_directory_goes_too(paths: WorkerLayout) -> None:
    secret_files.write(paths, 1, {"TOKEN": "geheim"})
    secret_files.forget(paths, states.empty("w"))
    assert not pathlib.Path(paths.secrets).exists()
    secret_files.forget(paths, states.empty("w"))
