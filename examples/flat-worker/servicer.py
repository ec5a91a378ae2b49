# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The calls of inference.proto, kept short: this worker stands for those written before the collection."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import grpc

from . import inference_pb2 as pb2
from . import inference_pb2_grpc as pb2_grpc
from .model import LABELS, Model, clouds


class InferenceService(pb2_grpc.InferenceServiceServicer):
    """Serves one model that lives in memory only."""

    def __init__(self) -> None:
        self._model = Model()
        self._training = threading.Lock()
        self._origin = pb2.Origin(
            generation=os.environ.get("EW_GENERATION", ""),
            instance=os.environ.get("EW_INSTANCE", ""),
            release=os.environ.get("EW_RELEASE", ""),
            pid=os.getpid(),
            code_version="flat-1",
        )

    def Infer(self, request: pb2.InferRequest, context: grpc.ServicerContext) -> pb2.InferResponse:
        if len(request.features) != 2:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "features must be two numbers")
        found = self._model.probabilities(*request.features)
        return pb2.InferResponse(
            label=LABELS[found.index(max(found))],
            probabilities=found,
            trained_epochs=self._model.epochs,
            origin=self._origin,
        )

    def InferStream(self, request: pb2.InferStreamRequest, context: grpc.ServicerContext) -> Iterator[pb2.InferResponse]:
        for index, one in enumerate(list(request.inputs) * (request.repeat or 1)):
            time.sleep(request.interval_ms / 1000 if index else 0)
            answer = self.Infer(one, context)
            answer.index = index
            yield answer

    def Train(self, request: pb2.TrainRequest, context: grpc.ServicerContext) -> Iterator[pb2.TrainProgress]:
        points, epochs = clouds(), request.epochs or 20
        with self._training:
            for epoch in range(epochs + 1):
                if epoch:
                    self._model.train_epoch(points, request.learning_rate or 0.1)
                if epoch % (request.report_every or max(1, epochs // 10)) == 0 or epoch == epochs:
                    loss, accuracy = self._model.evaluate(points)
                    yield pb2.TrainProgress(epoch=epoch, epochs=epochs, loss=loss, accuracy=accuracy, origin=self._origin)
