# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real gRPC server with switches, run as a process of its own: ``python grpc_server.py --address 127.0.0.1:0 …``.

Prints ``ready <port>`` once it listens and, with ``--health tell``, ``asked`` for each Check that was answered and ``watched``
for each Watch that begins.
Takes lines on standard input: ``set <service> <STATUS>``; the empty service is ``-``.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pathlib
import select
import subprocess
import sys
import threading
import time
import typing as t
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

PATIENCE = 60.0  # seconds


class Running:
    """The server's process, as tests hold it."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.pid = process.pid
        self.address = address
        self._held: list[t.Any] = []

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def when(self, word: str, act: t.Callable[[], None], times: int = 1) -> threading.Thread:
        """Do it once the server has said so as many times: "asked" or "watched" (it runs with ``--health tell``)."""

        def work() -> None:
            assert self.process.stdout is not None
            said = (line for line in self.process.stdout if line == f"{word}\n")
            assert len(list(itertools.islice(said, times))) == times, f"the server ended before it was {word}"
            act()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def hold(self, calls: int = 1) -> grpc.Channel:
        """Occupy that many of its threads; closing the channel lets them go."""
        channel = grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])
        # A call is cancelled once nobody refers to it.
        self._held += [channel.unary_unary("/test.Test/Hold").future(b"") for _call in range(calls)]
        assert self.process.stdout is not None
        for _call in range(calls):
            assert self.process.stdout.readline() == "holding\n"
        return channel


@contextlib.contextmanager
def serve(*switches: str, address: str = "127.0.0.1:0", wait: bool = True) -> t.Iterator[Running]:
    """Run the server for the block. wait: until it listens; its address then has the real port."""
    argv = [sys.executable, __file__, "--address", address, *switches]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "GRPC_VERBOSITY": "NONE"})
    try:
        if wait:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], PATIENCE)[0], "the server did not start"
            port = process.stdout.readline().split()[1]
            if not address.startswith("unix:"):
                address = f"{address.rsplit(':', 1)[0]}:{port}"
        yield Running(process, address)
    finally:
        process.kill()
        process.communicate()


class Hold(grpc.GenericRpcHandler):
    """``/test.Test/Hold`` keeps its thread until the caller is gone."""

    def service(self, details: grpc.HandlerCallDetails) -> t.Optional[grpc.RpcMethodHandler]:
        if details.method != "/test.Test/Hold":
            return None
        return grpc.unary_unary_rpc_method_handler(self._hold)

    def _hold(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        print("holding", flush=True)
        while context.is_active():
            time.sleep(0.05)
        return b""


class Telling(health.HealthServicer):
    """Says when it is watched, and when it was asked: once the call has ended, so that nothing that follows can still change the answer."""

    def Check(self, request: t.Any, context: grpc.ServicerContext) -> t.Any:
        context.add_callback(lambda: print("asked", flush=True))
        return super().Check(request, context)

    def Watch(self, request: t.Any, context: grpc.ServicerContext, send_response_callback: t.Any = None) -> t.Any:
        print("watched", flush=True)
        return super().Watch(request, context, send_response_callback)


class Picky(health.HealthServicer):
    """Wants a token."""

    def Check(self, request: t.Any, context: grpc.ServicerContext) -> t.Any:
        if dict(context.invocation_metadata()).get("authorization") != "Bearer sesame-4711":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "token missing")
        return super().Check(request, context)


class CheckOnly(health_pb2_grpc.HealthServicer):
    """Knows Check and no Watch."""

    def Check(self, request: t.Any, context: grpc.ServicerContext) -> t.Any:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.NOT_SERVING)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--listen-after", type=float, default=0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--status", action="append", default=[], metavar="SERVICE=STATUS")
    parser.add_argument("--health", choices=["yes", "no", "token", "check-only", "tell"], default="yes")
    parser.add_argument("--share", action="store_true", help="SO_REUSEPORT")
    parser.add_argument("--child", action="store_true", help="listen in a child process")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--client-authority")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.child and os.fork():
        os.wait()
        return
    time.sleep(options.listen_after)
    server = grpc.server(futures.ThreadPoolExecutor(options.threads), options=[("grpc.so_reuseport", int(options.share))])
    servicer: t.Any = {"yes": health.HealthServicer, "token": Picky, "check-only": CheckOnly, "tell": Telling, "no": object}[options.health]()
    for pair in options.status:
        set_status(servicer, *pair.split("="))
    if options.health != "no":
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers((Hold(),))
    if options.certificate:
        key, certificate = (pathlib.Path(path).read_bytes() for path in (options.key, options.certificate))
        authority = pathlib.Path(options.client_authority).read_bytes() if options.client_authority else None
        credentials = grpc.ssl_server_credentials([(key, certificate)], authority, authority is not None)
        port = server.add_secure_port(options.address, credentials)
    else:
        port = server.add_insecure_port(options.address)
    server.start()
    print("ready", port, flush=True)
    threading.Thread(target=server.wait_for_termination, daemon=True).start()
    for line in sys.stdin:
        set_status(servicer, *line.split()[1:])
    server.stop(0).wait()


def set_status(servicer: t.Any, service: str, status: str) -> None:
    servicer.set("" if service == "-" else service, health_pb2.HealthCheckResponse.ServingStatus.Value(status))


if __name__ == "__main__":
    main()
