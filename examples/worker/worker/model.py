# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A perceptron with one hidden layer that learns to tell three intertwined spirals apart. Pure functions over numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LABELS = ("red", "green", "blue")
FEATURES = 2
HIDDEN = 48
MOMENTUM = 0.9


@dataclass(frozen=True)
class Weights:
    """One state of the model; never changed in place, so that a reader needs no lock."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array
    epochs: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data left: the new weights, and the loss (mean cross entropy) and accuracy they have."""

    weights: Weights
    loss: float
    accuracy: float


def fresh(seed: int = 1) -> Weights:
    """Untrained weights, the same for the same seed."""
    random = np.random.default_rng(seed)
    return Weights(
        w1=random.normal(0.0, 1.0, (FEATURES, HIDDEN)),
        b1=np.zeros(HIDDEN),
        w2=random.normal(0.0, 0.1, (HIDDEN, len(LABELS))),
        b2=np.zeros(len(LABELS)),
    )


def spirals(per_class: int = 120, seed: int = 7) -> tuple[Array, npt.NDArray[np.int64]]:
    """Points in [-1, 1] of one spiral arm per label, and each point's index into `LABELS`. The same for the same seed."""
    random = np.random.default_rng(seed)
    radius = np.linspace(0.05, 0.95, per_class)
    arms = []
    for label in range(len(LABELS)):
        angle = radius * 4.0 + label * 2.0 * np.pi / len(LABELS) + random.normal(0.0, 0.12, per_class)
        arms.append(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))
    return np.concatenate(arms), np.repeat(np.arange(len(LABELS)), per_class)


def probabilities(weights: Weights, points: Array) -> Array:
    """Shape (points, labels); each row's sum is 1."""
    return _forward(weights, points)[1]


def evaluate(weights: Weights, points: Array, labels: npt.NDArray[np.int64]) -> Epoch:
    """The loss and accuracy of weights as they are."""
    found = probabilities(weights, points)
    right = found[np.arange(len(labels)), labels]
    return Epoch(weights, float(-np.log(right + 1e-12).mean()), float((found.argmax(axis=1) == labels).mean()))


def train(weights: Weights, points: Array, labels: npt.NDArray[np.int64], rate: float) -> Iterator[Epoch]:
    """Gradient descent over the whole data with momentum, one `Epoch` a pass, without end: take as many as wanted."""
    wanted = np.eye(len(LABELS))[labels]
    speed = [np.zeros_like(part) for part in (weights.w1, weights.b1, weights.w2, weights.b2)]
    while True:
        parts = (weights.w1, weights.b1, weights.w2, weights.b2)
        slopes = _slopes(weights, points, wanted)
        speed = [MOMENTUM * old - rate * slope for old, slope in zip(speed, slopes)]
        w1, b1, w2, b2 = (part + step for part, step in zip(parts, speed))
        weights = Weights(w1, b1, w2, b2, weights.epochs + 1)
        yield evaluate(weights, points, labels)


def _forward(weights: Weights, points: Array) -> tuple[Array, Array]:
    hidden = np.tanh(points @ weights.w1 + weights.b1)
    scores = hidden @ weights.w2 + weights.b2
    # Without the shift a large score overflows exp; the quotient is the same.
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, grown / grown.sum(axis=1, keepdims=True)


def _slopes(weights: Weights, points: Array, wanted: Array) -> tuple[Array, Array, Array, Array]:
    hidden, found = _forward(weights, points)
    at_scores = (found - wanted) / len(points)
    at_hidden = (at_scores @ weights.w2.T) * (1.0 - hidden**2)
    return points.T @ at_hidden, at_hidden.sum(axis=0), hidden.T @ at_scores, at_scores.sum(axis=0)
