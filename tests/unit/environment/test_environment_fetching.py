# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the library's packages come over a network, for an environment and for a bundle: cut off, and not allowed at all."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import CreateRequest
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.locked import LockedPackage
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.rattler_backend import RattlerBackend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.rattler_child import ATTEMPTS
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.progress import silent
from tests.integration.local_packages import index_channel, served, write_conda_package

PACKAGE = "plain-1.0-0.tar.bz2"
FETCHES: dict[str, t.Callable[[CreateRequest], t.Any]] = {
    "for an environment": lambda request: RattlerBackend().create(request, silent),
    "for a bundle": lambda request: RattlerBackend().archive(request, silent),
}
each_fetch = pytest.mark.parametrize("fetch", FETCHES.values(), ids=FETCHES.keys())


@pytest.fixture
def channel(tmp_path: pathlib.Path) -> pathlib.Path:
    write_conda_package(tmp_path / "channel", "plain", {"share/plain": "text\n" * 1000}, ["share/plain"])
    # Offline, a platform's index that was not there the last time is one that is not cached.
    (tmp_path / "channel/linux-64").mkdir()
    return index_channel(tmp_path / "channel")


def request(top: pathlib.Path, place: str, offline: bool = False, **changes: t.Any) -> CreateRequest:
    """For the one package there is, with directories of its own each time but for the cache."""
    for name in ("cache", "archives"):
        (top / name).mkdir(exist_ok=True)
    number = len(list(top.glob("prefix-*")))
    (top / f"prefix-{number}").mkdir()
    (top / f"scratch-{number}").mkdir()
    paths = {"prefix": f"prefix-{number}", "scratch": f"scratch-{number}", "cache": "cache", "archives": "archives"}
    options: dict[str, t.Any] = {"specs": ("plain",), "channels": (f"http://{place}",), "platform": "linux-64", "offline": offline, "timeout": 60.0}
    return CreateRequest(**{**{name: str(top / path) for name, path in paths.items()}, **options, **changes})


def locked(channel: pathlib.Path, place: str) -> dict[str, t.Any]:
    """The same package by a lock."""
    sha256 = hashlib.sha256((channel / "noarch" / PACKAGE).read_bytes()).hexdigest()
    return {"specs": (), "channels": (), "locked": (LockedPackage(f"http://{place}/noarch/{PACKAGE}", sha256=sha256),)}


@each_fetch
@pytest.mark.parametrize("by_lock", [False, True], ids=["solved", "locked"])
def test_a_stream_that_breaks_is_begun_anew(tmp_path: pathlib.Path, channel: pathlib.Path, fetch: t.Callable[[CreateRequest], t.Any], by_lock: bool) -> None:
    asked: list[str] = []
    with served(channel, asked=asked, breaks=1) as place:
        fetch(request(tmp_path, place, **(locked(channel, place) if by_lock else {})))
    assert asked.count(f"/noarch/{PACKAGE}") == 2
    assert [path for path in tmp_path.rglob("*.part*") if path.parent.name == "noarch"] == []


@each_fetch
def test_one_that_breaks_each_time_is_told_by_its_address(tmp_path: pathlib.Path, channel: pathlib.Path, fetch: t.Callable[[CreateRequest], t.Any]) -> None:
    asked: list[str] = []
    with served(channel, asked=asked, breaks=99) as place, pytest.raises(WorkerError) as failed:
        fetch(request(tmp_path, place))
    assert (failed.value.code, f"http://{place}/noarch/{PACKAGE}" in failed.value.message) == ("channel_unreachable", True), failed.value.message
    assert asked.count(f"/noarch/{PACKAGE}") == ATTEMPTS


@each_fetch
def test_offline_fetches_nothing(tmp_path: pathlib.Path, channel: pathlib.Path, fetch: t.Callable[[CreateRequest], t.Any]) -> None:
    """Neither what was never fetched nor, of a package, what is not there any more; what is there serves."""
    asked: list[str] = []
    with served(channel, asked=asked) as place:
        with pytest.raises(WorkerError, match="offline") as failed:
            fetch(request(tmp_path, place, offline=True, **locked(channel, place)))
        assert (failed.value.code, asked) == ("channel_unreachable", [])
        fetch(request(tmp_path, place))
        asked.clear()
        fetch(request(tmp_path, place, offline=True))
        fetch(request(tmp_path, place, offline=True, **locked(channel, place)))
        assert asked == []
