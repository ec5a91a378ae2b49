# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The work of ew_worker_info. Needs nothing of Ansible."""

from __future__ import annotations

import os
import typing as t

from . import options, rows
from .choose import choose, info_params


def inform(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Every instance of the worker as found, and the last ``logs`` lines of each."""
    layout = options.worker_layout(params)
    supervisor = choose(info_params(params), layout)
    found = supervisor.found()
    supervisor.check_ours(found)
    names = options.chosen(params, sorted(found))
    lines = {name: supervisor.log_tail(name, params["logs"]) for name in names} if params["logs"] else {}
    return {
        "supervisor": supervisor.kind,
        "scope": "system" if os.geteuid() == 0 else "user",
        "instances": [rows.row(layout, supervisor, found[name], changed=False) for name in names],
        "logs": {name: [{"time": each.time, "line": each.line} for each in each_lines] for name, each_lines in lines.items()},
    }
