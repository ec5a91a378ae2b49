# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules of this project that no linter knows."""

from __future__ import annotations

import ast
import functools
import pathlib
import re
import typing as t

import pytest

from tools.checkout import CHECKOUT
from tools.testing.machine import machine_words
from tools.testing.tree import project_files

LONGEST_FUNCTION = 60
LONGEST_FILE = 600
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
GPL = "# SPDX-License-Identifier: GPL-3.0-or-later"
BSD = "# SPDX-License-Identifier: BSD-2-Clause"
# A home directory, or a scratch directory, somewhere on someone's machine; split so that this file does not name one
HOMES = re.compile(r"(?<![\w.~}$-])/(?:home/[a-z]\w*|Users/\w+|" + "ro" + r"ot/(?!\.(?:ssh|ansible)\b))/?")


@functools.cache
def python_files() -> list[pathlib.PurePosixPath]:
    """Every Python file that a person wrote."""
    return [name for name in project_files() if name.suffix == ".py" and not name.name.endswith(GENERATED)]


@functools.cache
def text_of(name: pathlib.PurePosixPath) -> str:
    """The file's text; empty for what is no text."""
    path = CHECKOUT / name
    if path.is_symlink():
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def functions(tree: ast.AST) -> t.Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    """Each function with its number of lines, its docstring left out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node, clean=False)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield node, lines - (docstring.count("\n") + 1 if docstring else 0)


def test_functions_are_short() -> None:
    long = [
        f"{name}:{function.lineno} {function.name} has {lines} lines"
        for name in python_files()
        for function, lines in functions(ast.parse(text_of(name)))
        if lines > LONGEST_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_the_count_sees_a_long_function() -> None:
    body = "\n".join("    pass" for _each in range(LONGEST_FUNCTION))
    assert [lines for _function, lines in functions(ast.parse(f"def long():\n{body}\n"))] == [LONGEST_FUNCTION + 1]
    assert [lines for _function, lines in functions(ast.parse('def short():\n    """One\n\n    two"""\n    return 1\n'))] == [2]


def test_files_are_short() -> None:
    """A module carries its documentation in itself, so it may be longer."""
    lines = {str(name): text_of(name).count("\n") for name in python_files() if name.parts[:2] != ("plugins", "modules")}
    assert {name: count for name, count in lines.items() if count > LONGEST_FILE} == {}


def test_code_for_hosts_is_python_3_9() -> None:
    """Syntax only: names that are newer are ruff's and ansible-test's matter."""
    names = [name for name in python_files() if name.parts[0] == "plugins"]
    assert names
    for name in names:
        ast.parse(text_of(name), filename=str(name), feature_version=(3, 9))


def test_module_utils_import_each_other_relatively() -> None:
    """Ansible bundles only those; and only the modules' frame imports Ansible, so that resident programs can use the rest."""
    wrong = []
    for name in python_files():
        if name.parts[:2] != ("plugins", "module_utils"):
            continue
        for node in ast.walk(ast.parse(text_of(name))):
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            wrong += [f"{name} imports {each}" for each in imported if each.startswith("ansible_collections")]
            if name.parts[2:] not in (("module.py",), ("job.py",)):
                wrong += [f"{name} imports {each}" for each in imported if each == "ansible" or each.startswith("ansible.")]
    assert not wrong, "\n".join(wrong)


def test_packages_of_module_utils_do_not_know_each_other() -> None:
    packages = {"environment", "release", "supervisor", "health", "generation", "host"}
    wrong = []
    for name in python_files():
        if name.parts[:2] != ("plugins", "module_utils") or len(name.parts) < 4:
            continue
        for node in ast.walk(ast.parse(text_of(name))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                names = {(node.module or "").partition(".")[0]} if node.module else {alias.name for alias in node.names}
                wrong += [f"{name} imports {other}" for other in names & packages - {name.parts[2]}]
    assert not wrong, "\n".join(wrong)


def test_licences_are_named() -> None:
    """The examples are there to be copied: they carry none."""
    wrong = []
    for name in python_files():
        if name.parts[0] == "examples":
            continue
        head = text_of(name)[:600]
        wanted = BSD if name.parts[:2] == ("plugins", "module_utils") else GPL
        if head and wanted not in head:
            wrong.append(f"{name}: no `{wanted}`")
    assert not wrong, "\n".join(wrong)


def test_no_file_names_this_machine() -> None:
    """Neither a path of the machine that the tests run on, nor the registries that it is set up for, nor anybody's home."""
    words = machine_words()
    found = []
    for name in project_files():
        for number, line in enumerate(text_of(name).splitlines(), 1):
            found += [f"{name}:{number} names {word!r} ({why})" for word, why in words.items() if word in line]
            if name.parts[0] not in ("tests", "molecule"):  # test hosts have a root of their own, test data an invented home
                found += [f"{name}:{number} names {hit!r}" for hit in HOMES.findall(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "hits"),
    [
        ("cd /home/" + "jane/src", 1),
        ("/ro" + "ot/project", 1),
        ("~/home/of", 0),
        ("/ro" + "ot/.ssh/authorized_keys", 0),
        ("{{ x }}/ro" + "ot/y", 0),
        ("/usr/home", 0),
    ],
)
def test_homes_are_seen(line: str, hits: int) -> None:
    assert len(HOMES.findall(line)) == hits


def test_pinned_requirements_name_no_host_and_have_hashes() -> None:
    names = sorted((CHECKOUT / "requirements").glob("*.txt"))
    hashed = [name for name in names if "--hash=" in name.read_text(encoding="utf-8")]
    assert {name.name for name in hashed} >= {"deploy.txt", "test.txt"}
    for name in hashed:
        text = name.read_text(encoding="utf-8")
        assert "://" not in text
        entries = re.findall(r"^[A-Za-z0-9].*?(?=^[A-Za-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
        assert entries
        assert [each.splitlines()[0] for each in entries if "==" not in each or "--hash=sha256:" not in each] == []


def pinned(name: str) -> dict[str, str]:
    """The version of each package in a pinned file; of those with several, the last."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (CHECKOUT / "requirements" / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_both_environments_agree() -> None:
    """`make test` installs over `make deploy`: what they share has one version."""
    test = pinned("test.txt")
    assert {name: (version, test.get(name)) for name, version in pinned("deploy.txt").items() if test.get(name) != version} == {}
