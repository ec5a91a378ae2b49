# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pinned requirements, and what an interpreter already has of them."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import sys

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import toolchain_pins
from ansible_collections.ew_ai.worker.plugins.module_utils.host.toolchain_pins import Pin

CHECKOUT = pathlib.Path(__file__).resolve().parents[3]
OURS = (CHECKOUT / "roles/worker/files/toolchain.txt").read_text(encoding="utf-8")
HASH = "--hash=sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "pins"),
    [
        (f"psutil==7.2.2 {HASH}", [Pin("psutil", "7.2.2", "")]),
        (f"# head\n\nPy_Rattler==0.28.0 \\\n    {HASH} \\\n    {HASH}\n    # via nothing\n", [Pin("py-rattler", "0.28.0", "")]),
        (
            f"a==1 ; python_full_version < '3.10' \\\r\n    {HASH}\na==2 ; python_full_version >= '3.10' {HASH}",
            [Pin("a", "1", "python_full_version < '3.10'"), Pin("a", "2", "python_full_version >= '3.10'")],
        ),
        (f"a[x,y] == 1.0.post1+cpu {HASH}", [Pin("a", "1.0.post1+cpu", "")]),
    ],
)
def test_what_is_read(text: str, pins: list[Pin]) -> None:
    assert toolchain_pins.parse_pins(text) == pins


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "psutil",
        "psutil>=5",
        f"psutil>=5 {HASH}",
        "psutil==7.2.2",
        "psutil==7.2.2 ; sys_platform == 'x'",
        "-r other.txt",
        f"--index-url https://user:geheim@host/\npsutil==1 {HASH}",
        f"-e git+https://host/x {HASH}",
        f"psutil==1 {HASH} --index-url=x",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        toolchain_pins.parse_pins(text)
    assert caught.value.details["option"] == "requirements"
    assert caught.value.remedy


def test_our_own_file_is_whole_and_names_no_host() -> None:
    pins = toolchain_pins.parse_pins(OURS)
    assert {pin.name for pin in pins} == set(toolchain_pins.MINIMUM)
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", OURS)
    for pin in pins:
        assert toolchain_pins.satisfied([pin], {pin.name: toolchain_pins.MINIMUM[pin.name]}), "older than what the modules were written for"
        assert toolchain_pins._numbers(pin.version) >= toolchain_pins._numbers(toolchain_pins.MINIMUM[pin.name])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"grpcio": "1.80.1", "custom": "2.0"}, True),
        ({"grpcio": "1.60.0", "custom": "2.0"}, True),
        ({"grpcio": "2.0.0rc1", "custom": "2.0"}, True),
        ({"grpcio": "1.59.9", "custom": "2.0"}, False),
        ({"grpcio": "1.80.1", "custom": "2.1"}, False),
        ({"grpcio": "1.80.1", "custom": "3.0"}, True),
        ({"grpcio": "1.80.1"}, False),
        ({}, False),
    ],
)
def test_satisfied(found: dict[str, str], expected: bool) -> None:
    pins = [Pin("grpcio", "1.80.1", ""), Pin("custom", "2.0", "python_version < '3.10'"), Pin("custom", "3.0", "python_version >= '3.10'")]
    assert toolchain_pins.satisfied(pins, found) is expected


def test_installed_is_what_the_library_says() -> None:
    expected: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        expected.setdefault(toolchain_pins.normalised(each.metadata["Name"]), each.version)
    found = toolchain_pins.installed(sys.path)
    assert found["pytest"] == expected["pytest"]
    assert {name: found.get(name) for name in expected if found.get(name) != expected[name]} == {}


def test_distributions_of_a_system(tmp_path: pathlib.Path) -> None:
    for name in ("psutil-5.9.4.egg-info", "PyYAML-6.0.dist-info", "zope.interface-5-py3.11.egg-info", "x.dist-info", "y-1.pth", "psutil"):
        (tmp_path / name).mkdir()
    later = tmp_path / "psutil"
    (later / "psutil-7.0.dist-info").mkdir()
    assert toolchain_pins.installed([str(tmp_path), str(later), "/nonexistent"]) == {"psutil": "5.9.4", "pyyaml": "6.0", "zope-interface": "5"}
