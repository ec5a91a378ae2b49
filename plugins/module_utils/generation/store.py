# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The state file and what hangs on it: reading, writing, pruning. Needs nothing of Ansible."""

from __future__ import annotations

import json
import os
import shutil
import typing as t

from ..errors import WorkerError
from ..files import flush_directory, read_json, write_json
from ..layout import Layout
from . import state as states

ORPHAN_AGE = 24 * 3600.0


def load(root: str, name: str) -> states.State:
    """The state of the worker. Raises WorkerError ``newer_state`` for a file that a later version of the collection wrote."""
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


def referenced(root: str, coming: states.State) -> set[str]:
    """Every release and prefix that a generation of any worker below the root names, one worker's state being ``coming``."""
    paths: set[str] = set()
    directory = Layout(root).workers()
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    for state in [coming, *(load(root, name) for name in names if name != coming["worker"])]:
        for record in state["generations"]:
            paths.update((record["release"]["path"], record["environment"]["prefix"]))
    return paths


def prunable(root: str, coming: states.State, dropped: t.Iterable[states.Record], now: float) -> list[str]:
    """What may go: what only the dropped generations named, and releases that no generation ever took up in a day.

    A younger one may belong to a deploy that runs at this moment. coming: the state as it will be; check mode has not written it.
    """
    layout = Layout(root)
    needed = referenced(root, coming)
    candidates = {path for record in dropped for path in (record["release"]["path"], record["environment"]["prefix"])}
    for name in os.listdir(layout.releases) if os.path.isdir(layout.releases) else []:
        path = os.path.join(layout.releases, name)
        if os.path.isdir(path) and now - os.lstat(path).st_ctime > ORPHAN_AGE:
            candidates.add(path)
    inside = (layout.releases + os.sep, layout.envs + os.sep)
    return sorted(path for path in candidates - needed if path.startswith(inside) and os.path.isdir(path))


def remove_tree(path: str) -> None:
    """Remove a directory so that a crash never leaves it half there under its own name."""
    doomed = os.path.join(os.path.dirname(path), f".removed-{os.path.basename(path)}")
    if os.path.lexists(doomed):
        shutil.rmtree(doomed)
    os.rename(path, doomed)
    flush_directory(os.path.dirname(path))
    shutil.rmtree(doomed)
