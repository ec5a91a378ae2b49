# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of ``worker_bundle``: verify the archive once, and send it where the host has not got it."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.modules.worker_bundle import ARGUMENTS, EMPTY
from ansible_collections.ew_ai.worker.plugins.plugin_utils.bundle import inspect_bundle
from ansible_collections.ew_ai.worker.plugins.plugin_utils.frame import run_action
from ansible_collections.ew_ai.worker.plugins.plugin_utils.printing import show

MODULE = "ew_ai.worker.worker_bundle"


class ActionModule(ActionBase):
    """One round trip where the host has the bundle."""

    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(ARGUMENTS)
        return run_action(lambda: self._work(options, task_vars or {}), EMPTY)

    def _work(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        for name in ("package", "bundle"):
            if options.get(name) is not None:
                raise OptionError(name, options[name], "it is not for playbooks", "Leave it out.")
        path = os.path.abspath(os.path.expanduser(options["source"]))
        found = inspect_bundle(path)
        arguments = {"root": options["root"], "source": path, "bundle": found.id, "bytes": found.size}
        result = self._module(arguments, task_vars)
        sent = 0
        if result.pop("missing", False) and not self._task.check_mode and not result.get("failed"):
            sent = os.path.getsize(path)
            if not self._task.no_log:
                show(str(task_vars.get("inventory_hostname", "")), [f"sends bundle {found.id}, {sent / 1e6:.0f} MB"])
            result = self._module({**arguments, "package": self._send(path)}, task_vars)
        return {**result, "sent_bytes": sent}

    def _module(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return dict(self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars))

    def _send(self, package: str) -> str:
        """Its path in this task's own temporary directory on the host, where the module's account can read it."""
        shell = self._connection._shell
        try:
            if shell.tmpdir is None:
                self._make_tmp_path()
            place = str(shell.join_path(shell.tmpdir, "bundle.tar"))
            self._transfer_file(package, place)
            self._fixup_perms2((shell.tmpdir, place))
        except AnsibleError as error:
            if type(error).__name__ == "AnsibleConnectionFailure":
                raise
            raise WorkerError(
                "transfer_failed",
                f"The bundle could not be sent to the host: {error}",
                "Free space in the temporary directory of the login account there (df -h ~/.ansible/tmp), or set ansible_remote_tmp.",
            ) from None
        return place
