# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of an environment over real prefixes, with the real solver and installers; nothing is mocked."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive
from tests.figures import tell
from tests.integration.conda_env_room import WATCH, Result, Room, python_says
from tests.integration.local_packages import python_version, write_source_package, write_wheel
from tests.integration.module_driver import collections_path
from tests.integration.twelve_steps import action, twelve_steps
from tests.shared import digest, wait_until


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_twelve_steps(room: Room, installer: str) -> None:
    write_wheel(room.wheels, "ew_one", "1.0")
    write_wheel(room.wheels, "ew_one", "2.0")
    texts = {version: f"ew-one=={version}\n" for version in ("1.0", "2.0")}
    wanted = {"python_version": python_version(), "requirements": [str(room.requirements)], "installer": installer}

    def identifier(version: str) -> str:
        room.requirements.write_text(texts[version])
        return f"envs/w-{fingerprint(wanted_content({**room.options, **wanted}, check=False))[:12]}-1"

    one, two = identifier("1.0"), identifier("2.0")

    def run(args: t.Mapping[str, t.Any], check: bool) -> Result:
        room.requirements.write_text(texts[args.get("version", "1.0")])
        return room.run(check=check, **{name: value for name, value in args.items() if name != "version"})

    def after(step: str, check: bool, result: Result) -> None:
        before = {"create": [], "re-create": ["1.0"], "modify": ["1.0"], "re-modify": ["1.0", "2.0"], "delete": ["1.0", "2.0"], "re-delete": []}
        real = {"create": ["1.0"], "modify": ["1.0", "2.0"], "delete": []}
        there = before[step] if check else real.get(step, before[step])
        paths = {"1.0": one, "2.0": two}
        assert room.entries() == sorted([os.path.basename(paths[version]) for version in there] + (["w"] if there else []))
        if there and not check:
            assert python_says(result, "import ew_one; print(ew_one.VERSION)") == there[-1]
            assert os.readlink(room.root / "envs/w") == os.path.basename(result["prefix"])
            assert result["packages"]["pip"] == [{"name": "ew-one", "version": there[-1]}]

    twelve_steps(
        run,
        {
            "create": ({**wanted, "version": "1.0"}, [action("environment", one, "created"), action("link", "envs/w", "created")]),
            "modify": ({**wanted, "version": "2.0"}, [action("environment", two, "created"), action("link", "envs/w", "changed")]),
            "delete": (
                {"state": "absent"},
                [action("link", "envs/w", "removed"), *(action("environment", each, "removed") for each in sorted((one, two)))],
            ),
        },
        after,
    )


def test_the_difference_names_packages(room: Room) -> None:
    first = room.good(packages=["ew-lib=1.0"])
    assert first["diff"] == {
        "before": {"packages": {}, "envs/w": None},
        "after": {"packages": {"conda": ["ew-lib 1.0"], "pip": []}, "envs/w": os.path.basename(first["prefix"])},
    }
    planned = room.good(packages=["ew-lib=1.1"], check=True)
    done = room.good(packages=["ew-lib=1.1"])
    assert planned["diff"]["before"] == done["diff"]["before"]
    assert planned["diff"]["after"]["packages"] == "unknown until solved"
    assert (done["diff"]["before"]["packages"]["conda"], done["diff"]["after"]["packages"]["conda"]) == (["ew-lib 1.0"], ["ew-lib 1.1"])
    assert (planned["prefix"], planned["actions"]) == (done["prefix"], done["actions"])
    assert done["python"] is None
    assert planned["python"] is None


def test_a_converged_run_reads_two_listings_and_nothing_else(room: Room) -> None:
    """No program, no network, no library of the toolchain, no file that is a package's; also check mode plans without those."""
    log = room.top / "log"
    (room.top / "sitecustomize.py").write_text(WATCH.replace("{log!r}", repr(str(log))))
    watched = {"PYTHONPATH": f"{room.top}{os.pathsep}{collections_path()}"}
    options = {"python_version": python_version(), "pip": ["ew-one"]}
    write_wheel(room.wheels, "ew_one", "1.0")
    planned = room.good(check=True, environ=watched, **options)
    built = room.good(**options)
    assert (planned["prefix"], planned["actions"], planned["python"]) == (built["prefix"], built["actions"], built["python"])
    before = digest(room.root, of_directories=True)
    results = [room.good(environ={**watched, "WATCHED": built["prefix"]}, **options) for _each in range(3)]
    assert not log.exists(), log.read_text()
    read = {os.path.relpath(path, built["prefix"]) for path in (room.top / "log.reads").read_text().splitlines()}
    assert read == {"conda-meta", "conda-meta/ew-worker-record", f"lib/python{python_version()}/site-packages"}
    assert digest(room.root, of_directories=True) == before
    for result in results:
        assert (result["changed"], result["actions"], result["diff"]) == (False, [], {"before": {}, "after": {}})
        assert {name: result[name] for name in ("prefix", "packages", "activation", "backend")} == {
            name: built[name] for name in ("prefix", "packages", "activation", "backend")
        }
    tell(f"converged runs of conda_env: {', '.join(str(result['elapsed']) for result in results)} s")


def test_without_the_library_the_failure_says_what_to_do(room: Room) -> None:
    (room.top / "sitecustomize.py").write_text(WATCH.replace("{log!r}", repr(str(room.top / "log"))))
    blocked = room.bad("backend_unavailable", packages=["ew-lib"], environ={"PYTHONPATH": f"{room.top}{os.pathsep}{collections_path()}"})
    assert "py-rattler" in blocked["remedy"]
    assert room.entries() == []


@pytest.mark.parametrize("options", [{"backend": "micromamba", "executable": "no-such-micromamba"}, {"executable": "/nowhere/conda"}])
def test_without_the_program_that_was_named_the_failure_says_where_it_was_looked_for(room: Room, options: dict[str, str]) -> None:
    failed = room.bad("backend_unavailable", packages=["ew-lib"], **options)
    assert "backend: rattler" in failed["remedy"]
    assert options["executable"] in failed["msg"]
    assert room.entries() == []
    # The fingerprint does not depend on the backend: what is there serves, and nobody looks for a program.
    built = room.good(packages=["ew-lib"])
    assert room.good(packages=["ew-lib"], **options)["prefix"] == built["prefix"]


@pytest.mark.slow
def test_a_killed_build_is_built_anew(room: Room) -> None:
    gate = room.top / "gate"
    source = write_source_package(room.top / "source", "ew_slow")
    (source / "gate.txt").write_text(str(gate))
    room.requirements.write_text("./source\n")
    options = {**room.options, "python_version": python_version(), "requirements": [str(room.requirements)]}
    module = collections_path() / "ansible_collections/ew_ai/worker/plugins/modules/conda_env.py"
    environ = {**os.environ, **room.environ, "PYTHONPATH": str(collections_path())}
    child = subprocess.Popen([sys.executable, str(module), json.dumps({"ANSIBLE_MODULE_ARGS": options})], env=environ, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: building(room) or child.poll() is not None, "the build has begun")
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    # Halted, they can only end by somebody's hand.
    orphans = building(room)
    for pid in orphans:
        os.kill(pid, signal.SIGSTOP)
    (left,) = room.info()
    assert (left["state"], left["fingerprint"], left["linked"]) == ("partial", None, False)
    gate.touch()
    again = room.good(**options)
    assert (bool(orphans), [pid for pid in orphans if is_alive(pid)]) == (True, [])
    assert again["prefix"] == left["prefix"]
    assert python_says(again, "import ew_slow; print(ew_slow.BUILT_BY)") == str(os.geteuid())
    assert [(each["state"], each["linked"]) for each in room.info()] == [("complete", True)]
    assert room.entries() == ["w", os.path.basename(again["prefix"])]
    assert not (source / "written").exists()


def building(room: Room) -> list[int]:
    """The processes that run our build backend, or uv for it, below this room's cache: other tests build the same names.

    Told by HOME, which a fork of the module gets with the program that it becomes: halted before that it would hold the module's locks.
    """
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"HOME={room.options['cache']}/build/".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_foreign_directory_is_refused(room: Room) -> None:
    planned = room.good(packages=["ew-lib"], check=True)
    theirs = pathlib.Path(planned["prefix"]) / "precious"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("data")
    for check in (True, False):
        room.bad("foreign_prefix", packages=["ew-lib"], check=check)
        room.bad("foreign_prefix", state="absent", check=check)
    assert theirs.read_text() == "data"
    exact = room.top / "exact"
    exact.mkdir()
    (exact / "file").write_text("data")
    room.bad("foreign_prefix", packages=["ew-lib"], name=None, prefix=str(exact))
    assert (exact / "file").read_text() == "data"


def test_a_directory_in_the_place_of_the_link_is_refused(room: Room) -> None:
    (room.root / "envs/w").mkdir(parents=True)
    room.bad("foreign_prefix", packages=["ew-lib"])
    assert room.entries() == ["w"]


def test_damage_is_named_and_repaired_by_the_next_build(room: Room) -> None:
    first = room.good(packages=["ew-lib=1.0", "ew-prefix-text"])
    prefix = pathlib.Path(first["prefix"])
    (record,) = (prefix / "conda-meta").glob("ew-lib-*.json")
    record.rename(prefix / "conda-meta/ew-extra-2.0-0.json")
    before = digest(prefix, of_directories=True)
    words = [{**each, "recorded": bool(each["recorded"]), "found": bool(each["found"])} for each in room.info()[0]["drift"]]
    assert words == [
        {"kind": "conda", "name": "ew-extra", "problem": "added", "recorded": False, "found": True},
        {"kind": "conda", "name": "ew-lib", "problem": "missing", "recorded": True, "found": False},
    ]
    planned = room.good(packages=["ew-lib=1.0", "ew-prefix-text"], check=True)
    repaired = room.good(packages=["ew-lib=1.0", "ew-prefix-text"])
    assert (planned["drift"], planned["actions"]) == (repaired["drift"], repaired["actions"])
    assert [each["name"] for each in repaired["drift"]] == ["ew-extra", "ew-lib"]
    assert (repaired["build"], repaired["prefix"]) == (2, f"{first['prefix'][:-1]}2")
    assert digest(prefix, of_directories=True) == before
    assert room.good(packages=["ew-lib=1.0", "ew-prefix-text"])["changed"] is False


def test_recreate_makes_the_next_build(room: Room) -> None:
    first = room.good(packages=["ew-lib"])
    before = digest(pathlib.Path(first["prefix"]), of_directories=True)
    second = room.good(packages=["ew-lib"], recreate=True)
    third = room.good(packages=["ew-lib"], recreate=True)
    assert [each["build"] for each in (first, second, third)] == [1, 2, 3]
    assert os.readlink(room.root / "envs/w") == os.path.basename(third["prefix"])
    assert digest(pathlib.Path(first["prefix"]), of_directories=True) == before
    assert room.good(packages=["ew-lib"])["prefix"] == third["prefix"]
    kept = room.good(packages=["ew-lib"], serving_prefix=first["prefix"])
    assert (kept["created"], kept["prefix"], kept["actions"]) == (False, first["prefix"], [action("link", "envs/w", "changed")])
    assert room.good(packages=["ew-lib"], serving_prefix=first["prefix"])["changed"] is False
    assert room.good(packages=["ew-lib"], serving_prefix="/elsewhere", check=True)["prefix"] == third["prefix"]


def test_an_exact_prefix_is_never_written_again(room: Room) -> None:
    exact = {"name": None, "prefix": str(room.top / "deep/exact")}
    done = room.good(packages=["ew-lib=1.0"], **exact)
    assert (done["prefix"], done["link"]) == (exact["prefix"], None)
    assert done["actions"] == [action("environment", str(exact["prefix"]), "created")]
    assert room.good(packages=["ew-lib=1.0"], **exact)["changed"] is False
    before = digest(room.top / "deep", of_directories=True)
    room.bad("prefix_differs", packages=["ew-lib=1.1"], **exact)
    room.bad("prefix_differs", packages=["ew-lib=1.0"], recreate=True, **exact)
    assert digest(room.top / "deep", of_directories=True) == before
    assert room.good(state="absent", **exact)["changed"] is True
    assert not os.path.exists(str(exact["prefix"]))
    assert list((room.top / "deep").iterdir()) == []


FAILURES: list[tuple[str, dict[str, t.Any]]] = [
    ("unsatisfiable", {"packages": ["ew-unsatisfiable"]}),
    ("unsatisfiable", {"packages": ["no-such-package"]}),
    ("channel_unreachable", {"packages": ["ew-lib=1.0"], "channels": ["http://127.0.0.1:9/channel"]}),
    ("channel_unreachable", {"packages": ["ew-lib=1.0"], "channels": ["/no/such/channel"]}),
    ("channel_refused", {"packages": ["ew-lib=1.0"], "channels": ["defaults"]}),
    ("invalid_option", {"python_version": "3.1"}),
    ("invalid_option", {"packages": ["ew-lib"], "channels": ["https://alice:secret@[x"]}),
    ("invalid_option", {"packages": ["ew-lib"], "index_url": "https://[x"}),
    ("invalid_option", {"packages": ["ew-lib"], "extra_index_urls": ["https://host", "https://alice:secret@[x"]}),
    ("invalid_option", {"packages": ["ew-lib"], "build_user": "no-such-user"}),
    ("requirements_missing", {"requirements": ["/no/such/requirements.txt"]}),
]


@pytest.mark.parametrize(("code", "options"), FAILURES)
def test_a_failure_leaves_the_old_environment_alone(room: Room, code: str, options: dict[str, t.Any]) -> None:
    if code == "invalid_option" and "build_user" in options and os.geteuid() != 0:
        pytest.skip("only root looks at build_user")
    old = room.good(packages=["ew-lib=1.0"])
    before = digest(room.root / "envs", of_directories=True)
    failed = room.bad(code, **options)
    assert (failed["changed"], failed["actions"]) == (False, [])
    assert digest(room.root / "envs", of_directories=True) == before
    assert room.good(packages=["ew-lib=1.0"])["prefix"] == old["prefix"]
    assert list((pathlib.Path(room.options["cache"]) / "build").iterdir()) == []


def test_runs_at_the_same_time_build_once(room: Room) -> None:
    """Over one cold package cache: two of the same environment, and one of another name."""
    cache = str(room.top / "cache")
    runs: list[dict[str, t.Any]] = [{"name": "w"}, {"name": "w"}, {"name": "v"}]
    with concurrent.futures.ThreadPoolExecutor(len(runs)) as pool:
        results = list(pool.map(lambda each: room.good(packages=["ew-lib", "ew-prefix-binary"], cache=cache, **each), runs))
    assert sorted(result["changed"] for result in results[:2]) == [False, True]
    assert results[0]["prefix"] == results[1]["prefix"]
    assert results[2]["changed"] is True


def test_what_runs_is_not_removed(room: Room) -> None:
    done = room.good(packages=["ew-lib"])
    with subprocess.Popen(["sleep", "600"], cwd=done["prefix"]) as child:
        try:
            failed = room.bad("in_use", state="absent")
            assert room.bad("in_use", state="absent", check=True)["pids"] == [child.pid]
        finally:
            child.kill()
    assert failed["pids"] == [child.pid]
    assert "sleep 600" in failed["msg"]
    assert room.good(packages=["ew-lib"])["changed"] is False
    assert room.good(state="absent")["changed"] is True
    assert room.entries() == []


def test_info_tells_all_builds(room: Room) -> None:
    assert room.info() == []
    first = room.good(packages=["ew-lib=1.0"])
    second = room.good(packages=["ew-lib=1.1"])
    found = {each["prefix"]: each for each in room.info()}
    assert set(found) == {first["prefix"], second["prefix"]}
    assert [found[each["prefix"]]["linked"] for each in (first, second)] == [False, True]
    for each in (first, second):
        assert {name: found[each["prefix"]][name] for name in ("fingerprint", "build", "packages", "activation", "backend")} == {
            name: each[name] for name in ("fingerprint", "build", "packages", "activation", "backend")
        }
