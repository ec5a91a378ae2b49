# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Channels, specs and versions as users write them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import (
    Secret,
    check_channels,
    check_packages,
    check_python_version,
    credentials,
    python_spec,
    spec_name,
    strip_credentials,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

CHANNELS: list[tuple[list[str], bool, t.Any]] = [
    ([], False, ("conda-forge",)),
    (["conda-forge", "conda-forge"], False, ("conda-forge",)),
    (["nodefaults"], False, ("conda-forge",)),
    (["conda-forge/label/dev", "bioconda"], False, ("conda-forge/label/dev", "bioconda")),
    (["/srv/my channel/"], False, ("file:///srv/my%20channel",)),
    (["https://user:pass@host.example/forge/"], False, ("https://user:pass@host.example/forge",)),
    (["defaults"], False, "channel_refused"),
    (["pkgs/main"], False, "channel_refused"),
    (["https://repo.anaconda.com/pkgs/main"], False, "channel_refused"),
    (["https://conda.anaconda.org/t/token/main"], False, "channel_refused"),
    (["https://conda.anaconda.org/conda-forge"], False, ("https://conda.anaconda.org/conda-forge",)),
    (["defaults"], True, ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")),
    (["./channel"], False, "invalid_option"),
    ([""], False, "invalid_option"),
]


@pytest.mark.parametrize(("channels", "allowed", "expected"), CHANNELS)
def test_channels(channels: list[str], allowed: bool, expected: t.Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(WorkerError) as failure:
            check_channels(channels, allowed)
        assert failure.value.code == expected
        assert failure.value.remedy
        assert "token" not in str(failure.value)
    else:
        assert check_channels(channels, allowed) == expected


@pytest.mark.parametrize(
    ("address", "bare", "secret"),
    [
        ("https://host/x", "https://host/x", None),
        ("https://u:p%40ss@host:8/x", "https://host:8/x", Secret("host", "u", "p@ss")),
        ("https://token@host/x", "https://host/x", Secret("host", "token", "")),
        ("https://u:p@ss@host/x", "https://host/x", Secret("host", "u", "p@ss")),
        ("https://host/t/abc/x", "https://host/x", Secret("host", token="abc")),
        ("conda-forge", "conda-forge", None),
        ("file:///t/x", "file:///t/x", None),
    ],
)
def test_credentials_are_taken_out_of_addresses(address: str, bare: str, secret: t.Optional[Secret]) -> None:
    assert strip_credentials(address) == bare
    assert credentials(address) == secret


@pytest.mark.parametrize(
    ("version", "spec"),
    [
        ("3", "python 3.*"),
        ("3.10", "python 3.10.*"),
        ("3.10.14", "python ==3.10.14"),
        ("3.10.*", "python 3.10.*"),
        (">=3.10,<3.12", "python >=3.10,<3.12"),
        (" 3.12 ", "python 3.12.*"),
    ],
)
def test_python_versions(version: str, spec: str) -> None:
    checked = check_python_version(version)
    assert checked is not None
    assert python_spec(checked) == spec


@pytest.mark.parametrize("version", [None, "", "  "])
def test_no_python_version(version: t.Optional[str]) -> None:
    assert check_python_version(version) is None


@pytest.mark.parametrize(("version", "hint"), [("3.1", '"3.10"'), ("3.2", '"3.20"'), ("latest", '"3.10"'), ("=>3.10", '"3.10"'), ("3.10; rm", '"3.10"')])
def test_bad_python_versions_are_refused_with_a_hint(version: str, hint: str) -> None:
    with pytest.raises(WorkerError) as failure:
        check_python_version(version)
    assert failure.value.code == "invalid_option"
    assert "python_version" in str(failure.value)
    assert hint in failure.value.remedy


def test_packages_are_a_set() -> None:
    assert check_packages(["numpy  >=1.26,<2", "pip", "numpy >=1.26,<2", "conda-forge::zlib"]) == ("conda-forge::zlib", "numpy >=1.26,<2", "pip")


@pytest.mark.parametrize("spec", ["python=>3.11", "", "-c evil", "numpy=<2"])
def test_bad_packages_are_refused(spec: str) -> None:
    with pytest.raises(WorkerError, match="packages"):
        check_packages([spec])


@pytest.mark.parametrize(("spec", "name"), [("numpy", "numpy"), ("Python >=3", "python"), ("conda-forge::python=3.11", "python"), ("a-b_c.d==1", "a-b_c.d")])
def test_spec_names(spec: str, name: str) -> None:
    assert spec_name(spec) == name
