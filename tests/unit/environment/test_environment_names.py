# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What already has the name, or stands at the prefix: taken where it is ours and complete, never touched where it is another's."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content, fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import Indexes
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import Wanted, absent, present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place, building_mark
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.record import list_prefix, write_record
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import silent
from tests.shared import digest

CONTENT = Content(None, ("zlib",), ("conda-forge",), (), (), Requirements("", ()), (), "auto", "linux-64")
PRINT = fingerprint(CONTENT)
MEANS = Means("rattler", Indexes(), None, False, 5.0, 5.0)
HISTORY = "==> 2026-01-01 00:00:00 <==\n# cmd: /opt/conda/bin/conda create -n w\n"


def wanted(place: Place) -> Wanted:
    return Wanted(place, CONTENT, MEANS, False, True)


def never(**identity: t.Any) -> t.Any:
    raise AssertionError("nothing is to be built here")


def places(top: pathlib.Path) -> tuple[Place, Place]:
    """By name and by prefix, so that what is made at ``envs/w`` stands in the way of both."""
    return Place(str(top), str(top / "cache"), name="w"), Place(str(top), str(top / "cache"), prefix=str(top / "envs/w"))


def write(path: pathlib.Path, files: t.Mapping[str, str]) -> None:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)


def complete(path: pathlib.Path) -> None:
    write(path, {"conda-meta/zlib-1.3-0.json": "{}"})
    told = dict.fromkeys(("python", "python_version"), None)
    listing = dataclasses.asdict(list_prefix(str(path), None))
    common = {"fingerprint": PRINT, "build": 1, "site_packages": None, "listing": listing, "backend": {}, "packages": {}, "activation": {}}
    write_record(str(path), {**told, **common})


FOREIGN: list[tuple[str, dict[str, str], str]] = [
    ("of conda", {"conda-meta/history": HISTORY, "conda-meta/zlib-1.3-0.json": "{}", "lib/libz.so": "z"}, "an environment of conda"),
    ("of micromamba", {"conda-meta/zlib-1.3-0.json": "{}", "lib/libz.so": "z"}, "an environment of another tool, without a history"),
    ("of nobody", {"thesis.tex": "three years"}, "a directory that is no environment"),
]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("files", "words"), [row[1:] for row in FOREIGN], ids=[row[0] for row in FOREIGN])
def test_what_is_not_ours_is_refused_and_left_alone(tmp_path: pathlib.Path, files: dict[str, str], words: str, check: bool) -> None:
    write(tmp_path / "envs/w", files)
    before = digest(tmp_path, of_directories=True)
    for place in places(tmp_path):
        for run in (lambda at=place: present(wanted(at), Actions(), check, never), lambda at=place: absent(at, 5.0, Actions(), check, silent)):
            with pytest.raises(WorkerError) as failure:
                run()
            assert failure.value.code == "foreign_prefix"
            assert words in failure.value.message
            assert f"mv {tmp_path}/envs/w {tmp_path}/envs/w.old" in failure.value.remedy
            assert failure.value.details["prefix"] == f"{tmp_path}/envs/w"
    assert digest(tmp_path, of_directories=True) == before


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("target", ["/elsewhere", "other-0123456789ab-1", "../envs-of-others/w-0123456789ab-1"])
def test_a_link_to_elsewhere_is_neither_replaced_nor_removed(tmp_path: pathlib.Path, target: str, check: bool) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/w").symlink_to(target)
    named, exact = places(tmp_path)
    for run in (
        lambda: present(wanted(named), Actions(), check, never),
        lambda: absent(named, 5.0, Actions(), check, silent),
        lambda: present(wanted(exact), Actions(), check, never),
        lambda: absent(exact, 5.0, Actions(), check, silent),
    ):
        with pytest.raises(WorkerError, match="a link to") as failure:
            run()
        assert failure.value.code == "foreign_prefix"
    assert (tmp_path / "envs/w").readlink() == pathlib.Path(target)


def test_ours_is_taken_where_it_is_complete(tmp_path: pathlib.Path) -> None:
    """By name with and without its link, and at an exact path."""
    named, exact = places(tmp_path)
    complete(pathlib.Path(named.path(PRINT, 1)))
    actions = Actions()
    first = present(wanted(named), actions, False, never)
    assert (first["created"], first["prefix"]) == (False, named.path(PRINT, 1))
    assert [each["what"] for each in actions.as_result()["actions"]] == ["link"]
    for target in (named.path(PRINT, 1), f"w-{PRINT[:12]}-7"):
        # One that leads to a build by its whole path, or to one that is gone, is ours.
        (tmp_path / "envs/w").unlink()
        (tmp_path / "envs/w").symlink_to(target)
        present(wanted(named), Actions(), False, never)
        assert str((tmp_path / "envs/w").readlink()) == f"w-{PRINT[:12]}-1"
    (tmp_path / "envs/w").unlink()
    complete(tmp_path / "envs/w")
    assert present(wanted(exact), Actions(), False, never)["created"] is False


def test_ours_is_begun_anew_where_it_is_not_complete(tmp_path: pathlib.Path) -> None:
    """The mark decides, whatever is in there."""
    named, exact = places(tmp_path)
    for place in (named, exact):
        path = pathlib.Path(place.path(PRINT, 1))
        write(path, {"conda-meta/history": HISTORY})
        pathlib.Path(building_mark(str(path))).write_text("{}")
        planned = present(dataclasses.replace(wanted(place), link=False), Actions(), True, never)
        assert (planned["created"], planned["prefix"]) == (True, str(path))
        assert absent(place, 5.0, Actions(), False, silent) == {}
        assert list((tmp_path / "envs").iterdir()) == []
