# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who may listen: rows as /proc tells them, against one expected process."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.health import owner
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Address
from ansible_collections.ew_ai.worker.plugins.module_utils.sockets import Listener

EXPECTED, CHILD, PARENT, OTHER = 10, 11, 9, 50


def row(pid: int | None, inode: int, uid: int = 1000) -> Listener:
    return Listener("127.0.0.1", 50051, uid, inode, pid, f"command{pid}")


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ([row(EXPECTED, 1)], "", ""),
        ([row(CHILD, 1)], "", ""),
        ([row(EXPECTED, 1), row(CHILD, 1)], "", ""),
        # One socket handed down by a launcher is no second owner.
        ([row(PARENT, 1), row(EXPECTED, 1)], "", ""),
        ([row(EXPECTED, 1), row(CHILD, 2)], "", ""),
        ([row(OTHER, 1)], "wrong_owner", "pid 50 (command50)"),
        ([row(PARENT, 1)], "wrong_owner", "pid 9"),
        ([row(EXPECTED, 1), row(OTHER, 2)], "shared_port", "pid 50"),
        ([row(None, 1)], "owner_hidden", "root"),
        ([row(None, 1, uid=7)], "wrong_owner", "user id 7"),
        ([row(EXPECTED, 1), row(None, 2, uid=7)], "shared_port", "user id 7"),
        ([], "owner_elsewhere", "no process"),
    ],
)
def test_judge_owner(rows: list[Listener], code: str, words: str) -> None:
    found = owner.judge_owner(rows, EXPECTED, 1000, {EXPECTED, CHILD}.__contains__)
    assert found.code == code
    assert words in found.reason
    assert bool(found) is (code == "")


def test_a_watchman_sees_the_end() -> None:
    process = subprocess.Popen(["sleep", "60"])
    watchman = owner.Watchman(process.pid, owner.Ports(set()))
    assert not watchman.gone()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert watchman.gone(), "a zombie is gone"
    process.wait()
    assert watchman.gone()
    assert owner.Watchman(process.pid, owner.Ports(set())).gone()


def test_a_later_process_with_the_same_pid_is_another() -> None:
    watchman = owner.Watchman(os.getpid(), owner.Ports(set()))
    watchman._start_ticks = 1  # as if this process had started right after boot
    assert watchman.gone()


def test_parents_are_followed_up_to_the_expected_one() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        assert owner.Watchman(os.getpid(), owner.Ports(set())).related(process.pid)
        assert not owner.Watchman(process.pid, owner.Ports(set())).related(os.getpid())
    finally:
        process.kill()
        process.wait()


def test_the_kernel_may_not_tell_who_is_behind_a_unix_socket() -> None:
    assert owner.Watchman(os.getpid(), owner.Ports(set())).owns(Address("", 0, "/run/x"), None).code == "owner_hidden"


def test_one_look_serves_many_but_a_no_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary that is stood in for: the kernel's table of sockets, so that looks at it can be counted."""
    looks: list[object] = []
    monkeypatch.setattr(owner, "listeners", lambda ports: looks.append(ports) or [row(os.getpid(), 1)])
    watchman = owner.Watchman(os.getpid(), owner.Ports({50051}, keep=60))
    for _try in range(5):
        assert watchman.owns(Address("127.0.0.1", 50051), None)
    assert len(looks) == 1
    assert watchman.owns(Address("127.0.0.2", 50051), None).code == "owner_elsewhere"
    assert len(looks) == 2
