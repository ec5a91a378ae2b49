# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""environment.yml: what is read, and what is refused with its line."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.environment_file import EnvironmentFile, parse_environment_file
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import check_channels
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

FULL = """\
# a comment
---
name: "anything"
channels:
  - conda-forge
  - https://host/c#x   # not a comment inside
dependencies:
  - python=3.10  # the default
  - 'numpy >=1.26,<2'
  - pip
  - pip:
    - requests[socks]==2.31.0
    - -r requirements.txt
    - "six"
  - zlib
variables:
  OMP_NUM_THREADS: "1"
  WORDS: two words
prefix: /somewhere
"""


def test_a_whole_file() -> None:
    assert parse_environment_file(FULL, "e.yml") == EnvironmentFile(
        channels=("conda-forge", "https://host/c#x"),
        packages=("python=3.10", "numpy >=1.26,<2", "pip", "zlib"),
        pip=("requests[socks]==2.31.0", "-r requirements.txt", "six"),
        variables=(("OMP_NUM_THREADS", "1"), ("WORDS", "two words")),
    )


@pytest.mark.parametrize(
    "text",
    [
        "channels: [conda-forge]\ndependencies: [python=3.10, zlib]\n",
        "channels:\n- conda-forge\ndependencies:\n- python=3.10\n- zlib\n",
        "channels:\n    - conda-forge\ndependencies:\n      - python=3.10\n      - zlib\n",
    ],
)
def test_ways_to_write_a_list(text: str) -> None:
    found = parse_environment_file(text, "e.yml")
    assert (found.channels, found.packages) == (("conda-forge",), ("python=3.10", "zlib"))


# What the conda family makes of many of these is an empty environment, and no error.
REFUSED: list[tuple[str, str]] = [
    ("", "is empty"),
    ("# only a comment\n", "is empty"),
    ("---\n", "is empty"),
    ("name: x\nchannels: [conda-forge]\n", "has no 'dependencies:'"),
    ("dependencies:\n", "line 1 ('dependencies:') names no dependency"),
    ("name: x\ndependencies: []\n", "line 2 ('dependencies: []') names no dependency"),
    ("dependencies: null\n", "other than a list"),
    ("dependencies: ~\n", "other than a list"),
    ("dependencies: python\n", "other than a list"),
    ("dependencies: [python\n", "other than a list"),
    ("dependencies: {python: 3.11}\n", "other than a list"),
    ("dependencies:\n  python: 3.11\n", "line 2 ('python: 3.11') is no '- item'"),
    ("dependencies:\n  - python: 3.11\n", "line 2 ('- python: 3.11') is a mapping, not a string: write 'python=3.11'"),
    ("dependencies:\n  - \n", "line 2 ('-') is empty"),
    ("dependencies:\n  - null\n", "is empty"),
    ("dependencies:\n  - ~\n", "is empty"),
    ("dependencies:\n  - Null\n", "is empty"),
    ("dependencies:\n  - &x python\n", "not a plain string"),
    ("dependencies:\n  - *x\n", "not a plain string"),
    ("dependencies: &all\n  - python\n", "other than a list"),
    ("dependencies:\n  - !!str python\n", "not a plain string"),
    ("dependencies:\n  - |\n    python\n", "line 2 ('- |') is not a plain string"),
    ("dependencies:\n  - >-\n    python\n", "not a plain string"),
    ("dependencies:\n  - 'python\n    =3.11'\n", "not a plain string"),
    ("dependencies:\n  - python\n    =3.11\n", "line 3 ('=3.11') is no '- item'"),
    ("dependencies:\n  - [python]\n", "not a plain string"),
    ("dependencies:\n  - python\n    - nested\n", "no '- item'"),
    ("dependencies:\n  python\n", "no '- item'"),
    ("dependencies:\n\t- python\n", "line 2 ('- python') is indented with a tab"),
    ("dependencies:\n  - python\n  - zlib\n  - python\n", "line 4 ('- python') names python again, which line 2 has"),
    ("dependencies:\n  - python=3.10\n  - conda-forge::python >=3\n", "line 3"),
    ("dependencies: [zlib, zlib]\n", "names zlib again"),
    ("channels: [a, a]\ndependencies: [zlib]\n", "names a again"),
    ("dependencies: [zlib]\nchannels: [a]\ndependencies: [xz]\n", "line 3 ('dependencies: [xz]') has the key 'dependencies' a second time"),
    ("dependencies:\n  - python\n  - pip:\n", "line 3 ('- pip:') has no '- requirement' below it"),
    ("dependencies:\n  - pip:\n  - python\n", "line 2 ('- pip:') has no '- requirement' below it"),
    ("dependencies:\n  - python\n  - pip: null\n", "is a mapping"),
    (
        "dependencies:\n  - python\n  - pip: [six]\n",
        "line 3 ('- pip: [six]') has a list in one line: write 'pip:' and each of its items in a line of its own below",
    ),
    ("dependencies:\n  - python\n  - pip:\n    -\n", "line 4 ('-') is empty"),
    ("dependencies:\n  - python\n  - pip:\n    - six\n  - pip:\n    - idna\n", "a second time"),
    ("dependencies:\n  - python\n  - conda:\n    - six\n", "is a mapping"),
    ("channels: conda-forge\ndependencies: [zlib]\n", "gives 'channels' something other than a list"),
    ("channels:\n  - conda-forge: 1\ndependencies: [zlib]\n", "is a mapping"),
    ("- python\n", "before the first key"),
    ("dependecies:\n  - python\n", "line 1 ('dependecies:') has the unknown key 'dependecies'"),
    ("platforms: [linux-64]\ndependencies: [zlib]\n", "unknown key 'platforms'"),
    ("just words\n", "is no 'key:'"),
    ("name:\n  - x\ndependencies: [zlib]\n", "line 2 ('- x') stands below 'name'"),
    ("name: |\n  x\ndependencies: [zlib]\n", "stands below 'name'"),
    ("dependencies: [zlib]\n---\ndependencies: [xz]\n", "second document"),
    ("dependencies:\n  - python\nvariables:\n  - A\n", "NAME: value"),
    ("dependencies:\n  - python\nvariables:\n  A:\n", "NAME: value"),
    ("dependencies:\n  - python\nvariables: {A: 1}\n", "NAME: value"),
    ("dependencies:\n  - python\nvariables:\n  A: 1\n  A: 2\n", "names the variable A again"),
    ("dependencies:\n  - python\nvariables:\n  A: 1\n    B: 2\n", "NAME: value"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_not_understood_is_refused(text: str, words: str) -> None:
    for each in (text, "\ufeff" + text, text.replace("\n", "\r\n")):
        with pytest.raises(WorkerError) as failure:
            parse_environment_file(each, "/srv/e.yml")
        assert failure.value.code == "broken_file"
        assert words in str(failure.value)
        assert "/srv/e.yml" in str(failure.value)
        assert failure.value.remedy


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n"), lambda text: text.rstrip("\n")])
def test_marks_and_line_ends_of_other_systems_do_not_matter(change: t.Callable[[str], str]) -> None:
    assert parse_environment_file(change(FULL), "e.yml") == parse_environment_file(FULL, "e.yml")


def test_nodefaults_is_always_in_force() -> None:
    found = parse_environment_file("channels:\n  - conda-forge\n  - nodefaults\ndependencies: [zlib]\n", "e.yml")
    assert check_channels(found.channels, False) == ("conda-forge",)
