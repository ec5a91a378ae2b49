# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files stay behind: tables, and every verdict of a few thousand compared with git's own."""

from __future__ import annotations

import itertools
import pathlib
import random
import re
import shutil
import subprocess
import time

import pytest

from ansible_collections.ew_ai.worker.plugins.plugin_utils.ignore import DEFAULT_PATTERNS, Rules, parse_patterns, rules_of, verdict


@pytest.mark.parametrize(
    ("lines", "path", "directory", "expected"),
    [
        ("", "a", False, None),
        ("# a", "# a", False, None),
        (r"\#a", "#a", False, True),
        (r"\!a", "!a", False, True),
        ("a", "a", False, True),
        ("a", "b/c/a", False, True),
        ("a", "ab", False, None),
        ("/a", "a", False, True),
        ("/a", "b/a", False, None),
        ("b/a", "b/a", False, True),
        ("b/a", "c/b/a", False, None),
        ("a/", "a", True, True),
        ("a/", "a", False, None),
        ("a/", "b/a", True, True),
        ("*.key", "x/tls.key", False, True),
        ("*.key", "x.key/y", False, None),
        ("data/*", "data/x", False, True),
        ("data/*", "data/x/y", False, None),
        ("data/**", "data/x/y", False, True),
        ("data/**", "data", True, None),
        ("**/x", "x", False, True),
        ("**/x", "a/b/x", False, True),
        ("a/**/b", "a/b", False, True),
        ("a/**/b", "a/x/y/b", False, True),
        ("a/**/b", "ab", False, None),
        ("a**b", "axxb", False, True),
        ("a**b", "a/b", False, None),
        ("?", "a", False, True),
        ("?/b", "a/b", False, True),
        ("a?b", "a/b", False, None),
        ("[ab].txt", "b.txt", False, True),
        ("[!ab].txt", "b.txt", False, None),
        ("[!ab].txt", "c.txt", False, True),
        ("[a-c]", "b", False, True),
        ("[a-]", "-", False, True),
        ("[]]", "]", False, True),
        ("a[", "a[", False, None),
        ("[z-a]", "z", False, None),
        ("a[/]b", "a/b", False, None),
        (r"a\*", "a*", False, True),
        (r"a\*", "ab", False, None),
        ("a ", "a", False, True),
        (r"a\ ", "a ", False, True),
        ("a b", "a b", False, True),
        ("a\\", "a", False, None),
        ("名前.txt", "x/名前.txt", False, True),
        ("*.a\n!b.a", "b.a", False, False),
        ("!b.a\n*.a", "b.a", False, True),
        ("*\n!/b/\n", "b", True, False),
        ("a\r", "a", False, True),
        ("*.txt", "a\nb.txt", False, True),
    ],
)
def test_patterns(lines: str, path: str, directory: bool, expected: bool | None) -> None:
    assert verdict(parse_patterns(lines.split("\n")), path, directory) is expected


@pytest.mark.parametrize(
    "path", [".git", ".env", ".env.local", "certs/tls.pem", "x/y/z.key", "id_rsa", "id_rsa.pub", "a/__pycache__", ".venv", "node_modules", ".DS_Store"]
)
def test_left_out_by_default_and_taken_back_in(path: str, tmp_path: pathlib.Path) -> None:
    assert Rules()(path, False, "/nowhere")
    assert not Rules([f"!{path}"])(path, False, "/nowhere")
    (tmp_path / ".workerignore").write_text(f"!{path}\n")
    assert not rules_of(str(tmp_path))(path, False, "/nowhere")
    assert rules_of(str(tmp_path), [path])(path, False, "/nowhere")


@pytest.mark.parametrize("path", ["worker/main.py", "environment.yml", "env", "keys.py", "monkey", ".gitignore", "requirements.txt", "model.pt"])
def test_kept_by_default(path: str) -> None:
    assert not Rules()(path, False, "/nowhere")


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta/history"])
def test_environments_are_left_out_whatever_their_name(mark: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine" / mark).parent.mkdir(parents=True)
    (tmp_path / "mine" / mark).touch()
    assert Rules()("mine", True, str(tmp_path / "mine"))
    assert not Rules(["!mine"])("mine", True, str(tmp_path / "mine"))


@pytest.mark.parametrize(("pattern", "path"), [("*a" * 30 + "b", "a" * 250), ("**/a/" * 30 + "b", "a/" * 100 + "c"), ("**/*a*a/" * 9 + "b", "aaa/" * 60 + "c")])
def test_a_hostile_pattern_costs_no_time(pattern: str, path: str) -> None:
    """By plain backtracking each of these never ends."""
    start = time.monotonic()
    assert verdict(parse_patterns([pattern]), path, False) is None
    assert time.monotonic() - start < 5


def test_every_verdict_is_gits(tmp_path: pathlib.Path) -> None:
    """Random patterns over a small alphabet, asked about the same paths."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed: nothing to compare with")
    chance = random.Random(20260101)
    names = ["a", "b", "ab", "a.x", "a b", "a*"]
    files = ["/".join(parts) for depth in (1, 2, 3) for parts in itertools.product(names, repeat=depth)]
    pieces = ["a", "b", "ab", "*", "**", "?", "/", "[ab]", "[!a]", ".x", " ", "\\*", "!", "#", "*.x", "[a-b]"]
    subprocess.run([git, "init", "--quiet", tmp_path], check=True)
    for _round in range(120):
        lines = ["".join(chance.choices(pieces, k=chance.randint(1, 5))) for _line in range(chance.randint(1, 4))]
        # stars in a row that are no whole name are one star by git's manual, and something else by its code
        lines = [re.sub(r"(?<![/*!\n])\*\*+|\*\*\*+|\*\*+(?![/*\n])", "*", f"\n{line}\n")[1:-1] for line in lines]
        (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
        asked = subprocess.run(
            [git, "-C", tmp_path, "check-ignore", "--no-index", "--stdin", "-z"], input="\0".join(files).encode(), stdout=subprocess.PIPE, check=False
        )
        patterns = parse_patterns(lines)
        ours = [path for path in files if _left_out(patterns, path)]
        assert ours == [path for path in asked.stdout.decode().split("\0") if path], lines


def _left_out(patterns: list, path: str) -> bool:  # type: ignore[type-arg]
    """As the walk asks: from the top down, and nothing below a directory that is left out."""
    names = path.split("/")
    above = ["/".join(names[:count]) for count in range(1, len(names))]
    return any(verdict(patterns, each, True) for each in above) or bool(verdict(patterns, path, False))


def test_no_default_pattern_is_broken() -> None:
    assert len(parse_patterns(DEFAULT_PATTERNS)) == len(DEFAULT_PATTERNS)
