# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callers that call Infer over and over while a playbook works: who answered, in what order, and for how long nobody did."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
import types
import typing as t

import grpc
from worker import inference_pb2, inference_pb2_grpc

TIMEOUT = 5.0  # seconds of a call
PACE = 0.02  # seconds between two calls
# A caller in earnest asks again soon; what grpc waits by default would count as a gap of ours.
BACKOFF = [(f"grpc.{name}_reconnect_backoff_ms", 50) for name in ("min", "initial", "max")]
OPTIONS = [*BACKOFF, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]

Place = tuple[str, int]  # host, port


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where an answer came from."""

    version: str
    generation: str
    release: str
    instance: str
    pid: int


@dataclasses.dataclass
class Seen:
    """What one caller saw of one instance. origins: without repetitions, in order; answered: times of the answers."""

    origins: list[Origin] = dataclasses.field(default_factory=list)
    answered: list[float] = dataclasses.field(default_factory=list)
    lost: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def see(self, origin: Origin) -> None:
        """Note an answer."""
        self.answered.append(time.monotonic())
        if not self.origins or self.origins[-1] != origin:
            self.origins.append(origin)

    @property
    def versions(self) -> list[str]:
        """The versions of the code that answered, in order: ``["1", "2"]`` where it moved once."""
        return [origin.version for origin in self.origins]


class Load:
    """A caller for each instance of each address, as long as the block lasts."""

    def __init__(self, addresses: t.Mapping[str, str], ports: t.Sequence[int]) -> None:
        self.seen: dict[Place, Seen] = {(host, port): Seen() for host in addresses for port in ports}
        self._over = threading.Event()
        self._callers = [threading.Thread(target=self._call, args=(f"{addresses[host]}:{port}", seen)) for (host, port), seen in self.seen.items()]
        self._time = (0.0, 0.0)

    def __enter__(self) -> Load:
        self._time = (time.monotonic(), 0.0)
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_error: t.Union[type[BaseException], BaseException, types.TracebackType, None]) -> None:
        self._time = (self._time[0], time.monotonic())
        self._over.set()
        for caller in self._callers:
            caller.join()

    def answers(self) -> int:
        """How many calls were answered."""
        return sum(len(seen.answered) for seen in self.seen.values())

    def gap(self, *places: Place) -> float:
        """The longest time, in seconds, in which none of these instances answered; from the beginning to the end of the block."""
        times = sorted(time for place in places for time in self.seen[place].answered if time <= self._time[1])
        return max(after - before for before, after in zip([self._time[0], *times], [*times, self._time[1]]))

    def _call(self, address: str, seen: Seen) -> None:
        with grpc.insecure_channel(address, options=OPTIONS) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            while not self._over.wait(PACE):
                try:
                    origin = stub.Infer(inference_pb2.InferRequest(features=[0.3, -0.4]), timeout=TIMEOUT).origin
                except grpc.RpcError as error:
                    seen.lost[error.code().name] += 1
                else:
                    seen.see(Origin(origin.code_version, origin.generation, origin.release, origin.instance, origin.pid))
