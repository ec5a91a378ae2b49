# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds what only the controller knows: the worker directory, who this run is, and whether the holder of a lease is dead."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.plugin_utils.run_identity import is_dead, this_run
from ansible_collections.ew_ai.worker.plugins.plugin_utils.source import inspect_source

MODULE = "ew_ai.worker.worker_preflight"


class ActionModule(ActionBase):
    """Runs the module; a second time only to take over the lease of a run that died on this controller."""

    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """The module's result, with ``run`` where a lease was asked for and ``started_at`` (epoch seconds)."""
        result = super().run(tmp, task_vars)
        started_at = time.time()
        arguments = dict(self._task.args)
        lease = this_run(str(arguments.pop("verb", "deploy")))
        arguments["lease"] = lease
        # The host has no use for these, and an address in them may hold a password.
        source, requirements_file, ignore = arguments.pop("source", None), arguments.pop("requirements_file", "requirements.txt"), arguments.pop("ignore", None)
        if source is not None:
            arguments["controller_findings"] = inspect_source(str(source), str(requirements_file), list(ignore or [])).findings()
        found = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        holder = found.get("holder")
        if found.get("code") == "leased" and isinstance(holder, dict) and is_dead(holder):
            arguments["over_from"] = holder["run"]
            found = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        taken = {"run": lease["run"]} if found.get("lease") else {}
        return {**result, **found, **taken, "started_at": started_at}
