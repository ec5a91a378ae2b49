# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The state file and what hangs on it: reading, writing, pruning. Needs nothing of Ansible."""

from __future__ import annotations

import json
import os
import typing as t

from .. import files
from ..boundaries import boundary
from ..errors import WorkerError
from ..files import flush_directory, read_json, write_json
from ..layout import Layout
from . import state as states

ORPHAN_AGE = 24 * 3600.0


def load(root: str, name: str) -> states.State:
    """The state of the worker. Raises WorkerError ``broken_file``, or ``newer_state`` for a file that a later version of the collection wrote."""
    path = Layout(root).worker(name).state
    data = read_json(path)
    if data is None:
        return states.empty(name)
    if not isinstance(data, dict) or data.get("version") != states.VERSION:
        raise WorkerError(
            "newer_state",
            f"{path} has the version {data.get('version') if isinstance(data, dict) else None!r}; this collection reads version {states.VERSION}.",
            "Use the version of the collection that wrote it, or a later one.",
        )
    if not states.is_state(data):
        raise WorkerError(
            "broken_file", f"{path} is no state of a worker: something is missing in it.", f"Look at it, then move it away: mv {path} {path}.broken"
        )
    return data


def save(root: str, name: str, state: states.State) -> None:
    """Replace the state file."""
    paths = Layout(root).worker(name)
    os.makedirs(paths.home, exist_ok=True)
    write_json(paths.state, state)


def append_log(root: str, name: str, entry: t.Mapping[str, t.Any]) -> None:
    """Add one line to the deploy log."""
    path = Layout(root).worker(name).deploy_log
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, (json.dumps(dict(entry), sort_keys=True, ensure_ascii=False) + "\n").encode())
    finally:
        os.close(descriptor)


def workers(root: str) -> list[str]:
    """The names of the workers that have anything below the root."""
    directory = Layout(root).workers()
    return sorted(name for name in os.listdir(directory) if not name.startswith(".")) if os.path.isdir(directory) else []


def referenced(root: str, coming: states.State) -> set[str]:
    """Every release and prefix that a generation of any worker below the root names, one worker's state being ``coming``."""
    paths: set[str] = set()
    for state in [coming, *(load(root, name) for name in workers(root) if name != coming["worker"])]:
        for record in state["generations"]:
            paths.update((record["release"]["path"], record["environment"]["prefix"]))
    return paths


def unneeded(root: str, coming: states.State, paths: t.Iterable[str]) -> list[str]:
    """Those of the releases and prefixes below the root that exist and that no generation of any worker names.

    coming: the state of one worker as it will be; check mode has not written it. Raises WorkerError where the state of another worker
    cannot be read: then nobody knows what is needed.
    """
    layout = Layout(root)
    there = {path for path in paths if os.path.dirname(path) in (layout.releases, layout.envs) and os.path.isdir(path)}
    return sorted(there - referenced(root, coming))


def remove_tree(path: str) -> None:
    """Remove a directory, and what is left of an earlier removal, so that a crash never leaves it half there under its own name."""
    doomed = os.path.join(os.path.dirname(path), f".removed-{os.path.basename(path)}")
    if os.path.lexists(doomed):
        files.remove_tree(doomed)
    if os.path.lexists(path):
        os.rename(path, doomed)
        flush_directory(os.path.dirname(path))
        boundary("shared.removal.renamed")
        files.remove_tree(doomed)
