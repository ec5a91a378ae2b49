# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The frame of every action plugin of the collection: one place where errors become results and where time is measured."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError


def run_action(work: t.Callable[[], dict[str, t.Any]], empty: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The result of ``work``, with the keys of ``empty`` where it has none, and ``elapsed`` (seconds).

    A WorkerError or OSError becomes a failed result; whatever else Ansible raises (an unreachable host) is left to it.
    """
    start = time.monotonic()
    result: dict[str, t.Any] = {"changed": False, "actions": [], "diff": {"before": {}, "after": {}}, **empty}
    try:
        result.update(work())
    except WorkerError as error:
        result.update(error.as_result(), failed=True)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        remedy = "Look at it on the controller, then run the same command again."
        result.update(failed=True, code="os_error", msg=f"The controller's operating system refused: {error.strerror or error}{where}.", remedy=remedy)
    result["elapsed"] = round(time.monotonic() - start, 3)
    return result
