# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is probed, how patiently, and what came of it: the plain data of the health probes."""

from __future__ import annotations

import dataclasses
import typing as t

SERVING = "serving"
NOT_SERVING = "not_serving"
SATURATED = "saturated"
FROZEN = "frozen"
REFUSED = "refused"
UNIMPLEMENTED = "unimplemented"
UNKNOWN_SERVICE = "unknown_service"
WRONG_OWNER = "wrong_owner"
TLS_ERROR = "tls_error"
TIMEOUT = "timeout"

# The worst first: what several services of one target are judged by.
STATUSES = (WRONG_OWNER, TLS_ERROR, REFUSED, TIMEOUT, FROZEN, UNIMPLEMENTED, UNKNOWN_SERVICE, SATURATED, NOT_SERVING, SERVING)

# A statement that a port is free of listeners, apart from other reasons not to get through.
NOBODY_LISTENS = frozenset({"connection_refused", "socket_missing"})


@dataclasses.dataclass(frozen=True)
class Address:
    """``host:port``, or a unix socket where ``path`` is set (then host is empty and port 0)."""

    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclasses.dataclass(frozen=True)
class Tls:
    """PEM contents, not paths. ca is None for the certificate authorities of the system; server_name empty for the host's."""

    ca: t.Optional[bytes] = None
    certificate: t.Optional[bytes] = None
    key: t.Optional[bytes] = None
    certificate_file: str = ""
    key_file: str = ""
    server_name: str = ""


@dataclasses.dataclass(frozen=True)
class Target:
    """One address and the services asked for there. tls is None for plain text; expect_pid None to accept any owner."""

    name: str
    address: Address
    services: tuple[str, ...] = ("",)
    expect_pid: t.Optional[int] = None
    tls: t.Optional[Tls] = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Probing:
    """How one probe is made. method: check, watch or auto; protocol: auto, grpc or tcp; the limits are in seconds."""

    method: str = "auto"
    protocol: str = "auto"
    connect_timeout: float = 2.0
    rpc_timeout: float = 3.0


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for what. attempts: probes that may come back with something else than ``wanted``.

    interval: seconds from one probe's start to the next one's. success_threshold: probes in a row that must match.
    stable_for: seconds that it must stay so.
    """

    wanted: str = SERVING
    attempts: int = 30
    interval: float = 2.0
    success_threshold: int = 1
    stable_for: float = 0.0


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far a connection got without gRPC. code is empty where every phase passed.

    phase: the last one tried: resolve, connect, tls, http2. connect_ms: until the last phase passed.
    peer_pid: who listens on a unix socket.
    """

    phase: str
    code: str = ""
    reason: str = ""
    connect_ms: t.Optional[float] = None
    peer_pid: t.Optional[int] = None

    @property
    def passed(self) -> bool:
        return not self.code


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one call said of one service. code: the gRPC status code's name, ``OK`` with a serving status."""

    service: str
    code: str
    serving: t.Optional[int] = None
    details: str = ""
    ms: float = 0.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What one probe of one target found. status: one of STATUSES; code: finer, stable, for programs.

    service: the one that decided. final: no later probe can find better. warning: said aloud where the verdict is accepted.
    """

    status: str
    code: str
    phase: str
    reason: str
    service: str = ""
    services: tuple[tuple[str, str], ...] = ()
    connect_ms: t.Optional[float] = None
    rpc_ms: t.Optional[float] = None
    final: bool = False
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Change:
    """From ``at_s`` seconds after the start the target had ``status``."""

    at_s: float
    status: str


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the wait for one target ended with."""

    target: Target
    verdict: Verdict
    healthy: bool
    attempts: int
    elapsed: float
    history: tuple[Change, ...]
    # Seconds since the epoch
    decided_at: float = 0.0
