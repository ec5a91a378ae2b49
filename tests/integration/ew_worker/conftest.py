# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the tests of ew_worker run instances."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from tests.hosts import cli
from tests.hosts.obstacle import obstacle
from tests.hosts.spec import Set
from tests.integration.ew_worker.kit import HOSTS, Here, Host, Place, tool


def pytest_itemcollected(item: pytest.Item) -> None:
    """With several processes, one of them runs all that needs hosts: the others would each make a set of their own."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and HOSTS.keys() & {callspec.params.get("place"), callspec.params.get("logins")}:
        item.add_marker(pytest.mark.xdist_group("test-hosts"))


@pytest.fixture(scope="session")
def group() -> t.Iterator[Set]:
    if obstacle():
        pytest.skip(obstacle())
    group = Set(f"ew-worker-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}", cli.CHECKOUT)
    tool("down", "--set", group.name)
    try:
        made = tool("up", "--set", group.name, "--hosts", ",".join(f"{name}={suite}" for name, suite in HOSTS.items()))
        assert made.returncode == 0, made.stderr
        yield group
    finally:
        tool("down", "--set", group.name)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Place]:
    """A place without any instance of the workers ``w`` and ``v``, before and after."""
    if request.param == "supervisord":
        # Short, so that the socket lies below it: the long case has a test of its own.
        os.chmod(tmp_path, 0o755)
        found: Place = Here(tmp_path / "r")
    else:
        found = Host(request.getfixturevalue("group"), request.param)
        found.shell("id ew-worker || useradd --system --shell /usr/sbin/nologin ew-worker")
    try:
        yield found
    finally:
        for name in ("w", "v"):
            left = found.run("absent", name=name)
            assert not left.get("failed"), left
        if request.param != "supervisord":
            found.shell(f"rm -rf {found.root}")
