# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the module's options to what is wanted."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import fingerprint
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content, wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

OPTIONS: dict[str, t.Any] = {"root": "/opt/ew", "installer": "auto"}


def test_places() -> None:
    named = wanted_place({**OPTIONS, "name": "w"})
    assert (named.link, named.cache, named.prefix) == ("/opt/ew/envs/w", "/opt/ew/cache", None)
    exact = wanted_place({**OPTIONS, "prefix": "/srv/env/", "cache": "/var/cache/ew"})
    assert (exact.link, exact.cache, exact.prefix) == (None, "/var/cache/ew", "/srv/env")


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"root": "/opt/my root"}, "root"),
        ({"root": "opt"}, "root"),
        ({"prefix": "/a:b"}, "prefix"),
        ({"cache": "/a\tb"}, "cache"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_bad_places_are_refused(options: dict[str, str], option: str) -> None:
    with pytest.raises(WorkerError) as failure:
        wanted_place({**OPTIONS, **options})
    assert failure.value.code == "invalid_option"
    assert f"'{option}'" in failure.value.message


def test_a_file_and_options_add_up(tmp_path: pathlib.Path) -> None:
    (tmp_path / "environment.yml").write_text(
        "channels: [bioconda]\ndependencies:\n  - python=3.10\n  - pip:\n    - -r more.txt\n    - idna\nvariables:\n  A: b\n"
    )
    (tmp_path / "more.txt").write_text("six\n")
    options = {**OPTIONS, "file": str(tmp_path / "environment.yml"), "packages": ["zlib"], "pip": ["attrs"]}
    found = wanted_content(options, check=False)
    assert (found.channels, found.packages, found.variables) == (("bioconda",), ("python=3.10", "zlib"), (("A", "b"),))
    assert found.pip.canonical() == ["attrs", ["-r", ["six"]], "idna"]
    assert wanted_content({**options, "channels": ["conda-forge"]}, check=False).channels == ("conda-forge",)


def test_planned_files_stand_in_only_in_check_mode(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "release/requirements.txt"
    more = tmp_path / "release/more.txt"
    options = {**OPTIONS, "python_version": "3.10", "requirements": [str(path)], "planned_files": {str(path): "-r more.txt\n", str(more): "six\n"}}
    planned = fingerprint(wanted_content(options, check=True))
    with pytest.raises(WorkerError) as failure:
        wanted_content(options, check=False)
    assert failure.value.code == "requirements_missing"
    path.parent.mkdir()
    path.write_text("-r more.txt # the same\n")
    more.write_text("six\n")
    assert fingerprint(wanted_content(options, check=False)) == planned
    more.write_text("six==1.16.0\n")
    assert fingerprint(wanted_content(options, check=True)) != planned


@pytest.mark.parametrize(
    ("lines", "code"),
    [("-r ../base.txt", None), ("../lib", None), ("-r ../../../other.txt", "requirements_outside"), ("../../../lib", "requirements_outside")],
)
def test_a_file_of_a_release_may_name_what_is_in_the_release(tmp_path: pathlib.Path, lines: str, code: t.Optional[str]) -> None:
    """Elsewhere it may name what is in its own directory."""
    release = tmp_path / "releases/0123456789abcdef"
    (release / "deploy").mkdir(parents=True)
    (release / "lib").mkdir()
    (tmp_path / "lib").mkdir()
    for path in (release / "base.txt", tmp_path / "other.txt"):
        path.write_text("six\n")
    (release / "deploy/requirements.txt").write_text(lines)
    (release / "deploy/environment.yml").write_text(f"dependencies:\n  - python=3.10\n  - pip:\n    - {lines}\n")
    for given in ({"requirements": [str(release / "deploy/requirements.txt")]}, {"file": str(release / "deploy/environment.yml")}):
        for root, expected in ((tmp_path, code), (tmp_path / "elsewhere", "requirements_outside")):
            options = {**OPTIONS, "root": str(root), "python_version": "3.10", **given}
            if expected is None:
                wanted_content(options, check=False)
                continue
            with pytest.raises(WorkerError) as failure:
                wanted_content(options, check=False)
            assert failure.value.code == expected


def test_no_file_makes_root_read_another_one(tmp_path: pathlib.Path) -> None:
    (tmp_path / "worker").mkdir()
    (tmp_path / "secret").write_text("root:secret-word\n")
    (tmp_path / "worker/environment.yml").write_text(f"dependencies:\n  - python=3.10\n  - pip:\n    - -r {tmp_path}/secret\n")
    (tmp_path / "worker/link.yml").symlink_to(tmp_path / "secret")
    for name in ("environment.yml", "link.yml"):
        with pytest.raises(WorkerError) as failure:
            wanted_content({**OPTIONS, "file": str(tmp_path / "worker" / name)}, check=False)
        assert failure.value.code in ("requirements_outside", "invalid_option")
        assert "secret-word" not in str(failure.value)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "empty_environment"),
        ({"python_version": "3.1"}, "invalid_option"),
        ({"python_version": "3.10", "requirements": ["requirements.txt"]}, "invalid_option"),
        ({"file": "/no/such/environment.yml"}, "invalid_option"),
        ({"file": "environment.yml"}, "invalid_option"),
        ({"pip": ["./here"]}, "unsupported_requirement"),
        ({"python_version": "3.10", "channels": ["defaults"]}, "channel_refused"),
    ],
)
def test_bad_contents_are_refused(options: dict[str, t.Any], code: str) -> None:
    with pytest.raises(WorkerError) as failure:
        wanted_content({**OPTIONS, **options}, check=True)
    assert failure.value.code == code
    assert failure.value.remedy
