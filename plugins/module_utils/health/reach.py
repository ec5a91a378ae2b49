# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How far a connection gets without gRPC, which folds every reason into one: name, connection, TLS, HTTP/2.

A process that hangs or is stopped still accepts connections, since the kernel does that; it no longer answers an HTTP/2
preface. A process whose threads are all busy still does.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
import time
import typing as t

from .model import Address, Reach, Target, Tls
from .tls import context_of, explain

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_EMPTY_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS, _GOAWAY = 4, 7
_TLS_ALERT = 0x15


class _Stop(Exception):
    """A phase ended the way."""

    def __init__(self, phase: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.phase, self.code, self.reason = phase, code, reason


def reach(target: Target, timeout: float, http2: bool = True) -> Reach:
    """Connect, shake hands, exchange the first HTTP/2 frames and hang up. timeout: seconds for all of it.

    http2: False ends after the connection (and TLS, where the target has it).
    """
    start = time.monotonic()
    deadline = start + timeout
    peer_pid: t.Optional[int] = None
    phase = "connect"
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(_connect(target.address, deadline))
            peer_pid = _peer_pid(connection, target.address)
            if target.tls is not None:
                phase = "tls"
                connection = stack.enter_context(_handshake(connection, target.address, target.tls, deadline))
            if http2:
                phase = "http2"
                _exchange_settings(connection, target, deadline)
    except _Stop as stop:
        return Reach(stop.phase, stop.code, stop.reason, peer_pid=peer_pid)
    return Reach(phase, connect_ms=round((time.monotonic() - start) * 1000, 1), peer_pid=peer_pid)


def _connect(address: Address, deadline: float) -> socket.socket:
    places: list[tuple[int, t.Any]]
    if address.path:
        places = [(socket.AF_UNIX, address.path)]
    else:
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise _Stop("resolve", "name_unresolved", f"the name {address.host} cannot be resolved: {error}") from None
        places = [(row[0], row[4]) for row in found]
    last: t.Optional[_Stop] = None
    for family, place in places:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            last = _connect_error(error)
    raise last or _Stop("resolve", "name_unresolved", f"the name {address.host} has no address")


def _connect_error(error: OSError) -> _Stop:
    if isinstance(error, (socket.timeout, TimeoutError)):
        return _Stop("connect", "connect_timeout", "no answer to the connection attempt")
    codes = {
        errno.ECONNREFUSED: ("connection_refused", "connection refused: nothing listens there"),
        errno.ENOENT: ("socket_missing", "there is no such socket file"),
        errno.EACCES: ("socket_forbidden", "this user may not open the socket"),
        errno.EPERM: ("unreachable", "a firewall of this machine forbids the connection"),
        # A unix socket does not wait for room: its queue of connections is full, as nobody takes any.
        errno.EAGAIN: ("backlog_full", "its queue of connections is full: the process accepts none"),
        errno.EHOSTUNREACH: ("unreachable", "no route to the host"),
        errno.ENETUNREACH: ("unreachable", "no route to the network"),
    }
    code, reason = codes.get(error.errno or 0, ("connect_failed", f"the connection failed: {error.strerror or error}"))
    return _Stop("connect", code, reason)


def _handshake(connection: socket.socket, address: Address, tls: Tls, deadline: float) -> ssl.SSLSocket:
    try:
        context = context_of(tls)
        connection.settimeout(_left(deadline))
        return context.wrap_socket(connection, server_hostname=tls.server_name or address.host or "localhost")
    except ssl.SSLError as error:
        raise _Stop("tls", *explain(error)) from None
    except (socket.timeout, TimeoutError):
        raise _Stop("tls", "silent", "it accepts connections, then says nothing (no TLS handshake)") from None
    except OSError as error:
        raise _Stop("tls", "tls_handshake_refused", f"the server broke off the TLS handshake: {error.strerror or error}") from None


def _exchange_settings(connection: socket.socket, target: Target, deadline: float) -> None:
    received = b""
    try:
        connection.settimeout(_left(deadline))
        connection.sendall(_PREFACE + _EMPTY_SETTINGS)
        while len(received) < 9:
            connection.settimeout(_left(deadline))
            chunk = connection.recv(4096)
            if not chunk:
                break
            received += chunk
    except ssl.SSLError as error:
        # With TLS 1.3 the server judges our certificate only after the handshake, as we see it, is over.
        raise _Stop("tls", *explain(error)) from None
    except (socket.timeout, TimeoutError):
        if not received:
            raise _Stop("http2", "silent", "it accepts connections, then says nothing") from None
    except OSError:
        received = b""
    _judge_frames(received, target, deadline)


def _judge_frames(received: bytes, target: Target, deadline: float) -> None:
    if len(received) >= 9 and received[3] in (_SETTINGS, _GOAWAY) and received[5:9] == b"\0\0\0\0":
        return
    if not received and target.tls is not None:
        code = "tls_client_certificate_refused" if target.tls.certificate else "tls_client_certificate_wanted"
        raise _Stop("tls", code, "the server closed the connection right after the TLS handshake, as one does that wants another client certificate")
    if target.tls is None and (received[:1] == bytes([_TLS_ALERT]) or (not received and _speaks_tls(target.address, deadline))):
        raise _Stop("tls", "tls_wanted", "the server speaks TLS, the probe did not")
    if not received:
        raise _Stop("http2", "connection_closed", "it closed the connection without an answer")
    raise _Stop("http2", "not_grpc", f"it does not speak HTTP/2: its answer starts with {received[:24]!r}")


def _speaks_tls(address: Address, deadline: float) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with _connect(address, deadline) as connection, context.wrap_socket(connection, server_hostname=address.host or None):
            return True
    except (OSError, _Stop):
        return False


def _peer_pid(connection: socket.socket, address: Address) -> t.Optional[int]:
    if not address.path:
        return None
    # struct ucred of Linux: pid, uid, gid of whoever called listen().
    pid, _uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid) or None


def _left(deadline: float) -> float:
    # Zero would make the socket non-blocking.
    return max(0.001, deadline - time.monotonic())
