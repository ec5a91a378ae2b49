# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a probe puts together what it saw. The network is stood in for: these are moments that no real server holds still for."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.health import probe, rpc
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Address, Answer, Patience, Probing, Reach, Target
from ansible_collections.ew_ai.worker.plugins.module_utils.health.owner import Ownership

TARGET = Target("w", Address("127.0.0.1", 50051))
PASSED = Reach("http2", connect_ms=1.0)
SERVING, UNAVAILABLE = Answer("", "OK", 1), Answer("", "UNAVAILABLE", details="Socket closed")


class Channels:
    """Each new channel answers with the next of the given answers."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.closed = 0

    def __call__(self, target: Target, connect_timeout: float) -> Channels:
        return self

    def check(self, timeout: float, wait_for_ready: bool) -> list[Answer]:
        return [self.answers.pop(0)]

    def rejects(self, timeout: float) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1


class Watchman:
    """Says of the owner what the test wants."""

    pid = 77

    def __init__(self, code: str, gone: t.Sequence[bool] = (False,)) -> None:
        self._code, self._gone = code, list(gone)

    def gone(self) -> bool:
        return self._gone.pop(0) if len(self._gone) > 1 else self._gone[0]

    def stopped(self) -> bool:
        return False

    def owns(self, address: Address, peer_pid: int | None) -> Ownership:
        return Ownership(self._code, "why")


def prober(monkeypatch: pytest.MonkeyPatch, ways: list[Reach], channels: Channels, watchman: Watchman | None = None, wanted: str = "serving") -> probe.Prober:
    monkeypatch.setattr(probe, "reach", lambda *args, **named: ways.pop(0) if len(ways) > 1 else ways[0])
    monkeypatch.setattr(rpc, "Client", channels)
    return probe.Prober(TARGET, Probing(), Patience(wanted=wanted), t.cast("t.Any", watchman))


def test_a_channel_that_believes_the_past_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = Channels(UNAVAILABLE, SERVING)
    assert prober(monkeypatch, [PASSED], channels).probe().status == "serving"
    assert channels.closed == 1


@pytest.mark.parametrize(
    ("again", "status", "code"),
    [
        (PASSED, "not_serving", "unavailable"),
        (Reach("connect", "connection_refused"), "refused", "connection_refused"),
        (Reach("http2", "silent"), "frozen", "silent"),
    ],
)
def test_a_call_that_comes_to_nothing_is_explained_by_a_second_way(monkeypatch: pytest.MonkeyPatch, again: Reach, status: str, code: str) -> None:
    found = prober(monkeypatch, [PASSED, again], Channels(UNAVAILABLE, UNAVAILABLE)).probe()
    assert (found.status, found.code) == (status, code)


def test_grpc_has_the_last_word_on_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = Reach("tls", "tls_wrong_name", "other name")
    assert prober(monkeypatch, [refused], Channels(SERVING)).probe().status == "serving"
    found = prober(monkeypatch, [refused], Channels(UNAVAILABLE)).probe()
    assert (found.status, found.code) == ("tls_error", "tls_wrong_name")


@pytest.mark.parametrize(
    ("way", "owner", "status", "code", "warning"),
    [
        (PASSED, "", "serving", "serving", ""),
        (PASSED, "owner_hidden", "serving", "serving", "why"),
        (PASSED, "owner_elsewhere", "wrong_owner", "owner_elsewhere", ""),
        (Reach("connect", "connect_timeout"), "owner_elsewhere", "timeout", "connect_timeout", ""),
        (Reach("connect", "connect_timeout"), "", "frozen", "backlog_full", ""),
        (Reach("connect", "connection_refused"), "wrong_owner", "refused", "connection_refused", ""),
        (Reach("http2", "silent"), "wrong_owner", "wrong_owner", "wrong_owner", ""),
    ],
)
def test_the_owner_counts(monkeypatch: pytest.MonkeyPatch, way: Reach, owner: str, status: str, code: str, warning: str) -> None:
    found = prober(monkeypatch, [way], Channels(SERVING), Watchman(owner)).probe()
    assert (found.status, found.code, found.warning) == (status, code, warning)


@pytest.mark.parametrize(("wanted", "final"), [("serving", True), ("refused", False)])
def test_a_process_that_ends_during_the_probe_is_no_stolen_port(monkeypatch: pytest.MonkeyPatch, wanted: str, final: bool) -> None:
    gone = [False, True] if wanted == "serving" else [True]
    found = prober(monkeypatch, [PASSED], Channels(SERVING), Watchman("owner_elsewhere", gone), wanted).probe()
    assert (found.status, found.code, found.final) == ("refused", "process_gone", final)


def test_the_end_of_the_process_ends_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = prober(monkeypatch, [Reach("connect", "connection_refused")], Channels(), Watchman("", [False, False, True]))
    verdict = watched.probe()
    monkeypatch.setattr(probe.judge, "may_wake", lambda *args: False)
    watched.pause(3600, verdict, False)
    final = watched.probe()
    assert (verdict.final, final.final, final.code) == (False, True, "process_gone")
