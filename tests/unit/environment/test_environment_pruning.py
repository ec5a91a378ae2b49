# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds that got old without being needed: which they are, and how they go."""

from __future__ import annotations

import os
import pathlib
import time
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import pruning
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place, building_mark, record_path
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.record import write_record
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked


def build(root: pathlib.Path, entry: str, days: float = 2, complete: bool = True) -> pathlib.Path:
    """A build of that age: complete, or with the mark that a killed run leaves."""
    path = root / "envs" / entry
    (path / "conda-meta").mkdir(parents=True)
    told = record_path(str(path)) if complete else building_mark(str(path))
    if complete:
        write_record(str(path), {"fingerprint": "f" * 64, "build": 1, "listing": {"conda": [], "pip": []}})
    else:
        pathlib.Path(told).write_text("{}")
    os.utime(told, (time.time() - days * 86400,) * 2)
    return path


def names(paths: t.Iterable[str]) -> list[str]:
    return sorted(map(os.path.basename, paths))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/envs/ew_ai_worker-0123456789ab-1", "ew_ai_worker"),
        ("/x/envs/a-b-0123456789ab-12", "a-b"),
        ("/x/envs/ew_ai_worker", None),
        ("/x/envs/e-0123456789ab-0", None),
        ("/x/envs/e-0123-1", None),
    ],
)
def test_the_name_of_a_build(path: str, name: t.Optional[str]) -> None:
    assert pruning.name_of(path) == name


def test_old_are_the_complete_and_the_given_up_ones_of_the_name(tmp_path: pathlib.Path) -> None:
    build(tmp_path, "e-000000000001-1")
    build(tmp_path, "e-000000000002-1", days=0.5)
    build(tmp_path, "e-000000000003-1", complete=False)
    build(tmp_path, "e-000000000004-1", days=0.5, complete=False)
    build(tmp_path, "other-000000000001-1")
    (tmp_path / "envs" / "e-000000000005-1" / "somebody's").mkdir(parents=True)
    found = pruning.older_than(str(tmp_path), "e", time.time() - 86400)
    assert names(found) == ["e-000000000001-1", "e-000000000003-1"]


def test_the_one_that_people_are_led_to_stays(tmp_path: pathlib.Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "e").symlink_to(build(tmp_path, "e-000000000001-1").name)
    assert pruning.older_than(str(tmp_path), "e", time.time()) == []


def test_nothing_is_old_where_nothing_is(tmp_path: pathlib.Path) -> None:
    assert pruning.older_than(str(tmp_path), "e", time.time()) == []


@pytest.mark.parametrize("entry", ["e-000000000001-1", "strange"])
@pytest.mark.parametrize("complete", [True, False])
def test_it_goes_with_its_mark_and_a_link_to_it(tmp_path: pathlib.Path, entry: str, complete: bool) -> None:
    path = build(tmp_path, entry, complete=complete)
    if entry != "strange":
        (tmp_path / "envs" / "e").symlink_to(path.name)
    assert pruning.remove(str(tmp_path), str(path))
    assert list((tmp_path / "envs").iterdir()) == []


def test_nothing_goes_while_one_of_its_name_is_built(tmp_path: pathlib.Path) -> None:
    path = build(tmp_path, "e-000000000001-1")
    with locked(Place(str(tmp_path), "", "e").lock, 0, "a build"):
        assert not pruning.remove(str(tmp_path), str(path))
    assert pathlib.Path(record_path(str(path))).exists()
