# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From what was seen to a verdict: pure functions, shared by the module and by whoever watches workers."""

from __future__ import annotations

import dataclasses
import typing as t

from . import codec, model
from .model import Answer, Patience, Probing, Reach, Verdict

_STATUS_OF_REACH = {
    "connect_timeout": model.TIMEOUT,
    "silent": model.FROZEN,
    "backlog_full": model.FROZEN,
    "not_grpc": model.UNIMPLEMENTED,
}

_SERVING_STATUS = {
    codec.SERVING: (model.SERVING, "serving", "SERVING"),
    codec.NOT_SERVING: (model.NOT_SERVING, "not_serving", "NOT_SERVING"),
    codec.UNKNOWN: (model.NOT_SERVING, "status_unknown", "UNKNOWN"),
    codec.SERVICE_UNKNOWN: (model.UNKNOWN_SERVICE, "unknown_service", "SERVICE_UNKNOWN"),
}

_STATUS_OF_CALL = {
    "NOT_FOUND": (model.UNKNOWN_SERVICE, "unknown_service"),
    "UNIMPLEMENTED": (model.UNIMPLEMENTED, "unimplemented"),
    "RESOURCE_EXHAUSTED": (model.SATURATED, "saturated"),
    "UNAUTHENTICATED": (model.REFUSED, "unauthenticated"),
    "PERMISSION_DENIED": (model.REFUSED, "permission_denied"),
    "UNAVAILABLE": (model.NOT_SERVING, "unavailable"),
}


def of_reach(reach: Reach) -> Verdict:
    """The verdict where the way itself ended; for a way that passed, that the port answers."""
    if reach.passed:
        return Verdict(model.SERVING, "connected", reach.phase, "it accepts connections (nothing more was asked)", connect_ms=reach.connect_ms)
    status = model.TLS_ERROR if reach.code.startswith("tls_") else _STATUS_OF_REACH.get(reach.code, model.REFUSED)
    return Verdict(status, reach.code, reach.phase, reach.reason)


def of_answer(answer: Answer, again: t.Optional[Reach], hangs: bool = False) -> Verdict:
    """The verdict on one service.

    again: how far a new connection got after a call that came to nothing; hangs: the server did not even reject an unknown call.
    """
    if answer.code == "OK":
        status, code, word = _SERVING_STATUS.get(answer.serving or 0, (model.NOT_SERVING, "status_unknown", f"the unknown status {answer.serving}"))
        return _verdict(answer, status, code, f"it answered {word}")
    if answer.code in ("DEADLINE_EXCEEDED", "UNAVAILABLE") and again is not None and not again.passed:
        return dataclasses.replace(of_reach(again), service=answer.service)
    if answer.code == "DEADLINE_EXCEEDED" and hangs:
        reason = f"connected, but within {answer.ms / 1000:.1f} s neither the health call nor an unknown one was answered: it hangs"
        return _verdict(answer, model.FROZEN, "hung", reason)
    if answer.code == "DEADLINE_EXCEEDED":
        reason = f"connected, but no answer to the health call within {answer.ms / 1000:.1f} s: every thread is busy"
        return _verdict(answer, model.SATURATED, "saturated", reason)
    if "failed to connect to all addresses" in answer.details:
        return _verdict(answer, model.TLS_ERROR if "handshake" in answer.details.lower() else model.REFUSED, "connect_failed", answer.details)
    status, code = _STATUS_OF_CALL.get(answer.code, (model.NOT_SERVING, "rpc_error"))
    return _verdict(answer, status, code, f"the health call was answered with {answer.code}" + (f" ({answer.details})" if answer.details else ""))


def of_services(verdicts: t.Sequence[Verdict], wanted: str) -> Verdict:
    """One verdict for all services of a target: the worst of those that are not what is waited for, if there is one."""
    others = [each for each in verdicts if each.status != wanted]
    chosen = min(others or verdicts, key=lambda each: model.STATUSES.index(each.status))
    return dataclasses.replace(chosen, services=tuple((each.service, each.status) for each in verdicts))


def matches(verdict: Verdict, patience: Patience, probing: Probing) -> bool:
    """Whether the verdict is what is waited for.

    With protocol auto a worker without a health service counts as serving: its port answers gRPC, more cannot be known.
    """
    if patience.wanted == model.REFUSED:
        return verdict.code in model.NOBODY_LISTENS
    if verdict.status == patience.wanted:
        return True
    return patience.wanted == model.SERVING and probing.protocol == "auto" and verdict.code == "unimplemented"


def may_wake(verdict: Verdict, probing: Probing) -> bool:
    """Whether an open Watch can tell of a change sooner than the next probe; a Watch says nothing true of a busy server.

    Only where a Watch was asked for: one that ends while the status is set locks Python's own health service up for good (grpc/grpc#43403).
    """
    return probing.method == "watch" and probing.protocol != "tcp" and verdict.status not in (model.SATURATED, model.UNIMPLEMENTED, model.TLS_ERROR)


def wakes(answer: Answer, verdict: Verdict, matched: bool, wanted: str) -> bool:
    """Whether this word of a Watch is worth a new probe: it is what is waited for, or no longer is."""
    if answer.code != "OK":
        return True
    status = of_answer(answer, None).status
    return status != verdict.status if matched else status == wanted


def _verdict(answer: Answer, status: str, code: str, reason: str) -> Verdict:
    return Verdict(status, code, "rpc", reason, service=answer.service, rpc_ms=answer.ms)
