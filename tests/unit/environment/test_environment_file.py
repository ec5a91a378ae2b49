# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""environment.yml: what is read, and what is refused with its line."""

from __future__ import annotations

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.environment_file import EnvironmentFile, parse_environment_file
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no dependency"),
        ("dependencies:\n", "names no dependency"),
        ("dependencies: null\n", "other than a list"),
        ("dependencies: python\n", "other than a list"),
        ("dependencies:\n  - python: 3.11\n", "python=3.11"),
        ("dependencies:\n  - \n", "not a plain string"),
        ("dependencies:\n  - &x python\n", "not a plain string"),
        ("dependencies:\n  - python\n    - nested\n", "no '- item'"),
        ("dependencies:\n  python\n", "no '- item'"),
        ("dependencies:\n\t- python\n", "tab"),
        ("- python\n", "before the first key"),
        ("dependecies:\n  - python\n", "unknown key 'dependecies'"),
        ("just words\n", "is no 'key:'"),
        ("dependencies:\n  - python\nvariables:\n  - A\n", "NAME: value"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, words: str) -> None:
    with pytest.raises(WorkerError) as failure:
        parse_environment_file(text, "/srv/e.yml")
    assert failure.value.code == "broken_file"
    assert words in str(failure.value)
    assert "/srv/e.yml" in str(failure.value)


@pytest.mark.parametrize(
    "text", ["# x\n@EXPLICIT\nhttps://host/python.conda#aa\n", "version: 1\nmetadata:\n  platforms: [linux-64]\npackage:\n- name: python\n"]
)
def test_lock_files_are_refused_as_such(text: str) -> None:
    with pytest.raises(WorkerError) as failure:
        parse_environment_file(text, "/srv/lock.txt")
    assert failure.value.code == "unsupported_file"
