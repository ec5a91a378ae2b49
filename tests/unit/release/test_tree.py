# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a release consists of, which links it keeps, and when its id changes."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import DIRECTORY, FILE, LINK, digest_of, scan, tree_id

Make = t.Callable[[pathlib.Path], object]


def make(top: pathlib.Path, **files: str) -> pathlib.Path:
    """A small worker directory."""
    for name, text in {"main.py": "x = 1\n", "pkg/a.py": "", **files}.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


def id_of(top: pathlib.Path) -> str:
    entries, problems = scan(str(top), follow_outside=True)
    assert problems == []
    return tree_id(entries, lambda entry: digest_of(entry.source))


def test_entries_are_sorted_and_whole(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w")
    (top / "run.sh").touch(0o755)
    (top / "empty/inner").mkdir(parents=True)
    entries, problems = scan(str(top))
    assert [(entry.path, entry.kind, entry.executable, entry.size) for entry in entries] == [
        ("empty/inner", DIRECTORY, False, 0),
        ("main.py", FILE, False, 6),
        ("pkg/a.py", FILE, False, 0),
        ("run.sh", FILE, True, 0),
    ]
    assert problems == []


CHANGES: dict[str, tuple[Make, bool]] = {
    "nothing": (lambda top: None, False),
    "times": (lambda top: os.utime(top / "main.py", (1, 1)), False),
    "other mode bits": (lambda top: (top / "main.py").chmod(0o600), False),
    "mode of a directory": (lambda top: (top / "pkg").chmod(0o700), False),
    "content": (lambda top: (top / "main.py").write_text("x = 2\n"), True),
    "executable": (lambda top: (top / "main.py").chmod(0o755), True),
    "name": (lambda top: (top / "main.py").rename(top / "mein.py"), True),
    "one more file": (lambda top: (top / "b").touch(), True),
    "an empty directory": (lambda top: (top / "b").mkdir(), True),
    "a link": (lambda top: (top / "b").symlink_to("main.py"), True),
    "a file moved": (lambda top: (top / "pkg/a.py").rename(top / "a.py"), True),
    "a name with a new line": (lambda top: (top / "main.py\nfile").touch(), True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_id_follows_content_alone(name: str, tmp_path: pathlib.Path) -> None:
    change, different = CHANGES[name]
    first, second = make(tmp_path / "first"), make(tmp_path / "second")
    change(second)
    assert (id_of(first) != id_of(second)) is different


def test_id_is_the_same_on_every_machine(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w", **{"ü ñ/名.py": "1"})
    (top / "link").symlink_to("main.py")
    assert id_of(top) == "70819e165d2e7826"


KEPT: dict[str, tuple[str, str, str]] = {
    # link, what it points to, what is kept
    "beside": ("b", "main.py", "main.py"),
    "up": ("pkg/b", "../main.py", "../main.py"),
    "to a directory": ("b", "pkg", "pkg"),
    "to a directory, untidy": ("b", "./pkg/../pkg/", "pkg"),
    "absolute": ("pkg/b", "{top}/main.py", "../main.py"),
    "out and in again": ("b", "../{name}/main.py", "main.py"),
    "to the top": ("pkg/b", "..", ".."),
}


@pytest.mark.parametrize("name", KEPT)
def test_links_that_stay_inside_are_kept(name: str, tmp_path: pathlib.Path) -> None:
    link, target, kept = KEPT[name]
    top = make(tmp_path / "w")
    (top / link).symlink_to(target.format(top=top, name=top.name))
    entries, problems = scan(str(top))
    assert problems == []
    assert [(entry.path, entry.target) for entry in entries if entry.kind == LINK] == [(link, kept)]


def test_a_chain_of_links_is_cut_short(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w")
    (top / "b").symlink_to("c")
    (top / "c").symlink_to("pkg/a.py")
    entries, _problems = scan(str(top))
    assert [(entry.path, entry.target) for entry in entries if entry.kind == LINK] == [("b", "pkg/a.py"), ("c", "pkg/a.py")]


def test_links_that_lead_outside_are_followed(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w")
    (tmp_path / "shared/deep").mkdir(parents=True)
    (tmp_path / "shared/model.bin").write_text("weights")
    (tmp_path / "shared/deep/back").symlink_to(top / "main.py")
    (tmp_path / "shared/deep/beside").symlink_to("../model.bin")
    (top / "shared").symlink_to("../shared")
    (top / "one").symlink_to(tmp_path / "shared/model.bin")
    entries, problems = scan(str(top), follow_outside=True)
    assert problems == []
    found = {entry.path: (entry.kind, entry.target or entry.size) for entry in entries}
    assert found == {
        "main.py": (FILE, 6),
        "pkg/a.py": (FILE, 0),
        "one": (FILE, 7),
        "shared/model.bin": (FILE, 7),
        "shared/deep/back": (LINK, "../../main.py"),
        "shared/deep/beside": (FILE, 7),
    }


def make_socket(path: pathlib.Path) -> None:
    # a socket's address is short: bind it from its directory
    code = "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, path.name], cwd=path.parent, check=True)
    assert path.is_socket()


REFUSED: dict[str, tuple[str, Make, str]] = {
    "dangling": ("broken_link", lambda top: (top / "bad").symlink_to("nothing"), "bad leads to nothing, which does not exist"),
    "through a file": ("broken_link", lambda top: (top / "bad").symlink_to("main.py/x"), "main.py/x"),
    "to itself": ("cyclic_link", lambda top: (top / "bad").symlink_to("bad"), "leads to itself"),
    "in a circle": ("cyclic_link", lambda top: ((top / "bad").symlink_to("c"), (top / "c").symlink_to("bad")), "leads to itself"),
    "to what contains it": ("cyclic_link", lambda top: (top / "bad").symlink_to(".."), "which contains it"),
    "to the root": ("cyclic_link", lambda top: (top / "bad").symlink_to("/"), "leads to /, which contains it"),
    "pipe": ("special_file", lambda top: os.mkfifo(top / "bad"), "a named pipe"),
    "socket": ("special_file", lambda top: make_socket(top / "bad"), "a socket"),
    "device": ("special_file", lambda top: (top / "bad").symlink_to("/dev/null"), "a character device"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_released_is_named(name: str, tmp_path: pathlib.Path) -> None:
    code, spoil, words = REFUSED[name]
    top = make(tmp_path / "w")
    spoil(top)
    _entries, problems = scan(str(top), follow_outside=True)
    assert {problem.code for problem in problems} == {code}
    assert str(top / "bad") in problems[0].message
    assert words in problems[0].message
    assert scan(str(top), lambda path, directory, full: path in ("bad", "c"), follow_outside=True)[1] == []


def test_a_circle_outside_ends(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w")
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/z").symlink_to("..")
    (top / "x").symlink_to("../x/y")
    _entries, problems = scan(str(top), follow_outside=True)
    assert [problem.code for problem in problems] == ["cyclic_link"]


def test_links_out_of_what_came_from_elsewhere_are_refused(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w")
    (top / "bad").symlink_to("/etc/hostname")
    _entries, problems = scan(str(top), follow_outside=False)
    assert [problem.code for problem in problems] == ["link_outside"]


def test_a_link_to_what_is_left_out_is_refused(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w", **{"secret/.env": "x"})
    (top / "bad").symlink_to("secret/.env")
    _entries, problems = scan(str(top), lambda path, directory, full: path.endswith(".env"))
    assert [(problem.code, problem.remedy) for problem in problems] == [("link_excluded", "Leave the link out too (bad), or take its target in: !secret/.env")]


def test_all_that_is_unreadable_is_named_at_once(public_path: pathlib.Path, as_nobody: t.Callable[[str], str]) -> None:
    top = make(public_path / "w", b="")
    for path in (top / "b", top / "main.py"):
        path.chmod(0)
    (top / "pkg").chmod(0)
    printed = as_nobody(
        "from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import scan\n"
        f"print(*sorted(problem.message for problem in scan({str(top)!r})[1]), sep='\\n')"
    )
    (top / "pkg").chmod(0o755)
    assert printed.splitlines() == [
        f"The directory {top}/pkg cannot be read: Permission denied.",
        f"The file {top}/b cannot be read.",
        f"The file {top}/main.py cannot be read.",
    ]


def test_deep_and_odd_names(tmp_path: pathlib.Path) -> None:
    top = make(tmp_path / "w", **{"/".join(["d"] * 900) + "/f": "1", " a\tb\\c\n": "2"})
    (top / os.fsdecode(b"latin-\xe9")).touch()
    entries, problems = scan(str(top))
    assert problems == []
    assert len(entries) == 5
    assert len(id_of(top)) == 16
