# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems and caches that fail under a build: what is told, what stays, and that the same command succeeds without the fault."""

from __future__ import annotations

import collections.abc
import contextlib
import os
import pathlib
import subprocess
import typing

import pytest

from tests.integration.conda_env_room import Room
from tests.shared import digest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount what this test needs")


@contextlib.contextmanager
def mounted(path: pathlib.Path, *words: str) -> collections.abc.Iterator[None]:
    """Mount with these words of mount(8) at the path while the block runs; skips where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *words, str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let {' '.join(words)} be mounted: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@as_root
def test_a_read_only_parent_is_named_and_the_old_environment_stays(room: Room) -> None:
    room.good(packages=["ew-lib=1.0"])
    envs = room.root / "envs"
    before = digest(envs, of_directories=True)
    with mounted(envs, "--bind", str(envs)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(envs)], check=True)
        failed = room.bad("not_writable", packages=["ew-lib=1.1"])
        assert str(envs) in failed["msg"]
        assert "Read-only file system" in failed["msg"]
        assert "remount" in failed["remedy"]
    assert digest(envs, of_directories=True) == before
    assert room.good(packages=["ew-lib=1.1"])["created"] is True


@as_root
@pytest.mark.parametrize("limit", ["size=12k", "nr_inodes=8"])
def test_a_full_disk_and_no_inodes_are_told_and_leave_nothing(room: Room, limit: str) -> None:
    small = room.root / "envs"
    with mounted(small, "-t", "tmpfs", "-o", limit, "tmpfs"):
        failed = room.bad("disk_full", packages=["ew-lib", "ew-prefix-text", "ew-prefix-binary"])
        assert "df -i" in failed["remedy"]
        assert list(small.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=64m,nr_inodes=10000", str(small)], check=True)
        assert room.good(packages=["ew-lib", "ew-prefix-text", "ew-prefix-binary"])["created"] is True


@pytest.mark.parametrize("build_user", [None, pytest.param("nobody", marks=as_root)])
@pytest.mark.parametrize("files", ["*", "info/paths.json", "info/index.json"])
def test_a_package_cache_cut_short_does_no_harm(room: Room, build_user: typing.Optional[str], files: str) -> None:
    """Files of the unpacked packages lose their second half; what the cache knows of whole packages stays."""
    cache = room.top / "cache"
    options = {"packages": ["ew-lib=1.0"], "cache": str(cache), "build_user": build_user}
    first = room.good(**options)
    before = contents(pathlib.Path(first["prefix"]))
    unpacked = [path for path in (cache / "conda/pkgs").glob(f"*/**/{files}") if path.is_file() and path.stat().st_size]
    for path in unpacked:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = room.good(**options, recreate=True)
    assert unpacked
    assert contents(pathlib.Path(again["prefix"])) == before


def contents(prefix: pathlib.Path) -> dict[str, bytes]:
    """The files of the packages; what conda and this collection write beside them names the prefix."""
    found = {path.relative_to(prefix).as_posix(): path.read_bytes() for path in prefix.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if not name.startswith("conda-meta/")}
