# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where the learnt weights survive a restart: one small file per instance in the state directory."""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from worker.model import Weights, fresh


class CheckpointError(Exception):
    """A checkpoint that cannot be read or written; the message names the file and the reason."""


def path_from(environ: Mapping[str, str]) -> Path | None:
    """The checkpoint's path, or None where no state directory is set (the model then lives in memory only).

    ``EW_STATE_DIR`` goes before ``STATE_DIRECTORY``, of which systemd may give several, joined by colons.
    """
    directory = environ.get("EW_STATE_DIR") or environ.get("STATE_DIRECTORY", "").split(":")[0]
    if not directory:
        return None
    instance = re.sub(r"[^A-Za-z0-9._-]", "_", environ.get("EW_INSTANCE", ""))
    return Path(directory) / (f"model-{instance}.npz" if instance else "model.npz")


def load(path: Path) -> Weights | None:
    """The stored weights, or None where there is no file. CheckpointError for a file that is not one of ours."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = Weights(stored["w1"], stored["b1"], stored["w2"], stored["b2"], int(stored["epochs"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    wanted = fresh()
    for name in ("w1", "b1", "w2", "b2"):
        shape, expected = getattr(found, name).shape, getattr(wanted, name).shape
        if shape != expected:
            raise CheckpointError(f"the checkpoint {path} is of another model: {name} has shape {shape}, not {expected}")
    return found


def save(path: Path, weights: Weights) -> None:
    """Write whole or not at all: a reader, or a crash, sees the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as directory:
            new = Path(directory) / path.name
            with new.open("wb") as file:
                np.savez(file, w1=weights.w1, b1=weights.b1, w2=weights.w2, b2=weights.b2, epochs=weights.epochs)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error}") from error
