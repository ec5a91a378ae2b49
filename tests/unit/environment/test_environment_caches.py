# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The caches: whose they are when, and what of them a build sees."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.package_cache import lent, opened, reclaim, view_of
from ansible_collections.ew_ai.worker.plugins.module_utils.files import remove_tree

NOBODY = (65534, 65534)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def owners(top: pathlib.Path) -> dict[str, int]:
    return {str(path.relative_to(top)): path.lstat().st_uid for path in (top, *top.rglob("*"))}


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def add(package: pathlib.Path, owner: tuple[int, int]) -> None:
    """A package as a tool unpacks it."""
    (package / "lib").mkdir(parents=True)
    (package / "lib/module.py").write_text("x")
    package.with_name(f"{package.name}.lock").write_text("digest")
    for path in (package, *package.rglob("*"), package.with_name(f"{package.name}.lock")):
        os.chown(path, *owner)


def test_a_lent_cache_comes_back_whole(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "conda"
    with lent(str(cache), NOBODY):
        assert (cache.stat().st_uid, mode(cache)) == (NOBODY[0], 0o700)
        add(cache / "pkgs/one", NOBODY)
        add(cache / "pkgs/.half", NOBODY)
        (cache / "pkgs/link").symlink_to("/etc")
        (cache / "pkgs/.cache.lock").touch()
    assert set(owners(cache).values()) == {0}
    assert mode(cache) == 0o700
    assert sorted(os.listdir(cache / "pkgs")) == ["one", "one.lock"]
    with lent(str(cache), NOBODY):
        given = {name for name, uid in owners(cache).items() if uid == NOBODY[0]}
        assert given == {".", "pkgs", "pkgs/one.lock"}, "what is in the cache must stay root's"
        # A later build of the package: the old one is put aside.
        (cache / "pkgs/one").rename(cache / "pkgs/.one.old")
    assert sorted(os.listdir(cache / "pkgs")) == ["one.lock"]


def test_a_failure_gives_the_cache_back(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ZeroDivisionError), lent(str(tmp_path / "uv"), NOBODY):
        raise ZeroDivisionError
    assert owners(tmp_path / "uv") == {".": 0}


def test_what_a_killed_run_left_lent_is_taken_back(tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "conda"
    add(cache / "pkgs/one", NOBODY)
    reclaim(str(cache), NOBODY[0])
    assert set(owners(cache).values()) == {0}
    assert mode(cache) == 0o700
    assert (cache / "pkgs/one/lib/module.py").exists()


@pytest.mark.parametrize("name", ["", "pkgs/one/lib/module.py"])
def test_what_a_third_account_could_change_is_not_kept(tmp_path: pathlib.Path, name: str) -> None:
    cache = tmp_path / "conda"
    add(cache / "pkgs/one", NOBODY)
    os.chown(cache / name, 12345, 12345)
    reclaim(str(cache), NOBODY[0])
    assert list(cache.iterdir()) == []
    assert (cache.stat().st_uid, mode(cache)) == (0, 0o700)


def test_an_opened_cache_is_for_one_group_and_is_closed_again(tmp_path: pathlib.Path) -> None:
    reclaim(str(tmp_path / "conda"), NOBODY[0])
    with opened(str(tmp_path / "conda"), NOBODY[1]):
        assert (mode(tmp_path / "conda"), (tmp_path / "conda").stat().st_gid) == (0o710, NOBODY[1])
    assert (mode(tmp_path / "conda"), (tmp_path / "conda").stat().st_gid) == (0o700, 0)


def test_a_view_of_shares_what_its_owner_cannot_change(tmp_path: pathlib.Path) -> None:
    shared, view = tmp_path / "shared", tmp_path / "view"
    add(shared / "archive-v0/one", (0, 0))
    (shared / "archive-v0/one/lib/link").symlink_to("module.py")
    (shared / "wheels-v8/pkgs").mkdir(parents=True)
    (shared / "wheels-v8/pkgs/one.http").write_text("pointer")
    (shared / "wheels-v8/pkgs/one").symlink_to("../../archive-v0/one")
    view_of(str(shared), str(view), NOBODY)
    assert sorted(path.relative_to(view) for path in view.rglob("*")) == sorted(path.relative_to(shared) for path in shared.rglob("*"))
    assert (view / "archive-v0/one/lib/module.py").stat().st_ino == (shared / "archive-v0/one/lib/module.py").stat().st_ino
    assert os.readlink(view / "wheels-v8/pkgs/one") == "../../archive-v0/one"
    theirs = {name for name, uid in owners(view).items() if uid == NOBODY[0]}
    assert theirs == {".", "archive-v0", "archive-v0/one.lock", "wheels-v8", "wheels-v8/pkgs", "wheels-v8/pkgs/one.http", "wheels-v8/pkgs/one"}
    assert set(owners(shared).values()) == {0}


def test_a_wheel_with_paths_that_are_too_long_is_in_nobodys_way(tmp_path: pathlib.Path) -> None:
    shared, view = tmp_path / "s", tmp_path / "a-longer-name-of-a-view"
    add(shared / "archive-v0/one", (0, 0))
    (shared / "archive-v0/deep").mkdir()
    room = 4096 - 1 - len(str(shared / "archive-v0/deep")) - len("/file") - 1
    deep = os.path.join(shared, "archive-v0/deep", *(["d" * 9] * (room // 10)))
    os.makedirs(deep)
    pathlib.Path(deep, "file").write_text("x")
    view_of(str(shared), str(view), NOBODY)
    assert sorted(os.listdir(view / "archive-v0")) == ["one", "one.lock"]
    for path in (shared, view):
        remove_tree(str(path))
