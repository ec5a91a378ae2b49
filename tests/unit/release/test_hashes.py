# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hashes are remembered while a file is the same, and never longer."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import threading
import time

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import scan
from ansible_collections.ew_ai.worker.plugins.plugin_utils import hashes


@pytest.fixture
def top(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "w").mkdir()
    for name in ("a", "b"):
        (tmp_path / "w" / name).write_text(name)
    return tmp_path / "w"


def hashed(top: pathlib.Path, cache: pathlib.Path) -> dict[str, str]:
    entries, _problems = scan(str(top))
    found = hashes.hash_files(entries, str(top), str(cache))
    assert found == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in top.iterdir()}
    return found


def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on."""
    read: list[str] = []

    def digest(path: str) -> str:
        read.append(os.path.basename(path))
        return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()

    monkeypatch.setattr(hashes, "digest_of", digest)
    return read


def test_only_what_changed_is_read(top: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_SETTLED_NS", 0)
    read = read_files(monkeypatch)
    for spoil, expected in (
        (lambda: None, ["a", "b"]),
        (lambda: None, []),
        (lambda: (top / "a").write_text("x"), ["a"]),
        (lambda: (os.utime(top / "b"), (top / "b").rename(top / "c"))[0], ["c"]),
        (lambda: next((tmp_path / "cache").glob("*.json")).write_text("[broken"), ["a", "c"]),
        (lambda: next((tmp_path / "cache").glob("*.json")).write_text('{"x": 1}'), ["a", "c"]),
    ):
        read.clear()
        spoil()
        hashed(top, tmp_path / "cache")
        assert sorted(read) == expected


def test_a_file_changed_a_moment_ago_is_read_again(top: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_files(monkeypatch)
    hashed(top, tmp_path / "cache")
    hashed(top, tmp_path / "cache")
    assert sorted(read) == ["a", "a", "b", "b"]


def test_without_a_cache_it_only_takes_longer(top: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "cache").write_text("no directory")
    hashed(top, tmp_path / "cache")


def test_processes_at_once_read_once(top: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "_SETTLED_NS", 0)
    read = read_files(monkeypatch)
    threads = [threading.Thread(target=hashed, args=(top, tmp_path / "cache")) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read) == ["a", "b"]


def test_a_file_that_vanishes_is_named(top: pathlib.Path, tmp_path: pathlib.Path) -> None:
    entries, _problems = scan(str(top))
    (top / "b").unlink()
    with pytest.raises(WorkerError, match="/w/b cannot be read: No such file"):
        hashes.hash_files(entries, str(top), str(tmp_path))


def test_the_cache_is_the_users_own(tmp_path: pathlib.Path, top: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hashes.cache_directory({"XDG_CACHE_HOME": "/x"}) == "/x/ew_ai_worker/hashes"
    assert hashes.cache_directory({}).endswith("/.cache/ew_ai_worker/hashes")
    monkeypatch.setattr(hashes, "_SETTLED_NS", 0)
    hashed(top, tmp_path / "cache")
    (path,) = (tmp_path / "cache").glob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(path.read_text())) == 2
    assert time.time() - path.stat().st_mtime < 60
