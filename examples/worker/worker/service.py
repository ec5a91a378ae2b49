# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The calls: what `inference.proto` promises, with every bad argument answered by INVALID_ARGUMENT and its reason."""

from __future__ import annotations

import itertools
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np

from worker import checkpoint, model
from worker import inference_pb2 as pb2
from worker import inference_pb2_grpc as pb2_grpc

NAME = pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name

DEFAULT_EPOCHS = 200
DEFAULT_RATE = 0.1
MOST_EPOCHS = 1_000_000
MOST_RATE = 2.0
MOST_RESPONSES = 1_000_000
MOST_INTERVAL_MS = 60_000

log = logging.getLogger(__name__)


class Calls:
    """Counts the calls that run now, so that a stop can wait for the last of them to clean up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.running = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._changed:
            self.running += 1
        try:
            yield
        finally:
            with self._changed:
                self.running -= 1
                self._changed.notify_all()

    def wait_until_none(self, seconds: float) -> bool:
        """Whether no call ran before `seconds` were over."""
        with self._changed:
            return self._changed.wait_for(lambda: self.running == 0, seconds)


class InferenceService(pb2_grpc.InferenceServiceServicer):
    """Serves one model; `load` must have returned before calls are answered."""

    def __init__(self, origin: pb2.Origin, path: Path | None) -> None:
        self.calls = Calls()
        self._origin = origin
        self._path = path
        self._weights: model.Weights | None = None
        self._training = threading.Lock()

    def load(self) -> None:
        """Take the checkpoint where there is a good one, else an untrained model. A bad one is moved aside and told."""
        self._weights = self._stored() or model.fresh()
        where = self._path or "memory only (neither EW_STATE_DIR nor STATE_DIRECTORY is set)"
        log.info("model loaded: trained for %d epochs, kept in %s", self._weights.epochs, where)

    def _stored(self) -> model.Weights | None:
        if self._path is None:
            return None
        try:
            return checkpoint.load(self._path)
        except checkpoint.CheckpointError as error:
            log.warning("%s; starting untrained", error)
        try:
            aside = self._path.with_name(self._path.name + ".bad")
            self._path.replace(aside)
            log.warning("the unusable checkpoint is kept as %s", aside)
        except OSError as error:
            log.warning("the unusable checkpoint stays where it is: %s", error)
        return None

    def Infer(self, request: pb2.InferRequest, context: grpc.ServicerContext) -> pb2.InferResponse:
        with self.calls.one():
            return self._infer(request, 0, context)

    def InferStream(self, request: pb2.InferStreamRequest, context: grpc.ServicerContext) -> Iterator[pb2.InferResponse]:
        with self.calls.one():
            ended = _ended(context)
            rounds = request.repeat or 1
            if rounds * len(request.inputs) > MOST_RESPONSES:
                _refuse(context, f"repeat x inputs is over {MOST_RESPONSES}")
            if request.interval_ms > MOST_INTERVAL_MS:
                _refuse(context, f"interval_ms is {request.interval_ms}: at most {MOST_INTERVAL_MS}")
            inputs = itertools.chain.from_iterable(itertools.repeat(request.inputs, rounds))
            for index, one in enumerate(inputs):
                if index and ended.wait(request.interval_ms / 1000):
                    return
                yield self._infer(one, index, context)

    def Train(self, request: pb2.TrainRequest, context: grpc.ServicerContext) -> Iterator[pb2.TrainProgress]:
        with self.calls.one():
            epochs = request.epochs or DEFAULT_EPOCHS
            rate = request.learning_rate or DEFAULT_RATE
            if epochs > MOST_EPOCHS:
                _refuse(context, f"epochs is {epochs}: at most {MOST_EPOCHS}")
            if not 0 < rate <= MOST_RATE:
                _refuse(context, f"learning_rate is {rate}: over 0 and at most {MOST_RATE}")
            if not self._training.acquire(blocking=False):
                context.abort(grpc.StatusCode.ABORTED, "a training is running already; call again when it is over")
            try:
                yield from self._train(epochs, rate, request.report_every or max(1, epochs // 10), context)
            finally:
                self._training.release()

    def _train(self, epochs: int, rate: float, every: int, context: grpc.ServicerContext) -> Iterator[pb2.TrainProgress]:
        ended = _ended(context)
        points, labels = model.spirals()
        now = model.evaluate(self._ready(context), points, labels)
        yield self._progress(0, epochs, now, saved=False)
        done = 0
        try:
            passes = itertools.islice(model.train(now.weights, points, labels, rate), epochs)
            for done, now in enumerate(passes, 1):
                if ended.is_set():
                    return
                if done % every == 0 and done < epochs:
                    self._weights = now.weights
                    yield self._progress(done, epochs, now, saved=False)
        finally:
            # Also when the caller left or the worker stops: what was learnt stays learnt.
            self._weights = now.weights
            saved = self._save(now.weights)
            log.info("trained %d of %d epochs: loss %.4f, accuracy %.3f", done, epochs, now.loss, now.accuracy)
        yield self._progress(done, epochs, now, saved)

    def _save(self, weights: model.Weights) -> bool:
        if self._path is None:
            return False
        try:
            checkpoint.save(self._path, weights)
        except checkpoint.CheckpointError as error:
            log.warning("%s; the weights stay in memory", error)
            return False
        return True

    def _infer(self, request: pb2.InferRequest, index: int, context: grpc.ServicerContext) -> pb2.InferResponse:
        weights = self._ready(context)
        found = model.probabilities(weights, np.array([_checked(request.features, context)]))[0]
        return pb2.InferResponse(
            label=model.LABELS[int(found.argmax())],
            probabilities=found.tolist(),
            trained_epochs=weights.epochs,
            index=index,
            origin=self._origin,
        )

    def _progress(self, done: int, epochs: int, now: model.Epoch, saved: bool) -> pb2.TrainProgress:
        return pb2.TrainProgress(epoch=done, epochs=epochs, loss=now.loss, accuracy=now.accuracy, saved=saved, origin=self._origin)

    def _ready(self, context: grpc.ServicerContext) -> model.Weights:
        if self._weights is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the model is still loading; wait until the service is SERVING")
        assert self._weights is not None  # abort raises
        return self._weights


def _checked(features: Sequence[float], context: grpc.ServicerContext) -> list[float]:
    if len(features) != model.FEATURES:
        _refuse(context, f"features has {len(features)} numbers: exactly {model.FEATURES} are wanted")
    if not all(math.isfinite(value) for value in features):
        _refuse(context, f"features is {list(features)}: every number must be finite")
    return list(features)


def _refuse(context: grpc.ServicerContext, reason: str) -> None:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)


def _ended(context: grpc.ServicerContext) -> threading.Event:
    """Set when the call is over for its caller: finished, given up, or cut off by a stop."""
    ended = threading.Event()
    if not context.add_callback(ended.set):
        ended.set()
    return ended
