# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client that goes on calling ``Infer`` while something fails, as a gateway would: it knows all instances of a worker."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import threading
import time
import typing as t

import grpc

from tests.integration.example_worker_kit import POINT, pb2_grpc
from tests.shared import wait_until

BETWEEN = 0.05  # seconds from one round of calls to the next
PATIENCE = 20.0  # seconds that an answer may take on a busy machine


@dataclasses.dataclass
class Calls:
    """answered: rounds in which somebody answered, with the versions of the code that did; missed: addresses that did not, round by round.

    lost: rounds in which nobody answered.
    """

    answered: int = 0
    versions: set[str] = dataclasses.field(default_factory=set)
    missed: list[str] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def calling(addresses: t.Sequence[str]) -> collections.abc.Iterator[Calls]:
    """Call all instances in turn while the block runs; it begins with a round that was answered, and ends with one."""
    calls, end = Calls(), threading.Event()
    with contextlib.ExitStack() as stack:
        channels = {each: stack.enter_context(grpc.insecure_channel(each, options=[("grpc.enable_http_proxy", 0)])) for each in addresses}
        stubs = {each: pb2_grpc.InferenceServiceStub(channel) for each, channel in channels.items()}  # type: ignore[no-untyped-call]

        def go_on() -> None:
            while not end.is_set():
                _round(stubs, calls)
                time.sleep(BETWEEN)

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            wait_until(lambda: calls.answered, "somebody answers")
            yield calls
            last = calls.answered
            wait_until(lambda: calls.answered > last, "somebody answers in the end")
        finally:
            end.set()
            thread.join()


def _round(stubs: t.Mapping[str, t.Any], calls: Calls) -> None:
    """One call to each; a client moves on to the next instance where one does not answer."""
    problems = []
    for address, stub in stubs.items():
        try:
            answer = stub.Infer(POINT, timeout=PATIENCE, wait_for_ready=False)
        except grpc.RpcError as error:
            problems.append(f"{address}: {error.code().name} {error.details()}")
            continue
        calls.versions.add(answer.origin.code_version)
    if len(problems) == len(stubs):
        calls.lost.append("; ".join(problems))
    else:
        calls.answered += 1
        calls.missed += problems
