# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read about a target."""

from __future__ import annotations

import re

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.health import words
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Address, Change, Outcome, Patience, Probing, Target, Verdict


def outcome(verdict: Verdict, healthy: bool = False, path: str = "", pid: int | None = 77) -> Outcome:
    address = Address("", 0, path) if path else Address("127.0.0.1", 50051)
    return Outcome(Target("ew-worker@0", address, expect_pid=pid), verdict, healthy, 30, 58.04, (Change(0, verdict.status),))


def test_a_failure_says_what_was_tried_what_came_back_and_what_to_do() -> None:
    bad = outcome(Verdict("not_serving", "not_serving", "rpc", "it answered NOT_SERVING", service="ew.v1.Inference"))
    error = words.failure([bad], Patience(), Probing())
    assert error.message == (
        "ew-worker@0 (127.0.0.1:50051): wanted serving, found not_serving after 30 probes in 58.0 s (protocol auto, method auto); "
        "the last one ended in phase rpc: service 'ew.v1.Inference': it answered NOT_SERVING."
    )
    assert error.code == "not_serving"
    assert error.remedy.startswith("See what the worker wrote last")


def test_many_failures_are_cut_short() -> None:
    bad = outcome(Verdict("refused", "connection_refused", "connect", "refused"))
    error = words.failure([bad] * 8 + [outcome(Verdict("serving", "serving", "rpc", ""), True)], Patience(), Probing())
    assert error.message.startswith("8 of 9 targets are not serving: ")
    assert error.message.count("ew-worker@0") == 5
    assert "and 3 more (see targets)" in error.message
    assert error.remedy.count("raise attempts") == 1


@pytest.mark.parametrize("path", ["", "/run/w.sock"])
@pytest.mark.parametrize("code", [*sorted(words._REMEDIES), "tls_failed", "connect_failed"])
def test_every_remedy_is_filled_in(code: str, path: str) -> None:
    status = "tls_error" if code.startswith("tls_") else "refused"
    text = words.remedy(outcome(Verdict(status, code, "rpc", ""), path=path))
    assert text
    assert not re.search(r"\{(?!authorization)", text)
    if path:
        assert "sport" not in text


def test_credentials_in_what_came_back_are_masked() -> None:
    bad = outcome(Verdict("refused", "connect_failed", "rpc", "proxy http://user:geheim@host refused"))
    assert "geheim" not in str(words.failure([bad], Patience(), Probing()))
    assert "geheim" not in str(words.as_result(bad, Patience(), Probing()))


@pytest.mark.parametrize(("pid", "proof"), [(77, "belongs to the expected process"), (None, "something on its port answers gRPC")])
def test_the_warning_about_a_missing_health_service(pid: int | None, proof: str) -> None:
    text = words.warning(outcome(Verdict("unimplemented", "unimplemented", "rpc", ""), True, pid=pid))
    assert proof in text
    assert "has no health service" in text


def test_other_warnings_are_of_healthy_targets_only() -> None:
    hidden = Verdict("serving", "serving", "rpc", "", warning="who listens is hidden")
    assert "who listens is hidden" in words.warning(outcome(hidden, True))
    assert words.warning(outcome(hidden, False)) == ""
    assert words.warning(outcome(Verdict("serving", "serving", "rpc", ""), True)) == ""
