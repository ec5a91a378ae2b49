# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The example's model really learns, and its weights survive on disk or are refused with a reason."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from worker import checkpoint, model


def test_training_lowers_the_loss_and_is_the_same_every_time() -> None:
    points, labels = model.spirals()
    before = model.evaluate(model.fresh(), points, labels)
    losses = []
    for _run in range(2):
        *_rest, last = itertools.islice(model.train(model.fresh(), points, labels, 0.1), 200)
        losses.append(last.loss)
        assert last.accuracy > 0.95 > before.accuracy
        assert last.weights.epochs == 200
    assert losses[0] == losses[1] < 0.2 < 1.0 < before.loss


def test_a_step_follows_the_measured_slope() -> None:
    points, labels = model.spirals()
    weights, small = model.fresh(), 1e-6
    (after,) = itertools.islice(model.train(weights, points, labels, 1.0), 1)
    base = model.evaluate(weights, points, labels).loss
    for row, column in ((0, 0), (1, 7), (0, 47)):
        w1 = weights.w1.copy()
        w1[row, column] += small
        measured = (model.evaluate(model.Weights(w1, weights.b1, weights.w2, weights.b2), points, labels).loss - base) / small
        taken = weights.w1[row, column] - after.weights.w1[row, column]
        assert taken == pytest.approx(measured, abs=1e-5)


def test_probabilities_are_finite_and_sum_to_one_for_any_point() -> None:
    found = model.probabilities(model.fresh(), np.array([[0.0, 0.0], [1e6, -1e6], [-1e300, 1e300]]))
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"STATE_DIRECTORY": ""}, None),
        ({"STATE_DIRECTORY": "/var/lib/a"}, "/var/lib/a/model.npz"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/model.npz"),
        ({"STATE_DIRECTORY": "/var/lib/a", "EW_STATE_DIR": "/srv/state"}, "/srv/state/model.npz"),
        ({"EW_STATE_DIR": "/srv/state", "EW_INSTANCE": "0"}, "/srv/state/model-0.npz"),
        ({"EW_STATE_DIR": "/srv/state", "EW_INSTANCE": "../b c"}, "/srv/state/model-.._b_c.npz"),
    ],
)
def test_checkpoint_path(environ: dict[str, str], expected: str | None) -> None:
    found = checkpoint.path_from(environ)
    assert (found and str(found)) == expected


def test_checkpoint_is_read_back_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "made by save" / "model.npz"
    assert checkpoint.load(path) is None
    points, labels = model.spirals()
    *_rest, last = itertools.islice(model.train(model.fresh(), points, labels, 0.1), 3)
    for epoch in (model.evaluate(model.fresh(), points, labels), last):
        checkpoint.save(path, epoch.weights)
        found = checkpoint.load(path)
        assert found is not None
        assert found.epochs == epoch.weights.epochs
        assert model.evaluate(found, points, labels).loss == epoch.loss
    assert [each.name for each in path.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize("content", [b"", b"not numpy's", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_broken_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(checkpoint.CheckpointError, match=str(path)):
        checkpoint.load(path)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"w1": np.zeros((2, 48))}, "b1"),
        ({"w1": np.zeros(3), "b1": np.zeros(48), "w2": np.zeros((48, 3)), "b2": np.zeros(3), "epochs": 1}, "w1 has shape"),
        ({"w1": np.array([{}]), "b1": np.zeros(48), "w2": np.zeros((48, 3)), "b2": np.zeros(3), "epochs": 1}, "pickle"),
    ],
)
def test_checkpoint_of_another_model_is_refused(tmp_path: Path, arrays: dict[str, object], reason: str) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(checkpoint.CheckpointError, match=reason):
        checkpoint.load(path)


def test_checkpoint_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(checkpoint.CheckpointError, match=r"cannot write the checkpoint .*file/model\.npz"):
        checkpoint.save(tmp_path / "file" / "model.npz", model.fresh())
