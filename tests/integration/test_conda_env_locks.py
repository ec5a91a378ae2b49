# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real environments from explicit lists and conda-lock files, by file:// and http://, with right and wrong hashes. Nothing is mocked."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import this_platform
from tests.integration.conda_env_room import Result, Room, python_says
from tests.integration.local_packages import local_channel, python_version, served, write_wheel
from tests.integration.lock_files import WRONG, address, conda_lock, explicit, hashed, packages
from tests.integration.module_driver import run_module
from tests.shared import digest

LOGIN = "alice:wonderland-secret"


def names(result: Result) -> list[str]:
    return [each["name"] for each in result["packages"]["conda"]]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
@pytest.mark.parametrize("scheme", ["file", "http"])
def test_an_explicit_list_is_installed_as_it_is(room: Room, scheme: str, kind: str) -> None:
    """With a wrong hash nothing is left behind; the same list at another path is the same environment."""
    cache = room.top / "cache"
    file = room.top / "explicit.txt"
    chosen = packages("ew-lib", "ew-prefix-text")
    with served(local_channel(), login=LOGIN) as server:
        base = f"file://{local_channel()}" if scheme == "file" else f"http://{LOGIN}@{server}"
        options = {"file": str(file), "cache": str(cache), "channels": None}
        file.write_text(explicit(base, chosen, kind, wrong="ew-prefix-text"))
        failed = room.bad("hash_mismatch", **options)
        assert "ew-prefix-text" in failed["msg"]
        assert [path.name for path in (cache / "conda/pkgs").iterdir() if path.name.startswith((".", "ew-prefix-text"))] == []
        assert room.entries() == []
        file.write_text(explicit(base, chosen, kind))
        planned = room.good(check=True, **options)
        done = room.good(**options)
        assert (planned["prefix"], planned["actions"]) == (done["prefix"], done["actions"])
        assert names(done) == ["ew-lib", "ew-prefix-text"]
        elsewhere = room.top / "elsewhere.txt"
        elsewhere.write_text(explicit(base.replace(f"{LOGIN}@", ""), list(reversed(chosen)), kind))
        again = room.good(**{**options, "file": str(elsewhere)})
        assert (again["changed"], again["prefix"]) == (False, done["prefix"])
    (told, *_more) = room.info()
    assert (told["tool"], told["broken"], told["drift"]) == ("rattler", [], [])
    # What is in the cache is known by its hash, whichever the lock has.
    assert room.good(recreate=True, offline=True, **options)["build"] == 2
    for path in pathlib.Path(done["prefix"]).rglob("*"):
        assert not path.is_file() or b"wonderland-secret" not in path.read_bytes(), path
    assert "wonderland-secret" not in json.dumps([failed, planned, done, again])


def test_a_package_without_a_hash_is_told_by_name(room: Room) -> None:
    file = room.top / "explicit.txt"
    file.write_text(explicit(str(local_channel()), packages("ew-lib"), ""))
    done = room.good(file=str(file), channels=None)
    assert "ew-lib" in str(done["warnings"])
    assert "not verified" in str(done["warnings"])
    assert names(done) == ["ew-lib"]


def test_a_lock_that_cannot_be_fetched_leaves_the_old_environment_alone(room: Room) -> None:
    file = room.top / "explicit.txt"
    old = room.good(packages=["ew-lib"])
    before = digest(room.root / "envs", of_directories=True)
    missing = pathlib.Path(f"{this_platform()}/no-such-1.0-0.conda")
    with served(local_channel()) as server:
        for base in ("file:///no/such/channel", "http://127.0.0.1:9", f"http://{server}"):
            file.write_text(f"@EXPLICIT\n{address(base, missing)}#{WRONG['md5']}\n")
            failed = room.bad("channel_unreachable", file=str(file), channels=None)
            assert "no-such-1.0-0" in failed["msg"]
    other = room.top / "noarch" / "ew-other-9-0.conda"
    other.parent.mkdir()
    other.write_bytes(packages("ew-lib")[0].read_bytes())
    file.write_text(f"@EXPLICIT\n{other}#sha256:{hashed('sha256', other)}\n")
    assert "holds the package ew-lib" in room.bad("unsafe_package", file=str(file), channels=None)["msg"]
    assert digest(room.root / "envs", of_directories=True) == before
    assert room.good(packages=["ew-lib"])["prefix"] == old["prefix"]


@pytest.mark.slow
def test_a_conda_lock_file_with_python_and_hashed_requirements(room: Room) -> None:
    """As the build user where there is root; a wheel with another hash is refused; requirements may stand beside it."""
    wheel = write_wheel(room.wheels, "ew_one", "1.0")
    write_wheel(room.wheels, "ew_two", "1.0")
    file = room.top / "conda-lock.yml"
    room.requirements.write_text("ew-two\n")
    files = packages("python", "ew-lib")

    def row(url: str, digits: str) -> str:
        return (
            f"- name: ew-one\n  version: '1.0'\n  manager: pip\n  platform: {this_platform()}\n  dependencies: {{}}\n"
            f"  url: {url}\n  hash:\n    sha256: {digits}\n  category: main\n  optional: false\n"
        )

    options = {
        "file": str(file),
        "python_version": python_version(),
        "requirements": [str(room.requirements)],
        "build_user": "nobody" if os.geteuid() == 0 else None,
    }
    with served(room.top) as server, served(local_channel()) as channel:
        direct = f"http://{server}/wheels/{wheel.name}"
        file.write_text(conda_lock(f"http://{channel}", files, row(direct, WRONG["sha256"])))
        room.bad("hash_mismatch", **options)
        assert room.entries() == []
        file.write_text(conda_lock(f"http://{channel}", files, row(direct, hashed("sha256", wheel))))
        done = room.good(**options)
    assert names(done) == ["ew-lib", "python"]
    assert done["packages"]["pip"] == [{"name": "ew-one", "version": "1.0"}, {"name": "ew-two", "version": "1.0"}]
    assert python_says(done, "import ew_one; print(ew_one.VERSION)") == "1.0"
    assert done["python_version"].startswith(python_version())
    # Without our record it is an environment like any other.
    copy = room.top / "copy"
    shutil.copytree(done["prefix"], copy, symlinks=True)
    (copy / "conda-meta/ew-worker-record").unlink()
    (copy / f"lib/python{python_version()}/site-packages/ew_one.py").unlink()
    (copy / "bin/python").unlink()
    (told,) = run_module("conda_env_info", {"root": str(room.root), "prefix": str(copy)})["environments"]
    assert (told["state"], told["python"]) == ("foreign", None)
    assert {kind: [each["name"] for each in told["packages"][kind]] for kind in ("conda", "pip")} == {"conda": names(done), "pip": ["ew-one", "ew-two"]}
    assert ["bin/python" in each["problem"] for each in told["broken"]] == [True]
    # Nobody serves any of it any more.
    assert room.good(**options)["changed"] is False
    assert room.good(**{**options, "python_version": None})["changed"] is False
    refused = room.bad("invalid_option", **{**options, "python_version": "3.7"})
    assert python_version() in refused["remedy"]
    room.bad("invalid_option", packages=["ew-lib"], **options)
    # What is on the public index is asked for by name, so that a mirror will do.
    file.write_text(conda_lock(f"file://{local_channel()}", files, row("https://files.pythonhosted.org/packages/x/" + wheel.name, hashed("sha256", wheel))))
    mirrored = room.good(**options)
    assert {"name": "ew-one", "version": "1.0"} in mirrored["packages"]["pip"]
