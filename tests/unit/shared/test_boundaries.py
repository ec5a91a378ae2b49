# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who can have a module killed at a boundary, and who cannot."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import boundaries

NAME = "a.boundary"


def outcome(name: str) -> int:
    """How a process ends that comes by the boundary: 0, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        boundaries.boundary(name)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(name="order")
def _order(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    path = tmp_path / "order"
    path.write_text(f"{NAME}\n")
    path.chmod(0o600)
    monkeypatch.setenv(boundaries.VARIABLE, str(path))
    return path


def test_it_is_killed_once(order: pathlib.Path) -> None:
    assert outcome("another.boundary") == 0
    assert outcome(NAME) == -signal.SIGKILL
    assert not order.exists()
    assert outcome(NAME) == 0


def test_without_the_variable_nothing_happens(order: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(boundaries.VARIABLE)
    assert outcome(NAME) == 0
    assert order.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o700])
def test_an_order_with_another_mode_is_none(order: pathlib.Path, mode: int) -> None:
    order.chmod(mode)
    assert outcome(NAME) == 0


def _link(order: pathlib.Path) -> None:
    order.rename(order.with_name("elsewhere"))
    order.symlink_to("elsewhere")


def _pipe(order: pathlib.Path) -> None:
    order.unlink()
    os.mkfifo(order, 0o600)


def _directory(order: pathlib.Path) -> None:
    order.unlink()
    order.mkdir(0o600)


def _gone(order: pathlib.Path) -> None:
    order.unlink()


def _binary(order: pathlib.Path) -> None:
    order.write_bytes(os.urandom(500))


@pytest.mark.parametrize("change", [_link, _pipe, _directory, _gone, _binary])
def test_what_is_no_file_with_the_name_in_it_is_no_order(order: pathlib.Path, change: t.Callable[[pathlib.Path], None]) -> None:
    change(order)
    assert outcome(NAME) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another account")
def test_the_file_of_another_account_is_no_order(order: pathlib.Path) -> None:
    os.chown(order, 65534, 65534)
    assert outcome(NAME) == 0
    assert order.exists()
