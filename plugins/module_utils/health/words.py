# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What people read: one line a target, what was tried, what came back, and what to do next."""

from __future__ import annotations

import datetime
import typing as t

from ..errors import WorkerError
from ..redact import redact
from . import model
from .model import Outcome, Patience, Probing, Verdict

_SEE_LISTENER = "See who listens: ss -ltnp 'sport = :{port}'"
_SEE_LOG = "See what the worker wrote last, and whether it is still loading (then raise attempts or interval)."
_FIREWALL = "Check the address, the route and the firewalls between this host and {address}."

_REMEDIES: dict[str, str] = {
    "connection_refused": "See whether the worker runs and what it wrote last; while it loads for longer than this, raise attempts. " + _SEE_LISTENER,
    "socket_missing": "See whether the worker runs and is told to listen on {address}: ls -l {path}",
    "socket_forbidden": "Run the task as a user who may open the socket: ls -l {path}",
    "process_gone": "See what the worker wrote last and with which status it ended; then start it again.",
    "name_unresolved": "Correct the name, or make it known: getent hosts {host}",
    "unreachable": _FIREWALL,
    "connect_timeout": _FIREWALL,
    "connection_closed": "See what listens there, it may be a proxy without a server behind it. " + _SEE_LISTENER,
    "unauthenticated": "Give the credentials that the server wants: secret_metadata: {{authorization: Bearer …}}",
    "permission_denied": "Give credentials that may call grpc.health.v1.Health/Check, or leave that method open on the server.",
    "not_serving": _SEE_LOG,
    "status_unknown": _SEE_LOG,
    "unavailable": _SEE_LOG,
    "rpc_error": "The health service itself fails: see what the worker wrote last.",
    "unknown_service": "Ask for a service that the worker has set a status for, or leave services out to ask for the server as a whole.",
    "unimplemented": "Add grpc.health.v1 to the worker, or accept its port alone with protocol: auto or protocol: tcp.",
    "not_grpc": "Another program than a gRPC server listens there. " + _SEE_LISTENER,
    "saturated": "Do not restart it: it works. Give it more threads, fewer calls, or a longer rpc_timeout. Its stacks: py-spy dump --pid {pid}",
    "silent": "See where it hangs: py-spy dump --pid {pid}; or restart it. " + _SEE_LISTENER,
    "hung": "See where it hangs: py-spy dump --native --pid {pid}; or restart it.",
    "backlog_full": "See where it hangs: py-spy dump --pid {pid}; or restart it.",
    "stopped": "Let it go on: kill -CONT {pid}",
    "wrong_owner": "Stop the other process, or give the worker another port. " + _SEE_LISTENER,
    "shared_port": "Stop the other process, or set the gRPC option grpc.so_reuseport to 0 in both. " + _SEE_LISTENER,
    "owner_elsewhere": "Leave out expect_pid for addresses of other machines, containers and proxies.",
    "tls_expired": "Renew the server's certificate: openssl s_client -connect {address} </dev/null | openssl x509 -noout -dates",
    "tls_not_yet_valid": "Compare the clocks of both sides: date -u",
    "tls_unknown_authority": "Name the authority that signed the server's certificate with tls_ca_file (worker_health_tls.ca).",
    "tls_wrong_name": "Name what the certificate is for with tls_server_name (worker_health_tls.server_name): "
    "openssl s_client -connect {address} </dev/null | openssl x509 -noout -subject -ext subjectAltName",
    "tls_wanted": "Set tls: true (worker_health_tls).",
    "tls_not_spoken": "Set tls: false, or give the server its certificate.",
    "tls_client_certificate_wanted": "Give tls_cert_file and tls_key_file (worker_health_tls.cert and key).",
    "tls_client_certificate_refused": "Give a client certificate in tls_cert_file that the server's authority signed and that is valid now.",
}
_TLS_REMEDY = "Compare: openssl s_client -connect {address} </dev/null"


def remedy(outcome: Outcome) -> str:
    """What to do next about a target that is not as wanted."""
    if outcome.healthy:
        return ""
    verdict, target = outcome.verdict, outcome.target
    fallback = _TLS_REMEDY if verdict.status == model.TLS_ERROR else _SEE_LISTENER
    if target.address.path:
        fallback = "See who listens: ss -lxp src {path}"
    text = _REMEDIES.get(verdict.code, fallback)
    if target.address.path:
        text = text.replace(_SEE_LISTENER, fallback)
    address = target.address
    return text.format(address=address, host=address.host, port=address.port, path=address.path, pid=target.expect_pid or "PID").strip()


def message(outcome: Outcome, patience: Patience, probing: Probing) -> str:
    """One sentence: the target, what was tried, what came back."""
    target, verdict = outcome.target, outcome.verdict
    where = str(target.address) if target.name == str(target.address) else f"{target.name} ({target.address})"
    if outcome.healthy:
        return f"{where} is {verdict.status}: {_came_back(verdict)}"
    tried = f"{outcome.attempts} probe{'s' if outcome.attempts != 1 else ''} in {outcome.elapsed:.1f} s (protocol {probing.protocol}, method {probing.method})"
    return f"{where}: wanted {patience.wanted}, found {verdict.status} after {tried}; the last one ended in phase {verdict.phase}: {_came_back(verdict)}"


def _came_back(verdict: Verdict) -> str:
    return f"service '{verdict.service}': {verdict.reason}" if verdict.service else verdict.reason


def warning(outcome: Outcome) -> str:
    """What must be said aloud although the target is accepted; empty where nothing must."""
    verdict = outcome.verdict
    if not outcome.healthy:
        return ""
    if verdict.code == "unimplemented":
        proof = "its port answers gRPC and belongs to the expected process" if outcome.target.expect_pid else "something on its port answers gRPC"
        return (
            f"{outcome.target.name} ({outcome.target.address}) has no health service (grpc.health.v1): accepted since {proof}. "
            "Whether its model is loaded is not known; add the health service to know it."
        )
    return f"{outcome.target.name} ({outcome.target.address}): {verdict.warning}." if verdict.warning else ""


def as_result(outcome: Outcome, patience: Patience, probing: Probing) -> dict[str, t.Any]:
    """The target's entry in the module's result."""
    verdict = outcome.verdict
    return {
        "name": outcome.target.name,
        "address": str(outcome.target.address),
        "status": verdict.status,
        "code": verdict.code,
        "phase": verdict.phase,
        "message": redact(message(outcome, patience, probing)),
        "remedy": remedy(outcome),
        "services": dict(verdict.services),
        "latency_ms": {"connect": verdict.connect_ms, "rpc": verdict.rpc_ms},
        "attempts": outcome.attempts,
        "elapsed": outcome.elapsed,
        "decided_at": datetime.datetime.fromtimestamp(outcome.decided_at, datetime.timezone.utc).isoformat(timespec="milliseconds"),
        "history": [{"at_s": change.at_s, "status": change.status} for change in outcome.history],
        "healthy": outcome.healthy,
    }


def failure(outcomes: t.Sequence[Outcome], patience: Patience, probing: Probing) -> WorkerError:
    """The error for all targets that are not as wanted: with their common code, or ``unhealthy`` where they differ."""
    bad = [outcome for outcome in outcomes if not outcome.healthy]
    codes = {outcome.verdict.code for outcome in bad}
    sentences = [redact(message(outcome, patience, probing)) for outcome in bad]
    head = f"{len(bad)} of {len(outcomes)} targets are not {patience.wanted}: " if len(outcomes) > 1 else ""
    shown = "; ".join(sentences[:5]) + (f"; and {len(bad) - 5} more (see targets)" if len(bad) > 5 else "")
    remedies = list(dict.fromkeys(remedy(outcome) for outcome in bad))
    return WorkerError(codes.pop() if len(codes) == 1 else "unhealthy", f"{head}{shown}.", " ".join(remedies[:3]))
