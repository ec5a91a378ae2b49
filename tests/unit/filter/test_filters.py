# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From instances to whom to ask, and from answers to whom to call."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.filter.health_targets import endpoints, health_targets


def instance(pid: t.Optional[int] = 7, **values: t.Any) -> dict[str, t.Any]:
    return {"id": "w@0", "name": "0", "ports": [50051], "pid": pid, "state": "running", **values}


@pytest.mark.parametrize(
    ("address", "shown"),
    [("127.0.0.1", "127.0.0.1:50051"), ("0.0.0.0", "127.0.0.1:50051"), ("", "127.0.0.1:50051"), ("::", "[::1]:50051"), ("host", "host:50051")],
)
def test_address_to_dial(address: str, shown: str) -> None:
    assert health_targets([instance()], address, [""]) == [{"name": "w@0", "address": shown, "services": [""], "expect_pid": 7}]


@pytest.mark.parametrize(
    ("pid", "started", "expected"),
    [
        (7, [], 7),
        (None, [], None),
        (8, [{"instances": [instance(7)]}], 7),  # it was started again meanwhile: the first one has ended
        (None, [{"instances": [instance(7)]}], 7),  # it waits to be started again
        (9, [{"instances": [instance(7)]}, {"instances": [instance(9)]}], 9),
        (7, [{"instances": [instance(None)]}, {"changed": False}, {"instances": None}], 7),
        (7, [{"instances": [instance(5, id="w@1")]}], 7),
    ],
)
def test_process_that_must_answer(pid: t.Optional[int], started: list[dict[str, t.Any]], expected: t.Optional[int]) -> None:
    (target,) = health_targets([instance(pid)], "127.0.0.1", [""], started=started)
    assert target.get("expect_pid") == expected


def test_another_host_knows_no_process() -> None:
    (target,) = health_targets([instance()], "10.0.0.1", ["a"], remote=True, started=[{"instances": [instance()]}])
    assert target == {"name": "w@0", "address": "10.0.0.1:50051", "services": ["a"]}


def test_an_instance_without_a_port_cannot_be_asked() -> None:
    assert [target["name"] for target in health_targets([instance(ports=[], id="w@7"), instance()], "127.0.0.1", [""])] == ["w@0"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ({"status": "serving", "healthy": True}, "serving"),
        ({"status": "unimplemented", "healthy": True}, "serving"),
        ({"status": "not_serving", "healthy": False}, "not_serving"),
        (None, "running"),
    ],
)
def test_endpoint_tells_whether_a_call_is_worth_it(target: t.Optional[dict[str, t.Any]], status: str) -> None:
    verified = {"targets": [{"name": "w@0", **target}]} if target else {}
    assert endpoints([instance(), instance(ports=[])], "10.0.0.1", verified) == [{"instance": "w@0", "address": "10.0.0.1", "port": 50051, "status": status}]
