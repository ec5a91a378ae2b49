# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and paths that are refused before anything is made of them, by every module alike."""

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import names
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight
from tools.checkout import CHECKOUT


@pytest.mark.parametrize("name", ["", ".", "..", "../w", "a/b", "/etc", "-x", "A", "a b", "a\n", "a.b", "%i", "é", "$(id)", "x" * 65])
def test_bad_names(name: str) -> None:
    with pytest.raises(OptionError, match="worker_name"):
        names.check_name("worker_name", name)


@pytest.mark.parametrize(
    "root",
    [
        "",
        "/",
        "/etc",
        "/var/",
        "/usr/local",
        "opt",
        "~/w",
        "/opt/../etc",
        "/opt//w",
        "/opt/./w",
        "/opt/a b",
        "/a:b",
        "/a'b",
        "/a\\b",
        "/a$b",
        "/a*",
        "/a[1]",
        "/a\n",
    ],
)
def test_bad_roots(root: str) -> None:
    with pytest.raises(OptionError, match="worker_root"):
        names.check_root("worker_root", root)


def test_files_that_can_be_none(tmp_path: pathlib.Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "loop", tmp_path / ("x" * 300), "/dev/null", "a\0b"):
        with pytest.raises(OptionError, match="file"):
            names.check_file("file", str(path))
    # Whoever reads it says what is missing.
    for path in (tmp_path / "absent", __file__, pathlib.Path(__file__) / "below"):
        assert names.check_file("file", str(path)) == str(path)


def test_good_ones() -> None:
    assert [names.check_name("name", name) for name in ("0", "ew-worker", "a_1", "x" * 64)] == ["0", "ew-worker", "a_1", "x" * 64]
    assert [names.check_root("root", root) for root in ("/opt/ew_ai_worker", "/opt/w/", "/srv/ü%i")] == ["/opt/ew_ai_worker", "/opt/w", "/srv/ü%i"]


@pytest.mark.parametrize(
    ("instances", "ports", "words"),
    [
        (["0", "1"], [1, 65535], []),
        ([], [], ["No instance is wanted"]),
        (["0", "0"], [1, 2], ["the name '0'"]),
        (["0", "1"], [7, 7], ["port 7"]),
        (["0", "../1"], [0, 65536], ["worker_instances.name", "port 0"]),
    ],
)
def test_instances(instances: list[str], ports: list[int], words: list[str]) -> None:
    found = preflight.check_instances(instances, ports)
    assert len(found) == len(words)
    assert all(word in each.msg and each.remedy for word, each in zip(words, found, strict=True))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_root_that_others_could_exchange_is_unsafe(tmp_path: pathlib.Path) -> None:
    top, root = tmp_path / "top", tmp_path / "top/middle/root"
    root.mkdir(parents=True)
    assert preflight.check_owners(str(root)) == []
    top.chmod(0o1777)
    assert preflight.check_owners(str(root)) == []
    cases = [(root, 0o775), (root, 0o1777), (root.parent, 0o777)]
    for path, mode in cases:
        path.chmod(mode)
        assert [str(path) in each.msg for each in preflight.check_owners(str(root))] == [True]
        path.chmod(0o755)
    os.chown(root.parent, 65534, 65534)
    assert [each.check for each in preflight.check_owners(str(root))] == ["unsafe_root"]
    link = tmp_path / "link"
    link.symlink_to(root)
    assert [each.check for each in preflight.check_owners(str(link / "new"))] == ["unsafe_root"]


@pytest.mark.parametrize(
    ("count", "message"),
    [(preflight.MOST_INSTANCES, "An instance has the port 65536."), (preflight.MOST_INSTANCES + 1, "More than 1000 instances are wanted (worker_count,")],
)
def test_a_count_with_hundreds_of_wrong_ports_makes_one_finding(count: int, message: str) -> None:
    (found,) = preflight.check_instances([str(number) for number in range(count)], range(65_000, 65_000 + count))
    assert found.msg.startswith(message)
    assert "worker_count" in found.remedy


def test_the_role_makes_no_more_instances_than_can_be_refused() -> None:
    text = (CHECKOUT / "roles/worker/tasks/begin.yml").read_text(encoding="utf-8")
    assert f"[worker_count | int, {preflight.MOST_INSTANCES + 1}] | min" in text
