# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds in which packages do what they should not, while root runs the module: what they reach, and what is left of it."""

from __future__ import annotations

import inspect
import os
import pathlib
import pwd
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.environment import rattler_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import combine
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.leftovers import GROUP
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import Wanted, present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content, wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from tests.integration.conda_env_room import Result, Room, python_says
from tests.integration.local_packages import (
    index_channel,
    python_version,
    served,
    write_conda_package,
    write_index,
    write_source_archive,
    write_source_package,
    write_wheel,
)

NOBODY = pwd.getpwnam("nobody").pw_uid
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a build user of its own")


def everything(path: pathlib.Path) -> list[pathlib.Path]:
    return [path, *path.rglob("*")]


def writable(path: pathlib.Path) -> list[str]:
    """What the build user owns or anybody but root could change."""
    found = [(each, each.lstat()) for each in everything(path)]
    return [str(each) for each, status in found if (status.st_uid, status.st_gid) != (0, 0) or (not each.is_symlink() and status.st_mode & 0o022)]


def check_safe(room: Room, done: Result) -> None:
    """Prefix and caches are root's, share no file, and the caches are closed."""
    prefix, cache = pathlib.Path(done["prefix"]), room.top / "cache"
    assert writable(prefix) == []
    closed = [str(path) for path in everything(prefix) if not path.is_symlink() and path.stat().st_mode & 0o444 != 0o444]
    assert closed == []
    caches = [path for path in cache.iterdir() if path.is_dir() and path.name != "build"]
    for each in caches:
        assert (each.stat().st_uid, each.stat().st_gid, each.stat().st_mode & 0o777) == (0, 0, 0o700), each
        assert [str(path) for path in everything(each) if path.lstat().st_uid != 0] == []
        assert not {path.stat().st_ino for path in prefix.rglob("*") if path.is_file()} & {path.stat().st_ino for path in each.rglob("*") if path.is_file()}
    assert list((cache / "build").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_downloaded_code_runs_as_the_build_user(room: Room, installer: str) -> None:
    write_source_package(room.top / "source", "ew_source")
    room.requirements.write_text("./source\n")
    os.umask(0o077)
    try:
        options: dict[str, t.Any] = {"python_version": python_version(), "packages": ["ew-post-link", "ew-tool"], "requirements": [str(room.requirements)]}
        done = room.good(build_user="nobody", installer=installer, cache=str(room.top / "cache"), **options)
    finally:
        os.umask(0o022)
    prefix = pathlib.Path(done["prefix"])
    assert python_says(done, "import ew_source; print(ew_source.BUILT_BY)") == str(NOBODY)
    assert (prefix / "etc/ew-post-link").read_text() == "nobody\n"
    check_safe(room, done)
    assert list((prefix / "lib").rglob("ew_source*.pyc"))
    assert subprocess.run([prefix / "bin/ew-tool"], capture_output=True, text=True, check=True).stdout.startswith("ew-lib 1")
    assert room.good(build_user="nobody", installer=installer, cache=str(room.top / "cache"), **options)["changed"] is False
    warm = room.good(build_user="nobody", installer=installer, cache=str(room.top / "cache"), recreate=True, **options)
    check_safe(room, warm)


# Links and unpacked files, so that the path below leads to a real file in the package, and out of the prefix where it is linked.
HOSTILE = {"lib/x": "-> ../a/b/c/d", "a/b/c/d/deep": "x", "a/outside/evil": "evil"}


@pytest.mark.parametrize("user", ["nobody", None])
def test_a_package_cannot_write_outside_of_the_prefix(room: Room, user: t.Optional[str]) -> None:
    channel = room.top / "channel"
    write_conda_package(channel, "ew-hostile", HOSTILE, ["lib/x/../../../outside/evil"])
    index_channel(channel)
    failed = room.bad("unsafe_package", packages=["ew-hostile"], channels=[str(channel)], build_user=user, cache=str(room.top / "cache"))
    assert "ew-hostile-1.0-0" in failed["msg"]
    assert "lib/x/../../../outside/evil" in failed["msg"]
    assert [str(path) for path in room.root.rglob("*evil*")] == []
    assert room.entries() == []
    assert [str(path) for path in everything(room.top / "cache/conda") if path.lstat().st_uid != 0] == []


def test_it_is_the_build_user_who_links(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our own look at the paths sees nothing, the library tries to write outside, and is not let."""
    channel = room.top / "channel"
    write_conda_package(channel, "ew-hostile", HOSTILE, ["lib/x/../../../outside/evil"])
    index_channel(channel)
    source = inspect.getsource(rattler_backend.rattler_child)
    blind = source.replace('    listed = os.path.join(entry, "info", "paths.json")\n', "    return\n")
    assert blind != source
    monkeypatch.setattr(inspect, "getsource", lambda module: blind)
    options = {**room.options, "packages": ["ew-hostile"], "channels": [str(channel)], "cache": str(room.top / "cache"), "installer": "auto"}
    means = Means("rattler", combine({}, None, [], []), "nobody", False, 60.0, 600.0)
    wanted = Wanted(wanted_place(options), wanted_content(options, False), means, False, False)
    with pytest.raises(WorkerError, match="outside") as failure:
        present(wanted, Actions(), False, lambda **identity: lambda line: None)
    assert failure.value.code == "not_writable"
    assert [str(path) for path in room.root.rglob("*") if "evil" in path.name or "outside" in path.name] == []


# Overwrites every module ew_one that it finds in a cache of the installer.
POISON = """
for start in {os.environ.get("UV_CACHE_DIR"), os.environ.get("PIP_CACHE_DIR"), "CACHE"} - {None}:
    for found in pathlib.Path(start).rglob("ew_one.py"):
        for change in (lambda: found.write_text("VERSION = 'evil'"), lambda: (found.unlink(), found.write_text("VERSION = 'evil'"))):
            try:
                change()
            except OSError:
                pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_code_of_one_build_reaches_no_other_build_and_wheels_come_once(room: Room, installer: str) -> None:
    """A source distribution that is built among wheels, in a cache that is warm: later builds get what the index has."""
    packages = [
        write_wheel(room.top / "files", "ew_one", "1.0"),
        write_source_archive(room.top / "files", "ew_evil", POISON.replace("CACHE", str(room.top / "cache"))),
    ]
    asked: list[str] = []
    counts: list[int] = []
    with served(write_index(room.top / "index", packages), asked=asked) as index:
        common = {"python_version": python_version(), "build_user": "nobody", "installer": installer, "cache": str(room.top / "cache")}
        options = {**common, "index_url": f"http://{index}"}
        for pip in (["ew-one", "ew-evil"], ["ew-one", "ew-evil", "ew-one>=1"]):
            done = room.good(pip=pip, **options)
            assert {each["name"] for each in done["packages"]["pip"]} == {"ew-one", "ew-evil"}
            check_safe(room, done)
            counts.append(sum(path.endswith(".whl") for path in asked))
        later = room.good(pip=["ew-one"], **options)
        if installer == "uv":
            before = len(asked)
            assert room.good(pip=["ew-one"], offline=True, recreate=True, **options)["build"] == 2
            assert len(asked) == before
    assert python_says(later, "import ew_one; print(ew_one.VERSION)") == "1.0"
    print(f"{installer}: requests for wheels after each build: {counts}")
    # pip keeps nothing.
    assert counts[0] == counts[1] if installer == "uv" else counts[0] < counts[1]


LOITER = """
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(f"TOLD/{os.getpid()}", "w").close()
        os.environ.clear()
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        os.closerange(0, 3)
        time.sleep(600)
    os._exit(0)
while not os.listdir("TOLD"):
    time.sleep(0.01)
"""


def is_builder(pid: str) -> bool:
    """Whether it runs in a build as the build user, by the kernel's word."""
    try:
        text = pathlib.Path("/proc", pid, "status").read_text()
    except OSError:
        return False
    return f"Uid:\t{NOBODY}" in text and f" {GROUP} " in text.replace("\t", " ").replace("\n", " ") and "State:\tZ" not in text


@pytest.mark.slow
@pytest.mark.parametrize("fails", [False, True])
def test_no_process_outlives_its_build(room: Room, fails: bool) -> None:
    """Not one that a build backend started, however it hides."""
    told = room.top / "told"
    told.mkdir()
    told.chmod(0o777)
    archive = write_source_archive(room.wheels, "ew_loiter", LOITER.replace("TOLD", str(told)) + ("os._exit(1)\n" if fails else ""))
    options = {"python_version": python_version(), "pip": ["ew-loiter"], "build_user": "nobody", "cache": str(room.top / "cache")}
    if fails:
        room.bad("build_failed", **options)
        assert room.entries() == []
    else:
        check_safe(room, room.good(**options))
    assert archive.exists()
    pids = os.listdir(told)
    assert pids, "none was started"
    assert [pid for pid in pids if is_builder(pid)] == []
