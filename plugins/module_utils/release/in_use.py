# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who still needs a release: processes and generations. Needs nothing of Ansible."""

from __future__ import annotations

import os
import typing as t

from ..errors import WorkerError
from ..files import read_json
from ..layout import Layout
from ..processes import users_of


def generations_with(layout: Layout, release: str) -> list[str]:
    """The state files below the root in which the release stands. Raises WorkerError ``broken_file``."""
    path = os.path.join(layout.releases, release)
    names = {release, path, os.path.relpath(path, layout.root)}
    try:
        workers = sorted(os.listdir(layout.workers()))
    except FileNotFoundError:
        return []
    states = [layout.worker(worker).state for worker in workers]
    return [state for state in states if not names.isdisjoint(_words(read_json(state)))]


def _words(data: t.Any) -> t.Iterator[str]:
    """Every text in the data: whoever names the release counts, whatever the record looks like."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from _words(value)
    elif isinstance(data, list):
        for value in data:
            yield from _words(value)


def refuse_in_use(layout: Layout, release: str) -> None:
    """Raise WorkerError ``in_use`` that names who needs the release."""
    states = generations_with(layout, release)
    if states:
        raise WorkerError(
            "in_use",
            f"Release {release} belongs to a generation in {', '.join(states)}.",
            "Remove that generation first (worker_generation), or let a deploy prune it.",
        )
    processes = users_of(os.path.join(layout.releases, release))
    if processes:
        names = "; ".join(f"pid {pid} ({command[:200]})" for pid, command in processes[:5])
        raise WorkerError("in_use", f"Release {release} is in use by {names}.", "Stop these processes first.", processes=[pid for pid, command in processes])
