# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The work of ew_worker_info. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..bounds import at_least
from ..files import read_json
from ..layout import WorkerLayout
from ..redact import MASK
from . import options, rows
from .choose import choose, info_params


def inform(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Every instance of the worker as found, and the last ``logs`` lines of each, without the secrets that are kept for the worker."""
    layout = options.worker_layout(params)
    at_least("logs", params["logs"], 0)
    hidden = sorted(options.masked_values(_kept_secrets(layout)), key=len, reverse=True) if params["logs"] else []
    supervisor = choose(info_params(params), layout)
    found = supervisor.found()
    supervisor.check_ours(found)
    names = options.chosen(params, sorted(found))
    lines = {name: supervisor.log_tail(name, params["logs"]) for name in names} if params["logs"] else {}
    return {
        "supervisor": supervisor.kind,
        "scope": "system" if os.geteuid() == 0 else "user",
        "instances": [rows.row(layout, supervisor, found[name], changed=False) for name in names],
        "logs": {name: [{"time": each.time, "line": _masked(each.line, hidden)} for each in each_lines] for name, each_lines in lines.items()},
    }


def _kept_secrets(layout: WorkerLayout) -> list[t.Any]:
    """The secrets of every generation: a log may well be older than the active one."""
    found: list[t.Any] = []
    # Who may not read them is told no more by the log than the log itself does.
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.secrets):
            if name.endswith(".json"):
                kept = read_json(os.path.join(layout.secrets, name))
                found += kept.values() if isinstance(kept, dict) else []
    return found


def _masked(line: str, hidden: t.Iterable[str]) -> str:
    for value in hidden:
        line = line.replace(value, MASK)
    return line
