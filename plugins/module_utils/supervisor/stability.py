# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether started instances stay up: one main process over a short while, and no restart counted.

That they answer is another matter, health's: a model may take minutes to load.
"""

from __future__ import annotations

import time
import typing as t

from ..errors import WorkerError
from ..run import describe_exit
from .base import Supervisor
from .causes import usual_cause
from .model import Found

WINDOW = 1.0
LIMIT = 30.0
LINES = 20
_POLL = 0.1


def wait(supervisor: Supervisor, names: t.Sequence[str], complaint: str) -> dict[str, Found]:
    """All instances as found once every one of the names has kept its process for WINDOW seconds.

    complaint: what the supervisor said when it was to start them. Raises WorkerError ``start_failed``.
    """
    start = time.monotonic()
    since: dict[str, tuple[t.Optional[int], float]] = {}
    while True:
        now = time.monotonic()
        found = supervisor.found()
        for name in names:
            one = found.get(name, Found(name))
            if has_failed(one) or now - start > LIMIT:
                raise failure(supervisor, one, complaint)
            if name not in since or since[name][0] != one.pid or one.pid is None:
                since[name] = (one.pid, now)
        if all(now - moment >= WINDOW for _pid, moment in since.values()):
            return found
        time.sleep(_POLL)


def has_failed(found: Found) -> bool:
    """Whether the instance ended at least once since its counters were reset."""
    return found.state in ("failed", "stopped", "absent") or found.restarts > 0 or (found.state == "starting" and found.exit_status is not None)


def failure(supervisor: Supervisor, found: Found, complaint: str) -> WorkerError:
    """The error: how it ended, the usual cause, its last lines, and where to read more."""
    unit = f"instance {found.name!r}"
    lines = [row.line for row in supervisor.log_tail(found.name, LINES, since_start=True)]
    how = f"it ended with {describe_exit(found.exit_status)}" if found.exit_status is not None else found.reason or "it has no process"
    cause = usual_cause(found.result, found.exit_status, [*lines, complaint], found.memory_limit)
    said = f" {complaint}" if complaint and not lines else ""
    return WorkerError(
        "start_failed",
        f"The worker's {unit} did not stay up: {how}{f' ({cause})' if cause else ''}.{said}",
        f"Read its log: {supervisor.log_command(found.name)}",
        failed_instance=found.name,
        exit_status=found.exit_status,
        cause=cause,
        log=lines,
    )
