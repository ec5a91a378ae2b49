# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Softmax regression in plain Python; learns to tell three clouds of points apart."""

from __future__ import annotations

import math
import random

LABELS = ("red", "green", "blue")
CENTRES = ((-0.6, -0.4), (0.6, -0.4), (0.0, 0.7))


def clouds(per_label: int = 40) -> list[tuple[float, float, int]]:
    """(x, y, index into LABELS) of points around the centres, the same in every process."""
    chance = random.Random(7)
    return [(chance.gauss(x, 0.25), chance.gauss(y, 0.25), label) for label, (x, y) in enumerate(CENTRES) for _each in range(per_label)]


class Model:
    """Weights of one linear score per label, changed in place by training."""

    def __init__(self) -> None:
        self.rows = [[0.0, 0.0, 0.0] for _label in LABELS]
        self.epochs = 0

    def probabilities(self, x: float, y: float) -> list[float]:
        scores = [row[0] * x + row[1] * y + row[2] for row in self.rows]
        grown = [math.exp(score - max(scores)) for score in scores]
        return [part / sum(grown) for part in grown]

    def evaluate(self, points: list[tuple[float, float, int]]) -> tuple[float, float]:
        """Mean cross entropy and accuracy."""
        found = [(self.probabilities(x, y), label) for x, y, label in points]
        loss = -sum(math.log(each[label] + 1e-12) for each, label in found) / len(found)
        return loss, sum(each.index(max(each)) == label for each, label in found) / len(found)

    def train_epoch(self, points: list[tuple[float, float, int]], rate: float) -> None:
        for x, y, label in points:
            for index, part in enumerate(self.probabilities(x, y)):
                step = rate * (part - (index == label))
                row = self.rows[index]
                row[0], row[1], row[2] = row[0] - step * x, row[1] - step * y, row[2] - step
        self.epochs += 1
