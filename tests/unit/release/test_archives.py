# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives: what we pack arrives as it was, and what others made of malice is refused."""

from __future__ import annotations

import io
import os
import pathlib
import stat
import tarfile
import typing as t
import zipfile

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import digest_of, scan, tree_id
from ansible_collections.ew_ai.worker.plugins.module_utils.release.unpack import unpack_tar
from ansible_collections.ew_ai.worker.plugins.plugin_utils.origin import find_origin
from ansible_collections.ew_ai.worker.plugins.plugin_utils.package import pack, package_of


def packed(top: pathlib.Path, output: pathlib.Path) -> str:
    entries, problems = scan(str(top), follow_outside=True)
    assert problems == []
    digests = {entry.source: digest_of(entry.source) for entry in entries if entry.source}
    with output.open("wb") as handle:
        pack(entries, digests, handle)
    return tree_id(entries, lambda entry: digests[entry.source])


def worker(top: pathlib.Path) -> pathlib.Path:
    (top / "worker/empty").mkdir(parents=True)
    (top / "worker/main.py").write_text("print('ü')\n")
    (top / "worker/run").touch(0o700)
    (top / "worker/link").symlink_to("main.py")
    (top / "worker" / ("long name " * 20)).write_text("x")
    (top / "worker" / os.fsdecode(b"latin-\xe9")).write_text("y")
    (top / "requirements.txt").write_bytes(b"\0" * 3_000_000)
    return top


def test_what_is_packed_arrives(tmp_path: pathlib.Path) -> None:
    top = worker(tmp_path / "w ü")
    release = packed(top, tmp_path / "a.tar")
    (tmp_path / "out").mkdir()
    old = os.umask(0o077)
    try:
        unpack_tar(str(tmp_path / "a.tar"), str(tmp_path / "out"))
    finally:
        os.umask(old)
    entries, problems = scan(str(tmp_path / "out"))
    assert problems == []
    assert tree_id(entries, lambda entry: digest_of(entry.source)) == release
    modes = {stat.S_IMODE(path.lstat().st_mode) for path in (tmp_path / "out").rglob("*") if not path.is_symlink()}
    assert modes == {0o755, 0o644}


def test_packing_gives_the_same_bytes_whatever_times_and_modes_are(tmp_path: pathlib.Path) -> None:
    first, second = worker(tmp_path / "first"), worker(tmp_path / "second")
    os.utime(first / "worker/main.py", (1, 1))
    (second / "worker/main.py").chmod(0o600)
    assert packed(first, tmp_path / "1.tar") == packed(second, tmp_path / "2.tar")
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()


@pytest.mark.parametrize("text", ["longer than it was", "", "y = 2\n"])
def test_a_file_that_changes_meanwhile_is_not_sent(text: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w/main.py").write_text("x = 1\n")
    entries, _problems = scan(str(tmp_path / "w"))
    digests = {entry.source: digest_of(entry.source) for entry in entries}
    (tmp_path / "w/main.py").write_text(text)
    with pytest.raises(WorkerError, match=r"main\.py changed while the release was packed") as caught:
        package_of("0" * 16, entries, digests, str(tmp_path))
    assert caught.value.code == "source_changed"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["w"]


def test_a_package_is_made_once_a_run(tmp_path: pathlib.Path) -> None:
    first = package_of("0" * 16, [], {}, str(tmp_path))
    before = os.stat(first)
    assert package_of("0" * 16, [], {}, str(tmp_path)) == first
    assert os.stat(first) == before


Member = tuple[str, bytes, str]  # name, type, link target or content


def tar_of(path: pathlib.Path, members: t.Sequence[Member]) -> pathlib.Path:
    with tarfile.open(path, "w") as archive:
        for name, kind, text in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
            else:
                member.linkname = text
                archive.addfile(member)
    return path


FILE, DIR, SYM, HARD, PIPE, CHAR = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
BAD: dict[str, tuple[list[Member], str]] = {
    "absolute": ([("/etc/evil", FILE, "x")], "leads out"),
    "dots": ([("a/../../evil", FILE, "x")], "leads out"),
    "dots as directory": ([("..", DIR, "")], "leads out"),
    "absolute link": ([("a", SYM, "/etc/passwd")], "leads to '/etc/passwd'"),
    "link out": ([("a/b", SYM, "../../x")], "leads to"),
    "link to nothing": ([("a", SYM, "")], "leads to ''"),
    "file through a link": ([("a", SYM, "b"), ("b/x", FILE, "x"), ("a/evil", FILE, "x")], "as a link and as something else"),
    "directory is a file": ([("a", FILE, "x"), ("a/b", FILE, "x")], "as a file and as a directory"),
    "file is a directory": ([("a/b", FILE, "x"), ("a", FILE, "x")], "as a file and as a directory"),
    "top is a file": ([(".", FILE, "x")], "as a file and as a directory"),
    "top is a link": ([("./", SYM, "x")], "its own top"),
    "hard link out": ([("a", HARD, "/etc/passwd")], "leads out"),
    "hard link to nothing": ([("a", HARD, "b")], "no file before it"),
    "pipe": ([("a", PIPE, "")], "device or a named pipe"),
    "device": ([("a", CHAR, "")], "device or a named pipe"),
}


@pytest.mark.parametrize("name", BAD)
def test_malice_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    members, words = BAD[name]
    path = tar_of(tmp_path / "a.tar", members)
    (tmp_path / "x/out").mkdir(parents=True)
    with pytest.raises(WorkerError, match=words) as caught:
        unpack_tar(str(path), str(tmp_path / "x/out"))
    assert caught.value.code == "bad_archive"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["out"]


def test_what_tars_of_others_hold_is_understood(tmp_path: pathlib.Path) -> None:
    path = tar_of(
        tmp_path / "a.tar",
        [("./", DIR, ""), ("./l", SYM, "d/f"), ("./d/f", FILE, "old"), ("d/f", FILE, "new"), ("h", HARD, "d/f"), ("l2", SYM, "x"), ("l2", FILE, "y")],
    )
    (tmp_path / "out").mkdir()
    unpack_tar(str(path), str(tmp_path / "out"))
    found = {str(path.relative_to(tmp_path / "out")): path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"d/f": "new", "h": "new", "l": "new", "l2": "y"}
    assert (tmp_path / "out/l").readlink() == pathlib.Path("d/f")


@pytest.mark.parametrize("size", [0, 100, 1000, 3_000_700])
def test_a_cut_archive_is_an_error(size: int, tmp_path: pathlib.Path) -> None:
    packed(worker(tmp_path / "w"), tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:size])
    (tmp_path / "out").mkdir()
    with pytest.raises(WorkerError) as caught:
        unpack_tar(str(tmp_path / "a.tar"), str(tmp_path / "out"))
    assert caught.value.code == "bad_archive"


def zip_of(path: pathlib.Path, members: t.Sequence[tuple[str, int, str]]) -> pathlib.Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, mode, text in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, text)
    return path


def test_every_kind_of_archive_gives_the_directorys_id(tmp_path: pathlib.Path) -> None:
    top = tmp_path / "w"
    (top / "worker").mkdir(parents=True)
    (top / "worker/main.py").write_text("x")
    (top / "worker/run").touch(0o755)
    (top / "main").symlink_to("worker/main.py")
    wanted = packed(top, tmp_path / "0.tar")
    paths = [tmp_path / "0.tar"]
    for kind in ("gz", "bz2", "xz"):
        paths.append(tmp_path / f"a.tar.{kind}")
        with tarfile.open(str(paths[-1]), f"w:{kind}") as archive:  # type: ignore[call-overload]
            archive.add(top, "w-1.0")
    members = [("w/worker/main.py", 0o100644, "x"), ("w/worker/run", 0o100755, ""), ("w/main", 0o120777, "worker/main.py"), ("w/worker/", 0o040755, "")]
    paths.append(zip_of(tmp_path / "a.zip", members))
    for path in paths:
        origin = find_origin(str(path), str(tmp_path))
        entries, problems = scan(origin.directory)
        assert problems == []
        assert not origin.trusted
        assert tree_id(entries, lambda entry: digest_of(entry.source)) == wanted, path


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("../evil", 0o100644, "x")], "leads out"),
        ([("/evil", 0o100644, "x")], "leads out"),
        ([("a", 0o120777, "/etc/passwd")], "leads to '/etc/passwd'"),
        ([("a", 0o010644, "")], "device or a named pipe"),
    ],
)
def test_zip_malice_is_refused(members: list[tuple[str, int, str]], words: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(WorkerError, match=words):
        find_origin(str(zip_of(tmp_path / "a.zip", members)), str(tmp_path))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == ["a.zip"]


def test_no_archive(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text("hello " * 200)
    with pytest.raises(WorkerError, match="neither a zip nor a tar archive"):
        find_origin(str(tmp_path / "a.txt"), str(tmp_path))
    broken = zip_of(tmp_path / "a.zip", [("a", 0o100644, "x" * 1000)]).read_bytes()
    (tmp_path / "b.zip").write_bytes(broken[:30] + b"garbage" + broken[37:])
    with pytest.raises(WorkerError, match="cannot be unpacked"):
        find_origin(str(tmp_path / "b.zip"), str(tmp_path))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_damaged_archive_is_a_clear_error_wherever_it_is_damaged(tmp_path: pathlib.Path, kind: str) -> None:
    files = {f"worker/{number}.py": os.urandom(300) + b"a" * 3000 for number in range(5)}
    path = tmp_path / f"whole.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as archive:  # type: ignore[call-overload]
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    whole = path.read_bytes()
    refused: list[tuple[str, bool]] = []
    for position in range(0, len(whole), max(1, len(whole) // 60)):
        for damaged in (whole[:position], whole[:position] + bytes(each ^ 0xFF for each in whole[position : position + 4]) + whole[position + 4 :]):
            (tmp_path / "damaged").write_bytes(damaged)
            scratch = tmp_path / f"{position}-{len(damaged)}"
            scratch.mkdir()
            try:
                find_origin(str(tmp_path / "damaged"), str(scratch))
            except WorkerError as error:
                refused.append((error.code, bool(error.remedy)))
    assert len(refused) > 20
    assert set(refused) == {("bad_archive", True)}
