# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole module with a real conda, mamba or micromamba: those on PATH, and the paths in EW_TEST_CONDA (with colons between)."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.cli_detection import identify
from tests.figures import tell
from tests.integration.conda_env_room import Room, python_says
from tests.integration.local_packages import index_channel, local_channel, python_version, served, write_conda_package, write_wheel

SECRET = "geheim-4711"
FOUND = [path for path in os.environ.get("EW_TEST_CONDA", "").split(":") if path]
FOUND += [path for path in map(shutil.which, ("conda", "mamba", "micromamba")) if path and path not in FOUND]
pytestmark = [
    pytest.mark.real_conda,
    pytest.mark.slow,
    pytest.mark.skipif(not FOUND, reason="there is no conda, mamba or micromamba on PATH or in EW_TEST_CONDA"),
    pytest.mark.parametrize("program", FOUND or ["none"]),
]


@functools.cache
def tool_of(program: str) -> str:
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = identify(answer, program)
    assert found is not None, answer
    return found.name


@pytest.fixture
def other_account() -> t.Optional[str]:
    return "nobody" if os.geteuid() == 0 else None


def test_environment_like_rattlers(room: Room, program: str) -> None:
    """The same fingerprint and the same packages; nothing is built anew for the backend alone."""
    write_wheel(room.wheels, "ew_one", "1.0")
    wanted: dict[str, t.Any] = {"python_version": python_version(), "packages": ["ew-post-link", "ew-tool"], "pip": ["ew-one"]}
    cache = {"cache": str(room.top / "cache")}
    built = room.good(**wanted, **cache, executable=program, backend=tool_of(program))
    assert (built["backend"]["name"], built["backend"]["executable"]) == (tool_of(program), program)
    assert python_says(built, "import ew_one; print(ew_one.VERSION)") == "1.0"
    assert (pathlib.Path(built["prefix"]) / "etc/ew-post-link").exists(), "the script has run"
    assert (pathlib.Path(built["prefix"]) / "conda-meta/frozen").exists()
    assert room.good(**wanted, **cache, backend="rattler")["created"] is False
    again = room.good(**wanted, **cache, backend="rattler", recreate=True)
    assert again["packages"] == built["packages"]
    assert again["fingerprint"] == built["fingerprint"]
    tell(f"{tool_of(program)} made an environment in {built['elapsed']} s, rattler in {again['elapsed']} s")


def test_failures_have_codes_and_leave_nothing(room: Room, program: str) -> None:
    options = {"executable": program, "cache": str(room.top / "cache")}
    room.bad("unsatisfiable", packages=["ew-lib=9"], **options)
    room.bad("unsatisfiable", packages=["no-such-package"], **options)
    room.bad("channel_unreachable", packages=["ew-lib"], channels=[str(room.top / "nowhere")], **options)
    channel = room.top / "scripts"
    write_conda_package(channel, "ew-bad", {"bin/.ew-bad-post-link.sh": "exit 3\n"}, ["bin/.ew-bad-post-link.sh"])
    failed = room.bad("build_failed", packages=["ew-bad"], channels=[str(index_channel(channel))], **options)
    assert "ew-bad" in failed["remedy"]
    index = channel / "noarch/repodata.json"
    listed = json.loads(index.read_text())
    for kind in ("packages", "packages.conda"):
        for record in listed.get(kind, {}).values():
            record.update(sha256="0" * 64, md5="0" * 32)
    index.write_text(json.dumps(listed))
    room.bad("hash_mismatch", packages=["ew-bad"], channels=[str(channel)], executable=program, cache=str(room.top / "other"))
    assert room.entries() == []


def test_build_user_runs_the_tool_and_gets_no_cache(room: Room, program: str, other_account: t.Optional[str]) -> None:
    if other_account is None:
        pytest.skip("only root can build as another user")
    room.top.chmod(0o755)
    options: dict[str, t.Any] = {"executable": program, "cache": str(room.top / "cache"), "build_user": other_account, "packages": ["ew-post-link", "ew-tool"]}
    built = room.good(**options)
    prefix = pathlib.Path(built["prefix"])
    assert (prefix / "etc/ew-post-link").read_text() == f"{other_account}\n"
    paths = [prefix, *prefix.rglob("*")]
    assert {path.lstat().st_uid for path in paths} == {0}
    assert not [path for path in paths if path.is_file() and not path.is_symlink() and path.lstat().st_nlink > 1], (
        "the prefix must share no file with the cache"
    )
    cache = room.top / "cache" / f"conda-{built['backend']['name']}"
    assert (cache.stat().st_mode & 0o777, {path.lstat().st_uid for path in cache.rglob("*")}) == (0o700, {0})
    again = room.good(**options, recreate=True, offline=True)
    assert again["packages"] == built["packages"]


def test_credentials_of_a_channel_reach_its_server_alone(room: Room, program: str) -> None:
    with served(local_channel(), login=f"reader:{SECRET}") as place:
        channels = [f"http://reader:{SECRET}@{place}"]
        built = room.good(packages=["ew-lib"], channels=channels, executable=program, cache=str(room.top / "cache"))
        failed = room.bad(
            "channel_unreachable", packages=["ew-tool"], channels=[f"http://reader:wrong-{SECRET}@{place}"], executable=program, cache=str(room.top / "c2")
        )
    assert SECRET not in json.dumps([{key: value for key, value in result.items() if key != "invocation"} for result in (built, failed)])
    there = [path for path in room.top.rglob("*") if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes()]
    assert there == []
