# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requirement files as pip reads them, and what of them is fingerprinted."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import (
    UNKNOWN_TREE,
    local_path,
    logical_lines,
    parse_requirements,
    read_requirements,
    tree_digest,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.sources import write_sources
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import read_text


def reader(files: t.Mapping[str, str]) -> t.Callable[[str], t.Optional[str]]:
    return files.get


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("# only a comment\n\n", []),
        ("numpy  # fast\n", ["numpy"]),
        ("six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n", ["six==1.16.0 --hash=sha256:aa --hash=sha256:bb"]),
        ("a @ https://host/x#sha256=aa\r\nb\r\n", ["a @ https://host/x#sha256=aa", "b"]),
    ],
)
def test_logical_lines(text: str, lines: list[str]) -> None:
    assert logical_lines(text) == lines


@pytest.mark.parametrize(
    ("requirement", "path"),
    [
        ("numpy", ""),
        ("numpy>=1.26; python_version < '3.12'", ""),
        ("torch @ https://host/torch.whl", ""),
        ("git+https://host/repo", ""),
        ("git+file:///srv/repo", ""),
        ("./lib", "./lib"),
        (".", "."),
        ("../lib[extra]", "../lib"),
        ("vendor/lib", "vendor/lib"),
        ("lib.whl", "lib.whl"),
        ("/srv/lib-1.0.tar.gz --hash=sha256:aa", "/srv/lib-1.0.tar.gz"),
        ("lib @ file:///srv/lib", "file:///srv/lib"),
        ("file:///srv/lib ; sys_platform == 'linux'", "file:///srv/lib"),
    ],
)
def test_local_paths(requirement: str, path: str) -> None:
    assert local_path(requirement) == path


def test_includes_are_followed_relative_to_the_file_that_has_them() -> None:
    files = {
        "/r/requirements.txt": "numpy\n-r sub/more.txt\n-c limits.txt\n--requirement=other.txt\n",
        "/r/sub/more.txt": "idna\n-r ../last.txt\n",
        "/r/last.txt": "six\n",
        "/r/other.txt": "attrs\n",
        "/r/limits.txt": "numpy<2\n",
    }
    found = read_requirements("/r/requirements.txt", reader(files))
    assert found.canonical() == ["numpy", ["-r", ["idna", ["-r", ["six"]]]], ["-c", ["numpy<2"]], ["-r", ["attrs"]]]


def test_paths_comments_and_credentials_do_not_count() -> None:
    first = {"/a/r.txt": "six  # one\n--extra-index-url https://u:secret@host/simple\n-f ./wheels\n"}
    second = {"/b/r.txt": "\nsix\n--extra-index-url https://host/simple # two\n--find-links=wheels\n"}
    found = read_requirements("/a/r.txt", reader(first)).canonical()
    assert found == read_requirements("/b/r.txt", reader(second)).canonical()
    assert "secret" not in str(found)
    assert "/a" not in str(found)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "requirements_missing"),
        ({"/r/r.txt": "-r gone.txt"}, "requirements_missing"),
        ({"/r/r.txt": "-r b.txt", "/r/b.txt": "-r r.txt"}, "requirements_loop"),
        ({"/r/r.txt": "-e ."}, "editable_requirement"),
        ({"/r/r.txt": "--editable=git+https://host/x"}, "editable_requirement"),
        ({"/r/r.txt": "-r https://u:secret@host/r.txt"}, "unsupported_requirement"),
        ({"/r/r.txt": "./no/such/directory"}, "requirements_missing"),
    ],
)
def test_what_cannot_be_installed_is_refused(files: dict[str, str], code: str) -> None:
    with pytest.raises(WorkerError) as failure:
        read_requirements("/r/r.txt", reader(files))
    assert failure.value.code == code
    assert failure.value.remedy
    assert "secret" not in str(failure.value)


def test_a_relative_path_outside_of_a_file_is_refused() -> None:
    with pytest.raises(WorkerError, match="relative"):
        parse_requirements(["./lib"], None, reader({}))


def test_a_local_tree_counts_by_its_contents(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        tree = tmp_path / name / "lib"
        (tree / "__pycache__").mkdir(parents=True)
        (tree / "setup.py").write_text("pass\n")
        (tree / "link").symlink_to("setup.py")
        (tree / "__pycache__" / name).write_text(name)
        (tmp_path / name / "r.txt").write_text("./lib\n")
    one = read_requirements(str(tmp_path / "one/r.txt"), read_text)
    assert one.canonical() == read_requirements(str(tmp_path / "two/r.txt"), read_text).canonical()
    (tmp_path / "two/lib/setup.py").chmod(0o755)
    assert one.canonical() != read_requirements(str(tmp_path / "two/r.txt"), read_text).canonical()
    (tmp_path / "two/lib/setup.py").chmod(0o644)
    (tmp_path / "two/lib/setup.py").write_text("pass \n")
    assert one.canonical() != read_requirements(str(tmp_path / "two/r.txt"), read_text).canonical()
    assert tree_digest(str(tmp_path / "one/r.txt")) == tree_digest(str(tmp_path / "two/r.txt"))


def test_a_missing_local_tree_is_unknown_in_check_mode() -> None:
    found = read_requirements("/r/r.txt", reader({"/r/r.txt": "-r s.txt", "/r/s.txt": "./lib"}), lenient=True)
    assert found.has_unknown_tree()
    assert UNKNOWN_TREE in str(found.canonical())


def test_the_installer_gets_what_was_read(tmp_path: pathlib.Path) -> None:
    """Copies with absolute paths, local trees copied, variables expanded as pip does it."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/setup.py").write_text("pass\n")
    (tmp_path / "sub.txt").write_text("idna\n")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "r.txt").write_text("-r sub.txt\n./lib[x]\nlib @ file:lib\n--find-links wheels\n--index-url https://${LOGIN}@host/${other}\n")
    out = tmp_path / "out"
    out.mkdir()
    wanted = read_requirements(str(tmp_path / "r.txt"), read_text)
    empty = parse_requirements([], None, read_text)
    content = Content(None, (), (), (wanted,), (), empty, (), "uv", "linux-64")
    sources = write_sources(content, str(out), {"LOGIN": "u:p"})
    assert sources.constraints == ()
    (path,) = sources.requirements
    copy = out / "local-0/lib"
    assert pathlib.Path(path).read_text().splitlines() == [
        f"-r {out}/requirements-1.txt",
        f"{copy}[x]",
        f"lib @ file://{copy}",
        f"--find-links {tmp_path}/wheels",
        "--index-url https://u:p@host/${other}",
    ]
    assert (out / "requirements-1.txt").read_text() == "idna\n"
    assert (copy / "setup.py").read_text() == "pass\n"
    assert pathlib.Path(path).stat().st_mode & 0o777 == 0o600
