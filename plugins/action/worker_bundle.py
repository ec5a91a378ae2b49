# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of ``worker_bundle``: verify the archive once, and send it where the host has not got it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.ew_ai.worker.plugins.modules.worker_bundle import ARGUMENTS, EMPTY
from ansible_collections.ew_ai.worker.plugins.plugin_utils.bundle import inspect_bundle
from ansible_collections.ew_ai.worker.plugins.plugin_utils.frame import run_action
from ansible_collections.ew_ai.worker.plugins.plugin_utils.sending import SendingAction, refuse_internal


class ActionModule(SendingAction):
    """The archive is read as a whole only where it is not known."""

    module = "ew_ai.worker.worker_bundle"
    what = "bundle"

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        options = self._options(ARGUMENTS)
        return run_action(lambda: self._work(options, task_vars or {}), EMPTY)

    def _work(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        refuse_internal(options, ("package", "bundle"))
        path = os.path.abspath(os.path.expanduser(options["source"]))
        found = inspect_bundle(path)
        arguments = {"root": options["root"], "source": path, "bundle": found.id, "bytes": found.size}
        return self._bring(arguments, found.id, lambda: path, task_vars)
