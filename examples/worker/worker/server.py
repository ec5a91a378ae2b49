# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The gRPC server around the calls: health, one port that is truly ours, and a stop that loses nothing."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

log = logging.getLogger(__name__)


class PortError(Exception):
    """The address cannot be listened on; the message names it, the reason and the remedy."""


class Health(health.HealthServicer):  # type: ignore[misc]  # grpc_health ships no types
    """``""`` tells that the process lives, the service's name that it can answer.

    Watch runs without a thread of the pool, so that it still answers when every thread is held. Its streams never end
    by themselves: without `end_watches` one watcher would make each stop take the whole grace.
    """

    def __init__(self) -> None:
        super().__init__(experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(max_workers=1))
        self._watchers: set[Callable[..., None]] = set()
        self._watchers_lock = threading.Lock()
        self._ending = False

    def Watch(
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.ServicerContext,
        send_response_callback: Callable[..., None] | None = None,
    ) -> object:
        answer = super().Watch(request, context, send_response_callback)
        if send_response_callback is not None:
            with self._watchers_lock:
                self._watchers.add(send_response_callback)
                ending = self._ending
            context.add_callback(lambda: self._forget(send_response_callback))
            if ending:
                send_response_callback(None)
        return answer

    def _forget(self, send_response_callback: Callable[..., None]) -> None:
        with self._watchers_lock:
            self._watchers.discard(send_response_callback)

    def _on_close_callback(self, send_response_callback: Callable[..., None], service: str) -> Callable[[], None]:
        """Off gRPC's own thread, which must go on: who is just telling a watcher that leaves would wait for it, and it for them, forever.

        The library's own way has that deadlock (grpc/grpc#43403).
        """
        forget = super()._on_close_callback(send_response_callback, service)
        return lambda: threading.Thread(target=forget, daemon=True).start()

    def end_watches(self) -> None:
        """Close every watcher's stream; each was told NOT_SERVING before."""
        with self._watchers_lock:
            self._ending = True
            watchers = list(self._watchers)
        for send_response_callback in watchers:
            send_response_callback(None)


class Server:
    """One listening server. `health` is None for a worker without the health service."""

    def __init__(
        self,
        threads: int,
        add_service: Callable[[grpc.Server], None],
        with_health: bool = True,
        interceptors: Sequence[grpc.ServerInterceptor] = (),
    ) -> None:
        self.pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="call")
        # With gRPC's default two workers would share one port without an error, each answering half of the calls.
        self._server = grpc.server(self.pool, interceptors=list(interceptors), options=[("grpc.so_reuseport", 0)])
        add_service(self._server)
        self.health = Health() if with_health else None
        if self.health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)

    def listen(self, bind: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen and answer from now on; the port, also where 0 asked for a free one. PortError where it cannot.

        credentials: of TLS, None for plain text.
        """
        address = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
        try:
            bound: int = self._server.add_secure_port(address, credentials) if credentials else self._server.add_insecure_port(address)
        except RuntimeError:
            bound = 0
        if bound == 0:
            raise PortError(explain_port(bind, port))
        self._server.start()
        return bound

    def set_health(self, service: str, status: int) -> None:
        if self.health is not None:
            self.health.set(service, status)

    def stop(self, drain: float, grace: float) -> bool:
        """Say NOT_SERVING, accept calls for `drain` seconds more, then none; whether all ended within `grace` seconds.

        The drain is part of the grace.
        """
        end = time.monotonic() + grace
        if self.health is not None:
            self.health.enter_graceful_shutdown()
        time.sleep(drain)
        if self.health is not None:
            self.health.end_watches()
        left = max(0.0, end - time.monotonic())
        # gRPC's own end of the grace comes later, so that the caller can tell how many calls it is about to cut off.
        return bool(self._server.stop(left + 60).wait(left))

    def cut_off(self) -> None:
        """Cancel what still runs; returns at once."""
        self._server.stop(0)


def tls(cert: str, key: str, client_ca: str) -> grpc.ServerCredentials | None:
    """The credentials from PEM files, None without a certificate. client_ca: callers must have a certificate of these authorities. OSError."""
    if not cert:
        return None
    pair = (Path(key).read_bytes(), Path(cert).read_bytes())
    return grpc.ssl_server_credentials([pair], Path(client_ca).read_bytes() if client_ca else None, bool(client_ca))


def explain_port(bind: str, port: int) -> str:
    """Why `bind`:`port` cannot be listened on, asked from the system, since gRPC does not tell."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((bind, port))
            probe.listen()
    except OSError as error:
        return f"cannot listen on {bind} port {port}: {_remedy(error)}"
    return f"cannot listen on {bind} port {port}: it was in use a moment ago; start again"


def _remedy(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    remedies = {
        errno.EADDRINUSE: "another process holds it (see: ss -ltnp); stop that one or choose another --port",
        errno.EACCES: "ports below 1024 need rights that this user lacks; choose another --port",
        errno.EADDRNOTAVAIL: "this machine has no such address; choose another --bind",
    }
    return f"{reason}; {remedies[error.errno]}" if error.errno in remedies else reason
