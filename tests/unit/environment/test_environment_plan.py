# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is wanted and found to a plan, and what counts as drift."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content, fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place, building_mark, is_name, record_path
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.plan import plan_absent, plan_present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.record import (
    Found,
    Listing,
    describe,
    drift,
    list_prefix,
    look,
    pip_packages,
    python_directory,
    write_record,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Line, Requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

SIX = Requirements("/r.txt", (Line("six==1.16.0"),))
NOTHING = Requirements("", ())
CONTENT = Content("3.10", ("numpy",), ("conda-forge",), (SIX,), (), NOTHING, (), "auto", "linux-64")
PRINT = fingerprint(CONTENT)
PLACE = Place("/root", "/root/cache", name="w")
EXACT = Place("/root", "/root/cache", prefix="/srv/env")


def complete(build: int, print_: str = PRINT, created: str = "", path: str = "", drifted: bool = False) -> Found:
    record = {"fingerprint": print_, "build": build, "created_at": created}
    drift_ = ({"kind": "pip", "name": "six", "problem": "missing", "recorded": "1.16.0", "found": ""},) if drifted else ()
    return Found(path or PLACE.path(print_, build), "complete", build, record, drift_)


def partial(build: int, print_: str = PRINT) -> Found:
    return Found(PLACE.path(print_, build), "partial", build)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"packages": ("numpy", "numpy")}, False),
        ({"python_version": "3.11"}, False),
        ({"channels": ("https://u:p@host/c",)}, False),
        ({"requirements": (Requirements("/elsewhere.txt", (Line("six==1.16.0"),)),)}, True),
        ({"requirements": (Requirements("/r.txt", (Line("six==1.17.0"),)),)}, False),
        ({"constraints": (SIX,)}, False),
        ({"variables": (("A", "1"),)}, False),
        ({"installer": "pip"}, False),
        ({"platform": "linux-aarch64"}, False),
    ],
)
def test_the_fingerprint_is_of_contents(change: dict[str, t.Any], same: bool) -> None:
    assert (fingerprint(dataclasses.replace(CONTENT, **change)) == PRINT) is same


def test_the_fingerprint_is_the_same_on_every_host_and_version() -> None:
    """A change here rebuilds the environment of every user: it must be on purpose."""
    assert PRINT == "ab89eab9b5e2644b2231d994f4d11153077d026758cc27426e09231b642e8947"


def test_credentials_are_not_in_the_fingerprint() -> None:
    channels = ("https://host/c", "https://alice:old@host/c", "https://bob:new@host/c/", "https://host/t/token/c")
    assert len({fingerprint(dataclasses.replace(CONTENT, channels=(each,))) for each in channels}) == 1


@pytest.mark.parametrize(
    ("change", "installer", "specs"),
    [
        ({}, "uv", ["python 3.10.*", "numpy"]),
        ({}, "pip", ["python 3.10.*", "numpy", "pip"]),
        ({"python_version": None}, "uv", ["python", "numpy"]),
        ({"python_version": None, "packages": ("conda-forge::python >=3",)}, "uv", ["conda-forge::python >=3"]),
        ({"requirements": ()}, "pip", ["python 3.10.*", "numpy"]),
        ({"requirements": (), "python_version": None}, "uv", ["numpy"]),
    ],
)
def test_what_the_solver_is_asked_for(change: dict[str, t.Any], installer: str, specs: list[str]) -> None:
    assert dataclasses.replace(CONTENT, **change).conda_specs(installer) == specs


OTHER = "f" * 64
PLANS: list[tuple[str, list[Found], bool, t.Any]] = [
    ("nothing there", [], False, (True, 1, 0)),
    ("complete", [complete(1)], False, (False, 1, 0)),
    ("the newest of several", [complete(1), complete(3), complete(2)], False, (False, 3, 0)),
    ("recreate", [complete(1), complete(2)], True, (True, 3, 0)),
    ("drifted", [complete(1, drifted=True)], False, (True, 2, 0)),
    ("an older one has drifted", [complete(1, drifted=True), complete(2)], False, (False, 2, 0)),
    ("killed while building", [partial(1)], False, (True, 1, 1)),
    ("killed while repairing", [complete(1, drifted=True), partial(2)], False, (True, 2, 1)),
    ("others left by kills", [complete(1, drifted=True), partial(2), partial(1, OTHER)], False, (True, 2, 2)),
    ("another fingerprint", [complete(1, OTHER)], False, (True, 1, 0)),
    ("an empty directory", [Found(PLACE.path(PRINT, 1), "absent", 1)], False, (True, 1, 0)),
    ("foreign", [Found(PLACE.path(PRINT, 1), "foreign", 1)], False, "foreign_prefix"),
    ("a foreign one of other contents", [Found(PLACE.path(OTHER, 1), "foreign", 1)], False, (True, 1, 0)),
]


@pytest.mark.parametrize(("found", "recreate", "expected"), [row[1:] for row in PLANS], ids=[row[0] for row in PLANS])
def test_plans_for_a_name(found: list[Found], recreate: bool, expected: t.Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(WorkerError) as failure:
            plan_present(PLACE, PRINT, found, recreate)
        assert failure.value.code == expected
        return
    plan = plan_present(PLACE, PRINT, found, recreate)
    assert (plan.create, plan.build, len(plan.clear)) == expected
    assert plan.path == f"/root/envs/w-{PRINT[:12]}-{plan.build}"
    assert (plan.found is None) is plan.create


@pytest.mark.parametrize(
    ("serving", "found", "recreate", "expected"),
    [
        (1, [complete(1), complete(2)], False, (False, 1)),
        (2, [complete(1), complete(2), complete(3)], False, (False, 2)),
        (1, [complete(1), complete(2, drifted=True)], False, (False, 1)),
        (1, [complete(1, drifted=True), complete(2)], False, (False, 2)),
        (1, [complete(1, drifted=True)], False, (True, 2)),
        (1, [partial(1), complete(2)], False, (False, 2)),
        (9, [complete(1), complete(2)], False, (False, 2)),
        (1, [complete(1), complete(2)], True, (True, 3)),
    ],
)
def test_of_several_builds_the_one_that_serves_is_kept(serving: int, found: list[Found], recreate: bool, expected: tuple[bool, int]) -> None:
    plan = plan_present(PLACE, PRINT, found, recreate, PLACE.path(PRINT, serving))
    assert (plan.create, plan.build) == expected


def test_what_serves_must_be_of_the_wanted_contents() -> None:
    assert plan_present(PLACE, PRINT, [complete(1, OTHER), complete(2)], False, PLACE.path(OTHER, 1)).build == 2
    assert plan_present(EXACT, PRINT, [complete(1, path="/srv/env")], False, "/elsewhere").create is False


def test_the_difference_is_to_the_newest_build_of_any_contents() -> None:
    old, new = complete(4, OTHER, "2026-01-01"), complete(1, "e" * 64, "2026-02-01")
    assert plan_present(PLACE, PRINT, [old, new], False).before is new


@pytest.mark.parametrize(
    ("found", "recreate", "expected"),
    [
        (Found("/srv/env", "absent"), False, True),
        (Found("/srv/env", "partial"), False, True),
        (complete(1, path="/srv/env"), False, False),
        (complete(1, path="/srv/env"), True, "prefix_differs"),
        (complete(1, OTHER, path="/srv/env"), False, "prefix_differs"),
        (complete(1, path="/srv/env", drifted=True), False, "six 1.16.0 is missing"),
        (Found("/srv/env", "foreign"), False, "foreign_prefix"),
    ],
)
def test_plans_for_an_exact_prefix(found: Found, recreate: bool, expected: t.Any) -> None:
    if isinstance(expected, bool):
        plan = plan_present(EXACT, PRINT, [found], recreate)
        assert (plan.path, plan.create) == ("/srv/env", expected)
        return
    with pytest.raises(WorkerError) as failure:
        plan_present(EXACT, PRINT, [found], recreate)
    assert expected in f"{failure.value.code} {failure.value}"


def test_only_ours_is_removed() -> None:
    assert [each.path for each in plan_absent([partial(2), complete(1), Found("/x", "absent")])] == [PLACE.path(PRINT, 1), PLACE.path(PRINT, 2)]
    with pytest.raises(WorkerError) as failure:
        plan_absent([complete(1), Found("/x", "foreign")])
    assert failure.value.code == "foreign_prefix"


RECORD = {"listing": {"conda": ["python-3.10.1-h0_0.json", "a-b-1.0-0.json"], "pip": ["six-1.16.0.dist-info", "Typing_Extensions-4.1.dist-info"]}}


@pytest.mark.parametrize(
    ("conda", "pip", "words"),
    [
        (["python-3.10.1-h0_0.json", "a-b-1.0-0.json"], ["six-1.16.0.dist-info", "typing_extensions-4.1.dist-info"], []),
        (["python-3.10.1-h0_0.json"], ["six-1.16.0.dist-info", "Typing_Extensions-4.1.dist-info"], ["a-b 1.0-0 is missing (conda)"]),
        (
            ["python-3.10.2-h0_0.json", "a-b-1.0-0.json", "odd.json"],
            ["six-1.17.0.dist-info", "idna-3.7.dist-info"],
            [
                "odd.json ? was added (conda)",
                "python 3.10.1-h0_0 became 3.10.2-h0_0 (conda)",
                "idna 3.7 was added (pip)",
                "six 1.16.0 became 1.17.0 (pip)",
                "typing-extensions 4.1 is missing (pip)",
            ],
        ),
    ],
)
def test_drift_is_named_package_by_package(conda: list[str], pip: list[str], words: list[str]) -> None:
    assert [describe(each) for each in drift(RECORD, Listing(tuple(conda), tuple(pip)))] == words


def test_a_prefix_tells_what_it_is(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "w-1"
    assert look(str(path)).state == "absent"
    path.mkdir()
    assert look(str(path)).state == "absent"
    meta = path / "conda-meta"
    meta.mkdir()
    (meta / "python-3.10.1-h0_0.json").write_text("{}")
    assert look(str(path)).state == "foreign"
    mark = pathlib.Path(building_mark(str(path)))
    mark.write_text("{}")
    assert look(str(path), 7) == Found(str(path), "partial", 7)
    write_record(str(path), {"fingerprint": PRINT, "build": 2, "site_packages": None, "listing": dataclasses.asdict(list_prefix(str(path), None))})
    # Code of packages may write such a record while it is built: only without the mark it is ours.
    assert look(str(path), 7) == Found(str(path), "partial", 7)
    mark.unlink()
    found = look(str(path))
    assert (found.state, found.build, found.fingerprint, found.drift) == ("complete", 2, PRINT, ())
    assert look(str(meta / "python-3.10.1-h0_0.json")).state == "foreign"


@pytest.mark.parametrize("text", ["[]", "{}", '{"fingerprint": "x", "build": 1, "listing": {}, "version": 99}', "{"])
def test_a_record_that_is_none_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    record = pathlib.Path(record_path(str(tmp_path)))
    record.parent.mkdir()
    record.write_text(text)
    with pytest.raises(WorkerError) as failure:
        look(str(tmp_path))
    assert failure.value.code == "broken_file"
    assert failure.value.remedy


def test_the_record_is_no_package_for_the_conda_family(tmp_path: pathlib.Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    write_record(str(tmp_path), {"fingerprint": PRINT, "build": 1, "listing": {}})
    assert not record_path(str(tmp_path)).endswith(".json")
    assert list_prefix(str(tmp_path), None).conda == ()
    assert json.loads(pathlib.Path(record_path(str(tmp_path))).read_text())["version"] == 1


def test_packages_of_the_installer_are_those_that_came_last() -> None:
    assert pip_packages(["pip-23.dist-info", "six-1.16.dist-info"], ["pip-23.dist-info", "six-1.17.dist-info", "A_b-1.dist-info"]) == [
        {"name": "a-b", "version": "1"},
        {"name": "six", "version": "1.17"},
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["python_abi-3.10-2_cp310.json"], None),
        (["python-3.10.14-hd12c33a_0_cpython.json"], "lib/python3.10"),
        (["python-dateutil-2.9-py_0.json", "python-3.9-0.json"], "lib/python3.9"),
    ],
)
def test_the_library_follows_from_the_name_of_pythons_record(names: list[str], expected: t.Optional[str]) -> None:
    assert python_directory(names) == expected


@pytest.mark.parametrize(
    ("entry", "parsed"),
    [
        ("w-0123456789ab-1", ("0123456789ab", 1)),
        ("w-0123456789ab-12", ("0123456789ab", 12)),
        ("w-0123456789ab-0", None),
        ("w-0123456789ab-1.old", None),
        ("w-x-0123456789ab-1", None),
        ("w", None),
    ],
)
def test_directory_names(entry: str, parsed: t.Any) -> None:
    assert PLACE.parse(entry) == parsed


def test_paths() -> None:
    assert PLACE.identifier("/root/envs/w") == "envs/w"
    assert EXACT.identifier("/srv/env") == "/srv/env"
    assert EXACT.identifier("/rooted/env") == "/rooted/env"
    assert EXACT.link is None
    assert PLACE.lock != EXACT.lock
    assert PLACE.lock.startswith("/root/locks/env-")
    assert EXACT.scratch("/srv/env").startswith("/root/cache/build/env-")
    assert EXACT.scratch("/srv/env") != EXACT.scratch("/opt/env")


@pytest.mark.parametrize(
    ("name", "good"), [("ew_ai_worker", True), ("a.b-c", True), ("", False), ("-a", False), (".a", False), ("a b", False), ("a/b", False), ("a#", False)]
)
def test_names(name: str, good: bool) -> None:
    assert is_name(name) is good
