# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins share that bring an archive to a host: ask the module, send only what is missing, ask again."""

from __future__ import annotations

import os
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import redact
from ansible_collections.ew_ai.worker.plugins.plugin_utils.printing import show

# Bytes from which on sending takes so long that somebody may wonder.
ANNOUNCED = 20_000_000


class SendingAction(ActionBase):
    """One round trip where the host has it. module: what unpacks it there. what: the word for it."""

    module = ""
    what = ""
    _supports_async = False

    def _options(self, arguments: t.Mapping[str, t.Any], required_if: t.Sequence[t.Any] = ()) -> dict[str, t.Any]:
        """The task's options, checked."""
        _validation, options = self.validate_argument_spec(arguments, required_if=required_if)
        # What ~ is, the host is to say.
        return {**options, "root": self._task.args.get("root", options["root"])}

    def _bring(self, arguments: dict[str, t.Any], identifier: str, package: t.Callable[[], str], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The module's result and ``sent_bytes``. package: makes the archive on the controller, and tells its path. Raises WorkerError ``transfer_failed``."""
        result = self._module(arguments, task_vars)
        sent = 0
        if result.pop("missing", False) and not self._task.check_mode and not result.get("failed"):
            path = package()
            sent = os.path.getsize(path)
            if sent >= ANNOUNCED and not self._task.no_log:
                show(str(task_vars.get("inventory_hostname", "")), [f"sends {self.what} {identifier}, {sent / 1e6:.0f} MB"])
            result = self._module({**arguments, "package": self._send(path)}, task_vars)
        return {**result, "sent_bytes": sent}

    def _module(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        return dict(self._execute_module(module_name=self.module, module_args=given, task_vars=task_vars))

    def _send(self, package: str) -> str:
        """Its path in this task's own temporary directory on the host, where the module's account can read it."""
        shell = self._connection._shell
        try:
            if shell.tmpdir is None:
                self._make_tmp_path()
            place = str(shell.join_path(shell.tmpdir, f"{self.what}.tar"))
            self._transfer_file(package, place)
            self._fixup_perms2((shell.tmpdir, place))
        except AnsibleError as error:
            if type(error).__name__ == "AnsibleConnectionFailure":
                raise
            raise WorkerError(
                "transfer_failed",
                f"The {self.what} could not be sent to the host: {redact(str(error))}",
                "Free space in the temporary directory of the login account there (df -h ~/.ansible/tmp), or set ansible_remote_tmp.",
            ) from None
        return place


def refuse_internal(options: t.Mapping[str, t.Any], names: t.Iterable[str]) -> None:
    """Raise OptionError for an option that the action plugin alone sets."""
    for name in names:
        if options.get(name) is not None:
            raise OptionError(name, options[name], "it is not for playbooks", "Leave it out.")
