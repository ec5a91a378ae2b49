# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a real module of the collection in a process of its own, as a host would, over real state."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def run_module(
    name: str,
    args: t.Mapping[str, t.Any],
    check: bool = False,
    diff: bool = True,
    python: str = sys.executable,
    environ: t.Optional[t.Mapping[str, str]] = None,
    timeout: float = 600,
) -> dict[str, t.Any]:
    """The result of ``plugins/modules/<name>.py``, failed ones included (``failed: true``).

    No action plugin runs. python: the interpreter on the "host"; environ: added to this process's variables.
    """
    arguments = {**args, "_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": tempfile.gettempdir()}
    module = collections_path() / "ansible_collections/ew_ai/worker/plugins/modules" / f"{name}.py"
    done = subprocess.run(
        [python, str(module)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(collections_path()), **(environ or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    try:
        return t.cast("dict[str, t.Any]", json.loads(done.stdout))
    except ValueError:
        raise AssertionError(f"{name} wrote no JSON (status {done.returncode}):\n{done.stdout}\n{done.stderr}") from None


@functools.cache
def collections_path() -> pathlib.Path:
    """A directory for ANSIBLE_COLLECTIONS_PATH and PYTHONPATH in which ``ansible_collections/ew_ai/worker`` is this checkout."""
    if CHECKOUT.parts[-3:] == ("ansible_collections", "ew_ai", "worker"):
        return CHECKOUT.parents[2]
    root = pathlib.Path(tempfile.mkdtemp(prefix="collections-"))
    link = root / "ansible_collections/ew_ai/worker"
    link.parent.mkdir(parents=True)
    link.symlink_to(CHECKOUT)
    return root
