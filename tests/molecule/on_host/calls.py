# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls a worker on the host over and over until it is ended by SIGTERM, then prints as JSON how many calls were answered and
lost, and which processes answered: ``PYTHONPATH=<release> <environment>/bin/python calls.py ADDRESS``.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

import grpc
from worker import inference_pb2, inference_pb2_grpc

PACE = 0.02  # seconds between two calls


def main() -> None:
    """Call until the end."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_signal: over.set())
    answered, lost, pids = 0, 0, []
    with grpc.insecure_channel(sys.argv[1]) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        while not over.wait(PACE):
            try:
                pid = stub.Infer(inference_pb2.InferRequest(features=[0.3, -0.4]), timeout=5).origin.pid
            except grpc.RpcError:
                lost += 1
                continue
            answered += 1
            if pid not in pids:
                pids.append(pid)
    json.dump({"answered": answered, "lost": lost, "pids": pids}, sys.stdout)


main()
