# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Run the worker from the directory above, of which it is the package `worker`: ``python -m worker.main --port 50051``.

It takes a port and nothing else, listens on every address, has no health service, and SIGTERM ends it at once.
"""

from __future__ import annotations

import argparse
from concurrent import futures

import grpc

from . import inference_pb2_grpc as pb2_grpc
from .servicer import InferenceService


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.main", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=50051)
    port = parser.parse_args().port
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    pb2_grpc.add_InferenceServiceServicer_to_server(InferenceService(), server)  # type: ignore[no-untyped-call]
    bound = listen(server, port)
    server.start()
    print(f"worker started on port {bound}", flush=True)
    server.wait_for_termination()


def listen(server: grpc.Server, port: int) -> int:
    """On every address; the second is for machines without IPv6."""
    for address in (f"[::]:{port}", f"0.0.0.0:{port}"):
        try:
            bound: int = server.add_insecure_port(address)
        except RuntimeError:
            continue
        if bound:
            return bound
    raise SystemExit(f"cannot listen on port {port}")


if __name__ == "__main__":
    main()
