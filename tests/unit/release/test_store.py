# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases on a host: complete or not there, one run after the other, and kept while somebody needs them."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import subprocess
import sys
import threading
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import users_of
from ansible_collections.ew_ai.worker.plugins.module_utils.release import store as stores
from ansible_collections.ew_ai.worker.plugins.module_utils.release.in_use import generations_with
from ansible_collections.ew_ai.worker.plugins.module_utils.release.store import Store
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import digest_of, scan, tree_id
from ansible_collections.ew_ai.worker.plugins.plugin_utils.package import package_of


class Case(t.NamedTuple):
    store: Store
    release: str
    package: str

    def add(self) -> bool:
        return self.store.add(self.release, self.package, 10, 2)

    def names(self) -> list[str]:
        """What is in the directory of releases."""
        return sorted(os.listdir(self.store.layout.releases))


@pytest.fixture
def case(tmp_path: pathlib.Path) -> Case:
    (tmp_path / "w/worker").mkdir(parents=True)
    (tmp_path / "w/worker/main.py").write_text("x")
    entries, _problems = scan(str(tmp_path / "w"))
    digests = {entry.source: digest_of(entry.source) for entry in entries}
    release = tree_id(entries, lambda entry: digests[entry.source])
    return Case(Store(str(tmp_path / "root"), Actions(), check_mode=False), release, package_of(release, entries, digests, str(tmp_path)))


def test_added_once(case: Case) -> None:
    assert case.store.require(case.release, 10, 2)
    assert case.add()
    assert not case.add()
    assert not case.store.require(case.release, 10, 2)
    assert case.names() == [case.release]
    assert os.stat(case.store.path(case.release)).st_mode & 0o7777 == 0o755


def test_runs_at_once_add_one(case: Case) -> None:
    done: list[bool] = []
    threads = [threading.Thread(target=lambda: done.append(case.add())) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False, False, False, True]
    assert case.names() == [case.release]


def test_debris_of_a_killed_run_is_removed(case: Case) -> None:
    releases = pathlib.Path(case.store.layout.releases)
    for name in (f".staging-{case.release}-x", ".staging-0000000000000000-y", ".removed-0000000000000000-1"):
        (releases / name / "worker").mkdir(parents=True)
    case.add()
    assert case.names() == [case.release]


def test_what_arrives_changed_is_refused(case: Case) -> None:
    content = pathlib.Path(case.package).read_bytes()
    pathlib.Path(case.package).write_bytes(content.replace(b"\0x\0", b"\0y\0"))
    assert pathlib.Path(case.package).read_bytes() != content
    with pytest.raises(WorkerError, match="is something else") as caught:
        case.add()
    assert caught.value.code == "wrong_content"
    assert case.names() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_leaves_nothing(number: int, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary that is made up here is the full disk; tests/integration has a real one."""

    def full(package: str, staging: str) -> None:
        (pathlib.Path(staging) / "half").touch()
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stores, "unpack_tar", full)
    with pytest.raises(WorkerError) as caught:
        case.add()
    assert caught.value.code == "disk_full"
    assert case.names() == []


@pytest.mark.parametrize(("size", "files"), [(1 << 60, 1), (1, 1 << 50)])
def test_too_little_space_is_told_before_anything_is_sent(size: int, files: int, case: Case) -> None:
    with pytest.raises(WorkerError, match=r"are needed and \d+ are free") as caught:
        case.store.require(case.release, size, files)
    assert caught.value.code == "disk_full"
    assert not os.path.exists(case.store.layout.root)


def test_removed(case: Case) -> None:
    case.add()
    assert Store(case.store.layout.root, Actions(), check_mode=True).remove(case.release)
    assert case.names() == [case.release]
    assert case.store.remove(case.release)
    assert not case.store.remove(case.release)
    assert case.names() == []


@pytest.mark.parametrize("shape", ["id", "path", "name"])
def test_a_generation_keeps_it(shape: str, case: Case) -> None:
    case.add()
    words = {"id": case.release, "path": case.store.path(case.release), "name": f"releases/{case.release}"}
    state = pathlib.Path(case.store.layout.worker("ew-worker").state)
    state.parent.mkdir(parents=True)
    (state.parent.parent / "other").mkdir()
    state.write_text(json.dumps({"generations": [{"number": 1, "release": words[shape]}]}))
    with pytest.raises(WorkerError, match=r"ew-worker/state\.json") as caught:
        case.store.remove(case.release)
    assert caught.value.code == "in_use"
    assert case.names() == [case.release]


def test_no_worker_at_all_keeps_nothing(tmp_path: pathlib.Path) -> None:
    assert generations_with(Layout(str(tmp_path)), "0" * 16) == []


USES: dict[str, str] = {
    "working directory": "import os, sys; os.chdir(sys.argv[1]); print(flush=True); input()",
    "mapped file": "import mmap, sys; f = open(sys.argv[1] + '/worker/main.py'); m = mmap.mmap(f.fileno(), 0, prot=1); print(flush=True); input()",
    "environment": "print(flush=True); input()",
}


@pytest.mark.parametrize("name", USES)
def test_a_process_keeps_it(name: str, case: Case) -> None:
    case.add()
    path = case.store.path(case.release)
    environ = {**os.environ, **({"EW_RELEASE": path} if name == "environment" else {})}
    argv = [sys.executable, "-c", USES[name], path if name != "environment" else ""]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [pid for pid, _command in users_of(path)] == [process.pid]
        with pytest.raises(WorkerError, match=f"pid {process.pid} ") as caught:
            case.store.remove(case.release)
        assert caught.value.code == "in_use"
        process.communicate(b"\n")
    assert users_of(path) == []
    assert case.store.remove(case.release)
