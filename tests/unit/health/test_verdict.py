# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what was seen to a verdict."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.health import model, verdict
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Answer, Patience, Probing, Reach, Verdict

PASSED = Reach("http2", connect_ms=1.0)
SILENT = Reach("http2", "silent", "…")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("connection_refused", "refused"),
        ("socket_missing", "refused"),
        ("socket_forbidden", "refused"),
        ("unreachable", "refused"),
        ("name_unresolved", "refused"),
        ("connection_closed", "refused"),
        ("connect_timeout", "timeout"),
        ("silent", "frozen"),
        ("backlog_full", "frozen"),
        ("not_grpc", "unimplemented"),
        ("tls_expired", "tls_error"),
        ("tls_wanted", "tls_error"),
    ],
)
def test_of_a_way_that_ended(code: str, status: str) -> None:
    assert verdict.of_reach(Reach("connect", code, "why")) == Verdict(status, code, "connect", "why")


@pytest.mark.parametrize(
    ("answer", "again", "status", "code"),
    [
        (Answer("", "OK", 1), None, "serving", "serving"),
        (Answer("", "OK", 2), None, "not_serving", "not_serving"),
        (Answer("", "OK", 0), None, "not_serving", "status_unknown"),
        (Answer("", "OK", 3), None, "unknown_service", "unknown_service"),
        (Answer("", "OK", 77), None, "not_serving", "status_unknown"),
        (Answer("", "NOT_FOUND"), None, "unknown_service", "unknown_service"),
        (Answer("", "UNIMPLEMENTED"), None, "unimplemented", "unimplemented"),
        (Answer("", "RESOURCE_EXHAUSTED"), None, "saturated", "saturated"),
        (Answer("", "DEADLINE_EXCEEDED"), PASSED, "saturated", "saturated"),
        (Answer("", "DEADLINE_EXCEEDED"), SILENT, "frozen", "silent"),
        (Answer("", "UNAVAILABLE"), Reach("connect", "connection_refused"), "refused", "connection_refused"),
        (Answer("", "UNAVAILABLE"), Reach("tls", "tls_expired"), "tls_error", "tls_expired"),
        (Answer("", "UNAVAILABLE", details="503"), PASSED, "not_serving", "unavailable"),
        (Answer("", "UNAVAILABLE", details="failed to connect to all addresses; handshake"), PASSED, "tls_error", "connect_failed"),
        (Answer("", "UNAVAILABLE", details="failed to connect to all addresses"), PASSED, "refused", "connect_failed"),
        (Answer("", "UNAUTHENTICATED"), None, "refused", "unauthenticated"),
        (Answer("", "PERMISSION_DENIED"), None, "refused", "permission_denied"),
        (Answer("", "INTERNAL", details="boom"), None, "not_serving", "rpc_error"),
    ],
)
def test_of_an_answer(answer: Answer, again: t.Optional[Reach], status: str, code: str) -> None:
    found = verdict.of_answer(answer, again)
    assert (found.status, found.code) == (status, code)
    assert found.status in model.STATUSES


def test_of_a_call_that_is_late_where_even_an_unknown_one_is() -> None:
    late = Answer("", "DEADLINE_EXCEEDED", ms=2000.0)
    assert (verdict.of_answer(late, PASSED, hangs=True).status, verdict.of_answer(late, PASSED, hangs=True).code) == ("frozen", "hung")
    # Others of the same target may have been answered before it hung.
    assert verdict.of_answer(Answer("", "OK", 1), PASSED, hangs=True).status == "serving"


@pytest.mark.parametrize(
    ("statuses", "wanted", "decides"),
    [
        ("serving", "serving", "serving"),
        ("serving not_serving", "serving", "not_serving"),
        ("serving not_serving saturated", "serving", "saturated"),
        ("not_serving unknown_service serving", "serving", "unknown_service"),
        ("not_serving serving", "not_serving", "serving"),
        ("not_serving not_serving", "not_serving", "not_serving"),
        ("not_serving serving frozen", "not_serving", "frozen"),
    ],
)
def test_of_services(statuses: str, wanted: str, decides: str) -> None:
    each = [Verdict(status, status, "rpc", "", service=f"s{index}") for index, status in enumerate(statuses.split())]
    found = verdict.of_services(each, wanted)
    assert found.status == decides
    assert [status for _service, status in found.services] == statuses.split()


@pytest.mark.parametrize(
    ("status", "code", "wanted", "protocol", "matched"),
    [
        ("serving", "serving", "serving", "grpc", True),
        ("not_serving", "not_serving", "serving", "auto", False),
        ("unimplemented", "unimplemented", "serving", "auto", True),
        ("unimplemented", "unimplemented", "serving", "grpc", False),
        ("unimplemented", "unimplemented", "not_serving", "auto", False),
        ("unimplemented", "not_grpc", "serving", "auto", False),
        ("refused", "connection_refused", "refused", "auto", True),
        ("refused", "socket_missing", "refused", "auto", True),
        ("refused", "unauthenticated", "refused", "auto", False),
        ("refused", "unreachable", "refused", "auto", False),
        ("wrong_owner", "wrong_owner", "refused", "auto", False),
    ],
)
def test_matches(status: str, code: str, wanted: str, protocol: str, matched: bool) -> None:
    assert verdict.matches(Verdict(status, code, "rpc", ""), Patience(wanted=wanted), Probing(protocol=protocol)) is matched


@pytest.mark.parametrize(
    ("status", "method", "protocol", "expected"),
    [
        ("refused", "watch", "auto", True),
        ("not_serving", "watch", "grpc", True),
        ("frozen", "watch", "auto", True),
        ("not_serving", "check", "auto", False),
        ("refused", "auto", "auto", False),
        ("not_serving", "auto", "grpc", False),
        ("refused", "watch", "tcp", False),
        ("saturated", "watch", "auto", False),
        ("unimplemented", "watch", "auto", False),
    ],
)
def test_may_wake(status: str, method: str, protocol: str, expected: bool) -> None:
    assert verdict.may_wake(Verdict(status, status, "rpc", ""), Probing(method=method, protocol=protocol)) is expected


@pytest.mark.parametrize(
    ("answer", "status", "matched", "wanted", "expected"),
    [
        (Answer("", "OK", 1), "not_serving", False, "serving", True),
        (Answer("", "OK", 2), "not_serving", False, "serving", False),
        (Answer("", "OK", 2), "refused", False, "serving", False),
        (Answer("", "OK", 1), "serving", True, "serving", False),
        (Answer("", "OK", 2), "serving", True, "serving", True),
        (Answer("", "OK", 2), "serving", False, "not_serving", True),
        (Answer("", "UNAVAILABLE"), "serving", True, "serving", True),
    ],
)
def test_wakes(answer: Answer, status: str, matched: bool, wanted: str, expected: bool) -> None:
    assert verdict.wakes(answer, Verdict(status, status, "rpc", ""), matched, wanted) is expected
