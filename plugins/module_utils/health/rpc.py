# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The health calls themselves, over one gRPC channel a target. The only file that needs grpcio."""

from __future__ import annotations

import os
import time
import typing as t

from . import codec
from .model import Answer, Target
from .tls import system_authorities

# Read by gRPC when it is loaded: its log lines are none of our output, and nothing here forks with a channel open.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

try:
    import grpc
except ImportError as error:
    GRPC_ERROR: t.Optional[ImportError] = error
else:
    GRPC_ERROR = None


UNKNOWN_METHOD = "/ew_ai.worker.v1.Nobody/Has"


def channel_options(target: Target, connect_timeout: float) -> list[tuple[str, t.Any]]:
    """The channel's settings: quick to notice a server that comes up, no sharing, no proxy.

    ``min_reconnect_backoff`` is also the time that gRPC gives one connection attempt: as short as the other two, and a
    server half a second away would never be reached.
    """
    options: list[tuple[str, t.Any]] = [
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", max(100, int(connect_timeout * 1000))),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
    ]
    if target.tls is not None and target.tls.server_name:
        options.append(("grpc.ssl_target_name_override", target.tls.server_name))
    return options


class Client:
    """Asks one target. Open it late and close it always: a process must not fork while it is open."""

    def __init__(self, target: Target, connect_timeout: float) -> None:
        self._target = target
        options = channel_options(target, connect_timeout)
        if target.tls is None:
            self._channel = grpc.insecure_channel(str(target.address), options=options)
        else:
            tls = target.tls
            authorities = tls.ca if tls.ca is not None else system_authorities()
            credentials = grpc.ssl_channel_credentials(authorities, tls.key, tls.certificate)
            self._channel = grpc.secure_channel(str(target.address), credentials, options=options)
        # Bytes in and out: gRPC would log a traceback for an answer that its own decoder cannot read.
        self._check: t.Any = self._channel.unary_unary(codec.CHECK)
        self._watch: t.Any = self._channel.unary_stream(codec.WATCH)
        self._unknown: t.Any = self._channel.unary_unary(UNKNOWN_METHOD)

    def check(self, timeout: float, wait_for_ready: bool) -> list[Answer]:
        """One Check for each of the target's services, side by side."""
        start = time.monotonic()
        calls = [
            self._check.future(codec.encode_request(service), timeout=timeout, wait_for_ready=wait_for_ready, metadata=self._target.metadata)
            for service in self._target.services
        ]
        return [_answer(service, call.result, start) for service, call in zip(self._target.services, calls)]

    def watch(self, timeout: float, wait_for_ready: bool) -> list[Answer]:
        """The first word of a Watch for each of the target's services, side by side."""
        start = time.monotonic()
        calls = [self._open_watch(service, timeout, wait_for_ready) for service in self._target.services]
        answers = [_answer(service, call.__next__, start) for service, call in zip(self._target.services, calls)]
        for call in calls:
            call.cancel()
        return answers

    def rejects(self, timeout: float) -> bool:
        """Whether it answers a call of a method that no server has. A server rejects that without one of its threads for calls."""
        try:
            self._unknown(b"", timeout=timeout)
        except grpc.RpcError as error:
            return bool(error.code() != grpc.StatusCode.DEADLINE_EXCEEDED)
        return True

    def wait(self, service: str, timeout: float, wake: t.Callable[[Answer], bool]) -> t.Optional[Answer]:
        """Watch the service until an answer for which ``wake`` is true, and return it; None after ``timeout`` seconds.

        A Watch that ends for another reason is answered for as well. While nothing listens, it waits for somebody to.
        """
        start = time.monotonic()
        call = self._open_watch(service, timeout, True)
        try:
            while True:
                answer = _answer(service, call.__next__, start)
                if answer.code == "DEADLINE_EXCEEDED":
                    return None
                if answer.code != "OK" or wake(answer):
                    return answer
        finally:
            call.cancel()

    def close(self) -> None:
        self._channel.close()

    def _open_watch(self, service: str, timeout: float, wait_for_ready: bool) -> t.Any:
        return self._watch(codec.encode_request(service), timeout=timeout, wait_for_ready=wait_for_ready, metadata=self._target.metadata)


def _answer(service: str, take: t.Callable[[], bytes], start: float) -> Answer:
    code, details, serving = "OK", "", None
    try:
        serving = codec.decode_response(take())
    except StopIteration:
        code, details = "UNAVAILABLE", "the server ended the stream"
    except ValueError as error:
        code, details = "INTERNAL", f"its answer is no HealthCheckResponse ({error})"
    except grpc.RpcError as error:
        code, details = error.code().name, error.details() or ""
    return Answer(service, code, serving, details, round((time.monotonic() - start) * 1000, 1))
