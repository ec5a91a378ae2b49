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
    Tree,
    local_path,
    logical_lines,
    parse_requirements,
    read_requirements,
    tree_digest,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.sources import write_sources
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import read_text


def tree(files: t.Mapping[str, str], top: str = "/r", lenient: bool = False) -> Tree:
    return Tree(files.get, top, lenient=lenient)


def on_disk(top: pathlib.Path) -> Tree:
    return Tree(read_text, str(top))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("# only a comment\n\n", []),
        ("numpy  # fast\n", ["numpy"]),
        ("six==1.16.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n", ["six==1.16.0 --hash=sha256:aa --hash=sha256:bb"]),
        ("a @ https://host/x#sha256=aa\r\nb\r\n", ["a @ https://host/x#sha256=aa", "b"]),
        ("numpy==\\\n1.2\n", ["numpy==1.2"]),
        ("numpy \\\n# a comment ends it\nidna\n", ["numpy", "idna"]),
        ("\ufeffnumpy\n", ["numpy"]),
        ("numpy\\", ["numpy"]),
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
        ("lib @ ./lib", "./lib"),
        ("lib[x] @ vendor/lib ; python_version > '3'", "vendor/lib"),
        ("lib-1.0.tar", "lib-1.0.tar"),
        ("LIB-1.0.ZIP", "LIB-1.0.ZIP"),
        ("x-1.0.tar.gz ; python_version > '3'", "x-1.0.tar.gz"),
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
    found = read_requirements("/r/requirements.txt", tree(files))
    assert found.canonical() == ["numpy", ["-r", ["idna", ["-r", ["six"]]]], ["-c", ["numpy<2"]], ["-r", ["attrs"]]]


def test_paths_comments_and_credentials_do_not_count() -> None:
    first = {"/a/r.txt": "six  # one\n--extra-index-url https://u:secret@host/simple\n-f ./wheels\n"}
    second = {"/b/r.txt": "\nsix\n--extra-index-url https://host/simple # two\n--find-links=wheels\n"}
    found = read_requirements("/a/r.txt", tree(first, "/a")).canonical()
    assert found == read_requirements("/b/r.txt", tree(second, "/b")).canonical()
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
        ({"/r/r.txt": "-r one.txt two.txt"}, "unsupported_requirement"),
        ({"/r/r.txt": "-r 'one.txt"}, "unsupported_requirement"),
        ({"/r/r.txt": "-r r0.txt", **{f"/r/r{each}.txt": f"-r r{each + 1}.txt" for each in range(2000)}}, "requirements_loop"),
        ({"/r/r.txt": "-r ../etc/shadow", "/etc/shadow": "root"}, "requirements_outside"),
        ({"/r/r.txt": "-c /etc/shadow", "/etc/shadow": "root"}, "requirements_outside"),
        ({"/r/r.txt": "-r more/m.txt", "/r/more/m.txt": "-r /r/../etc/shadow", "/etc/shadow": "root"}, "requirements_outside"),
        ({"/r/r.txt": "/root/.ssh"}, "requirements_outside"),
        ({"/r/r.txt": "x @ file:///root/.ssh"}, "requirements_outside"),
        ({"/r/r.txt": "../r2"}, "requirements_outside"),
        ({"/r/r.txt": "/root/x-1.0-py3-none-any.whl"}, "requirements_outside"),
    ],
)
def test_what_cannot_be_installed_is_refused(files: dict[str, str], code: str) -> None:
    with pytest.raises(WorkerError) as failure:
        read_requirements("/r/r.txt", tree(files))
    assert failure.value.code == code
    assert failure.value.remedy
    assert "secret" not in str(failure.value)


def test_the_refusal_names_line_file_and_way_out() -> None:
    with pytest.raises(WorkerError) as failure:
        read_requirements("/r/r.txt", tree({"/r/r.txt": "numpy\n-r sub/s.txt\n", "/r/sub/s.txt": "../../secret  # why not\n"}))
    assert failure.value.message == "The line '../../secret' of /r/sub/s.txt leads to /secret, outside of /r."
    assert "find_links" in failure.value.remedy


@pytest.mark.parametrize("line", ["./out", "-r out/file.txt", "-c link.txt", "{top}/out", "more.txt/../out"])
def test_links_do_not_lead_out_of_the_tree(tmp_path: pathlib.Path, line: str) -> None:
    top, outside = tmp_path / "worker", tmp_path / "outside"
    (top / "lib").mkdir(parents=True)
    outside.mkdir()
    (outside / "file.txt").write_text("secret")
    (top / "out").symlink_to(outside)
    (top / "link.txt").symlink_to(outside / "file.txt")
    (top / "r.txt").write_text(line.format(top=top))
    with pytest.raises(WorkerError) as failure:
        read_requirements(str(top / "r.txt"), on_disk(top))
    assert failure.value.code == "requirements_outside"
    with pytest.raises(WorkerError) as failure:
        read_requirements(str(top / "link.txt"), on_disk(top))
    assert failure.value.code == "requirements_outside"


def test_what_lies_in_the_tree_may_be_named_in_any_way(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real/deps/lib").mkdir(parents=True)
    (tmp_path / "real/base.txt").write_text("six\n")
    (tmp_path / "top").symlink_to("real")
    (tmp_path / "real/deps/r.txt").write_text(f'-r ../base.txt\n-r "../ba"se.txt\n{tmp_path}/real/deps/lib\nlib\\\n/../lib/.\n./linked\n.\n')
    (tmp_path / "real/deps/linked").symlink_to("lib")
    found = read_requirements(str(tmp_path / "top/deps/r.txt"), on_disk(tmp_path / "top"))
    assert [bool(line.nested or line.digest) for line in found.lines] == [True] * 6


def test_what_an_option_says_has_no_tree(tmp_path: pathlib.Path) -> None:
    """But the file that it names has one."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "r.txt").write_text("./lib\n")
    (tmp_path / "bad.txt").write_text("-r ../x.txt\n")
    free = Tree(read_text, None)
    found = parse_requirements([str(tmp_path / "lib"), f"-r {tmp_path}/r.txt"], None, free, "the option pip")
    assert [line.local for line in found.lines] == [str(tmp_path / "lib"), ""]
    with pytest.raises(WorkerError, match=r"The line '-r \.\./x\.txt' of .*bad\.txt leads to"):
        parse_requirements([f"-r {tmp_path}/bad.txt"], None, free, "the option pip")


def test_a_relative_path_outside_of_a_file_is_refused() -> None:
    with pytest.raises(WorkerError, match="relative"):
        parse_requirements(["./lib"], None, tree({}), "the option pip")


def test_a_local_tree_counts_by_its_contents(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two"):
        tree = tmp_path / name / "lib"
        (tree / "__pycache__").mkdir(parents=True)
        (tree / "setup.py").write_text("pass\n")
        (tree / "link").symlink_to("setup.py")
        (tree / "__pycache__" / name).write_text(name)
        (tmp_path / name / "r.txt").write_text("./lib\n")
    one = read_requirements(str(tmp_path / "one/r.txt"), on_disk(tmp_path / "one"))
    assert one.canonical() == read_requirements(str(tmp_path / "two/r.txt"), on_disk(tmp_path / "two")).canonical()
    (tmp_path / "two/lib/setup.py").chmod(0o755)
    assert one.canonical() != read_requirements(str(tmp_path / "two/r.txt"), on_disk(tmp_path / "two")).canonical()
    (tmp_path / "two/lib/setup.py").chmod(0o644)
    (tmp_path / "two/lib/setup.py").write_text("pass \n")
    assert one.canonical() != read_requirements(str(tmp_path / "two/r.txt"), on_disk(tmp_path / "two")).canonical()
    assert tree_digest(str(tmp_path / "one/r.txt")) == tree_digest(str(tmp_path / "two/r.txt"))


def test_a_missing_local_tree_is_unknown_in_check_mode() -> None:
    found = read_requirements("/r/r.txt", tree({"/r/r.txt": "-r s.txt", "/r/s.txt": "./lib"}, lenient=True))
    assert found.has_unknown_tree()
    assert UNKNOWN_TREE in str(found.canonical())


def test_the_installer_gets_what_was_read(tmp_path: pathlib.Path) -> None:
    """Copies with absolute paths, local trees copied, variables expanded as pip does it."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/setup.py").write_text("pass\n")
    (tmp_path / "sub.txt").write_text("idna\n")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "r.txt").write_text(
        "-r 'sub.txt'\n./lib[x]\nlib @ file:lib\nlib @ ./lib ; python_version > '3'\n--find-links wheels\n--index-url https://${LOGIN}@host/${other}\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    wanted = read_requirements(str(tmp_path / "r.txt"), on_disk(tmp_path))
    empty = parse_requirements([], None, on_disk(tmp_path), "the option pip")
    content = Content(None, (), (), (wanted,), (), empty, (), "uv", "linux-64")
    sources = write_sources(content, str(out), {"LOGIN": "u:p"})
    assert sources.constraints == ()
    (path,) = sources.requirements
    copy = out / "local-0/lib"
    assert pathlib.Path(path).read_text().splitlines() == [
        f"-r {out}/requirements-1.txt",
        f"{copy}[x]",
        f"lib @ file://{copy}",
        f"lib @ file://{copy} ; python_version > '3'",
        f"--find-links {tmp_path}/wheels",
        "--index-url https://u:p@host/${other}",
    ]
    assert (out / "requirements-1.txt").read_text() == "idna\n"
    assert (copy / "setup.py").read_text() == "pass\n"
    assert pathlib.Path(path).stat().st_mode & 0o777 == 0o600
