# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bundles: the archive and its manifest, what is refused before anything is changed, and where one is kept on a host."""

from __future__ import annotations

import os
import pathlib
import platform
import time
import types
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive, manifest, store
from ansible_collections.ew_ai.worker.plugins.module_utils.bundle.store import Bundles
from ansible_collections.ew_ai.worker.plugins.module_utils.environment import gather
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Tree, parse_requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.host.bundle_fit import check_bundle, glibc_here, misfits, toolchain_pythons
from ansible_collections.ew_ai.worker.plugins.module_utils.host.preflight import Host, Wanted
from ansible_collections.ew_ai.worker.plugins.plugin_utils import bundle as controller

WHEEL = "wheels/pkg-1.0-py3-none-any.whl"


def make(directory: pathlib.Path, name: str = "b.tar", content: bytes = b"w" * 5000) -> pathlib.Path:
    """A small bundle."""
    tree = directory / f"{name}.tree"
    for path, data in {"channel/noarch/repodata.json": b"{}", WHEEL: content, "toolchain/uv-1-py3-none-any.whl": b"u"}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    text = manifest.render("linux-64", "2.28", "3.11", ["3.11"], archive.table_of(str(tree)), {"fingerprint": "f"})
    archive.write(str(directory / name), str(tree), text)
    return directory / name


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_same_contents_same_bytes(tmp_path: pathlib.Path) -> None:
    first, second = make(tmp_path, "one.tar"), make(tmp_path, "two.tar")
    os.utime(tmp_path / "two.tar.tree" / WHEEL, (1, 1))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(each.name for each in tmp_path.glob("*.tar*")) == ["one.tar", "one.tar.tree", "two.tar", "two.tar.tree"]


def test_examine_tells_what_it_is(tmp_path: pathlib.Path) -> None:
    found = archive.examine(str(make(tmp_path)))
    assert (found.platform, found.machine, found.glibc, found.python_version, found.host_pythons) == ("linux-64", "x86_64", "2.28", "3.11", ("3.11",))
    assert sorted(found.files) == ["channel/noarch/repodata.json", "toolchain/uv-1-py3-none-any.whl", WHEEL]
    assert found == archive.read(str(tmp_path / "b.tar"))
    assert found.id != archive.read(str(make(tmp_path, "other.tar", b"other"))).id


def test_tampered_bundle_is_refused_and_the_file_is_named(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"w" * 5000, b"w" * 4999 + b"x"))
    with pytest.raises(WorkerError) as caught:
        controller.inspect_bundle(str(path))
    assert (caught.value.code, WHEEL in caught.value.message) == ("bad_bundle", True)


def test_truncated_bundle_is_refused_wherever_it_ends(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path)
    whole = path.read_bytes()
    # The two empty blocks at the end, and what fills the last record, say nothing.
    end = len(whole.rstrip(b"\0"))
    for length in range(0, end, 256):
        path.write_bytes(whole[:length])
        with pytest.raises(WorkerError) as caught:
            archive.examine(str(path))
        assert caught.value.code == "bad_bundle"


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b'{"format": 1}', b'{"format": 2}', b"\xff", b"[" * 100_000])
def test_manifests_that_are_none(text: bytes) -> None:
    with pytest.raises(WorkerError) as caught:
        manifest.parse(text, "/b.tar")
    assert (caught.value.code, "/b.tar" in caught.value.message) == ("bad_bundle", True)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "wheels/../../x", "wheels/.hidden", "wheels/a/b", "wheels/a\nb", "manifest.json", "channel/x/y"])
def test_manifests_that_lead_elsewhere(path: str) -> None:
    text = manifest.render("linux-64", "2.28", "3.11", [], {path: ("0" * 64, 1)}, {})
    with pytest.raises(WorkerError):
        manifest.parse(text.encode(), "/b.tar")


def test_missing_bundle_names_option_and_remedy(tmp_path: pathlib.Path) -> None:
    with pytest.raises(OptionError) as caught:
        controller.inspect_bundle(str(tmp_path / "none.tar"))
    assert "worker_bundle" in caught.value.message
    assert "ew_ai.worker.bundle" in caught.value.remedy


def test_verified_once_and_again_after_a_change(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path)
    # Its time stamps are settled from the start.
    monkeypatch.setattr(controller, "_SETTLED_NS", -(10**10))
    read: list[str] = []
    examine = archive.examine

    def counted(name: str) -> manifest.Bundle:
        read.append(name)
        return examine(name)

    monkeypatch.setattr(archive, "examine", counted)
    assert controller.inspect_bundle(str(path)) == controller.inspect_bundle(str(path))
    assert len(read) == 1
    path.write_bytes(path.read_bytes())
    os.utime(path, (time.time() + 5, time.time() + 5))
    controller.inspect_bundle(str(path))
    assert len(read) == 2


def test_another_python_is_a_finding(tmp_path: pathlib.Path) -> None:
    path = make(tmp_path)
    told, found = controller.findings(str(path), "3.10")
    assert [each["check"] for each in found] == ["bundle_python"]
    assert "3.11" in found[0]["msg"]
    assert "3.10" in found[0]["msg"]
    assert controller.findings(str(path), "3.11") == (told, [])
    assert controller.findings(str(tmp_path / "none.tar"), "3.11")[0] == {}


BUNDLE: dict[str, t.Any] = {"machine": "x86_64", "glibc": "2.28", "host_pythons": ["3.9", "3.11"]}


@pytest.mark.parametrize(
    ("change", "toolchains", "check"),
    [
        ({}, set(), None),
        ({"machine": "aarch64"}, set(), "bundle_platform"),
        ({"glibc": "2.36"}, set(), None),
        ({"glibc": "2.37"}, set(), "bundle_platform"),
        ({"host_pythons": ["3.13"]}, set(), "bundle_python"),
        ({"host_pythons": []}, set(), "bundle_python"),
        ({"host_pythons": ["3.13"]}, {"3.11"}, None),
        ({"host_pythons": ["3.13"]}, {"3.12"}, "bundle_python"),
        ({"machine": "aarch64", "glibc": "2.99", "host_pythons": []}, set(), "bundle_platform"),
    ],
)
def test_bundle_that_is_for_another_host(change: dict[str, t.Any], toolchains: set[str], check: t.Optional[str]) -> None:
    found = misfits({**BUNDLE, **change}, "x86_64", "2.36", (3, 11, 2), toolchains)
    assert [each.check for each in found] == ([check] if check else [])


def test_the_pythons_of_the_toolchains_that_are_there(tmp_path: pathlib.Path) -> None:
    for name, text in (("a", '{"python_version": "3.11.2"}'), ("b", '{"python_version": "3.9.18"}'), ("broken", "{"), ("other", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toolchain.json").write_text(text)
    (tmp_path / "unfinished").mkdir()
    assert toolchain_pythons(str(tmp_path)) == {"3.11", "3.9"}
    assert toolchain_pythons(str(tmp_path / "none")) == set()


def test_this_host_has_a_c_library_of_which_the_version_is_known() -> None:
    assert [part.isdigit() for part in glibc_here().split(".")[:2]] == [True, True]
    assert [each.check for each in misfits(BUNDLE, "x86_64", "", (3, 11), ())] == ["bundle_platform"]


def test_store_has_a_bundle_whole_or_not(tmp_path: pathlib.Path) -> None:
    path, root = make(tmp_path), tmp_path / "root"
    bundle = archive.read(str(path))
    assert Bundles(str(root), Actions(), True).require(bundle.id, bundle.size)
    assert not root.exists()
    actions = Actions()
    assert Bundles(str(root), actions, False).add(bundle.id, str(path), bundle.size)
    assert actions.as_result()["actions"] == [{"what": "bundle", "id": f"bundles/{bundle.id}", "status": "created"}]
    assert (root / "bundles" / bundle.id / WHEEL).read_bytes() == b"w" * 5000
    assert not Bundles(str(root), Actions(), False).require(bundle.id, bundle.size)
    broken = tmp_path / "broken.tar"
    broken.write_bytes(make(tmp_path, "c.tar", b"v" * 5000).read_bytes().replace(b"v" * 5000, b"v" * 4999 + b"x"))
    with pytest.raises(WorkerError):
        Bundles(str(root), Actions(), False).add(archive.read(str(broken)).id, str(broken), 1)
    assert os.listdir(root / "bundles") == [bundle.id]


def test_store_keeps_what_was_used_last_for_each_worker_and_a_spare_one(tmp_path: pathlib.Path) -> None:
    root, ids = tmp_path / "root", []
    paths = [make(tmp_path, f"{name}.tar", name.encode()) for name in ("a", "b", "c", "d")]

    def add(path: pathlib.Path) -> list[str]:
        actions = Actions()
        ids.append(archive.read(str(path)).id)
        foretold = Actions()
        Bundles(str(root), foretold, True).require(ids[-1], 1)
        Bundles(str(root), actions, False).add(ids[-1], str(path), 1)
        # The kernel's clock for files is a coarse one.
        os.utime(root / "bundles" / ids[-1], (len(ids), len(ids)))
        done = sorted(f"{each['id']} {each['status']}" for each in actions.as_result()["actions"])
        assert done == sorted(f"{each['id']} {each['status']}" for each in foretold.as_result()["actions"])
        return done

    add(paths[0])
    add(paths[1])
    assert not Bundles(str(root), Actions(), False).require(ids[0], 1)
    assert f"bundles/{ids[1]} removed" in add(paths[2])
    assert sorted(os.listdir(root / "bundles")) == sorted([ids[0], ids[2]])
    for name in ("one", "two", "three"):
        (root / "workers" / name).mkdir(parents=True)
    assert len(add(paths[3])) == 1
    assert sorted(os.listdir(root / "bundles")) == sorted([ids[0], ids[2], ids[3]])


def test_store_refuses_what_does_not_fit(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WorkerError) as caught:
        Bundles(str(tmp_path), Actions(), True).require("0" * 16, 10**18)
    assert caught.value.code == "disk_full"


def test_a_killed_removal_leaves_nothing_that_counts_as_whole(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, paths = tmp_path / "root", [make(tmp_path, f"{name}.tar", name.encode()) for name in ("a", "b", "c")]
    ids = [archive.read(str(path)).id for path in paths]
    for age, (path, identifier) in enumerate(zip(paths[:2], ids)):
        Bundles(str(root), Actions(), False).add(identifier, str(path), 1)
        os.utime(root / "bundles" / identifier, (age, age))

    def killed(path: str) -> None:
        raise KeyboardInterrupt(path)

    monkeypatch.setattr(store, "remove_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        Bundles(str(root), Actions(), False).add(ids[2], str(paths[2]), 1)
    monkeypatch.undo()
    assert Bundles(str(root), Actions(), True).require(ids[0], 1)
    assert not Bundles(str(root), Actions(), False).require(ids[2], 1)
    assert sorted(os.listdir(root / "bundles")) == sorted(ids[1:])


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_killed_runs_left_is_no_reason_to_refuse_a_bundle(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    left = tmp_path / "bundles" / ".staging-0-x" / "wheels"
    left.mkdir(parents=True)
    (left / "big").write_bytes(b"0" * 3_000_000)
    free = 1_000_000
    system = os.statvfs(tmp_path)

    def statvfs(_path: object) -> object:
        block = system.f_frsize
        blocks = (free + (0 if left.exists() else 3_000_000)) // block
        return os.statvfs_result((system.f_bsize, block, blocks, blocks, blocks, 10**6, 10**6, 10**6, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert Bundles(str(tmp_path), Actions(), check_mode).require("0" * 16, 3_000_000)
    assert left.exists() is check_mode
    wanted = Wanted(str(tmp_path), "w", (), "127.0.0.1", "auto", "system", 0)
    host = Host("Linux", (3, 11, 2), 0, 252, True)
    offered = {"id": "0" * 16, "machine": platform.machine(), "glibc": "2.0", "host_pythons": ["3.11"], "megabytes": 3}
    assert check_bundle(wanted, host, offered) == []


def test_a_bundle_that_another_run_removes_meanwhile_is_sent_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = tmp_path / "root", make(tmp_path)
    identifier = archive.read(str(path)).id
    Bundles(str(root), Actions(), False).add(identifier, str(path), 1)
    monkeypatch.setattr(Bundles, "exists", lambda _self, _bundle: True)
    (root / "bundles" / identifier).rename(root / "gone")
    assert Bundles(str(root), Actions(), False).require(identifier, 1)


def test_a_requirement_from_a_repository_is_told_without_its_login() -> None:
    line = parse_requirements(["x @ git+https://user:hunter22@git.example.com/x@v1"], None, Tree(lambda path: None, None, lenient=True), "pip")
    with pytest.raises(WorkerError) as caught:
        gather.refuse_repositories(t.cast("t.Any", types.SimpleNamespace(requirements=(), pip=line)))
    assert (caught.value.code, "hunter22" in str(caught.value.as_result())) == ("no_wheel", False)


@pytest.mark.parametrize("glibc", ["2.3", "2", "2.111", "3.10", ""])
def test_a_version_that_lost_its_quotes_is_refused(glibc: str) -> None:
    with pytest.raises(OptionError):
        gather.check_glibc(glibc)
