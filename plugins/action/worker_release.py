# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of ``worker_release``: look at the source, and send it where the host has not got it."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import strip_credentials
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import redact
from ansible_collections.ew_ai.worker.plugins.module_utils.release.options import ARGUMENTS, EMPTY, REQUIRED_IF
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import tree_id
from ansible_collections.ew_ai.worker.plugins.plugin_utils.frame import run_action
from ansible_collections.ew_ai.worker.plugins.plugin_utils.hashes import cache_directory, hash_files
from ansible_collections.ew_ai.worker.plugins.plugin_utils.package import package_of
from ansible_collections.ew_ai.worker.plugins.plugin_utils.sending import SendingAction, refuse_internal
from ansible_collections.ew_ai.worker.plugins.plugin_utils.source import Inspection, default_scratch, inspect_source


class ActionModule(SendingAction):
    """Where the host has the release nothing is packed."""

    module = "ew_ai.worker.worker_release"
    what = "release"

    def run(self, tmp: t.Any = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        options = self._options(ARGUMENTS, REQUIRED_IF)
        return run_action(lambda: self._work(options, task_vars or {}), EMPTY)

    def _work(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        refuse_internal(options, ("package", "content", *(["release"] if options["state"] == "present" else [])))
        if options["state"] == "absent":
            return self._module(options, task_vars)
        inspection = inspect_source(options["source"], options["requirements_file"], options["ignore"], extra_files=options["extra_files"])
        _refuse(inspection)
        return self._present(options, inspection, task_vars)

    def _present(self, options: dict[str, t.Any], inspection: Inspection, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        digests = hash_files(inspection.entries, inspection.directory, cache_directory(os.environ))
        release = tree_id(inspection.entries, lambda entry: digests[entry.source])
        arguments = {
            **options,
            # the module's invocation goes to the host's system log
            "source": redact(options["source"]),
            "release": release,
            "content": {"layout": inspection.layout, "files": inspection.files, "bytes": inspection.bytes},
        }
        result = self._bring(arguments, release, lambda: package_of(release, inspection.entries, digests, default_scratch()), task_vars)
        if not result.get("failed"):
            path = result["release"]["path"]
            result.update(
                requirements=os.path.join(path, inspection.requirements) if inspection.requirements else None,
                # For check mode, which needs no credentials, and for whoever reads this result.
                requirement_files={os.path.join(path, name): strip_credentials(text) for name, text in inspection.requirement_files.items()},
                extra_files={given: os.path.join(path, name) for given, name in inspection.extra_files.items()},
                warnings=[*result.get("warnings", []), *inspection.warnings],
            )
        return result


def _refuse(inspection: Inspection) -> None:
    """Raise WorkerError with everything that is wrong with the source; one failure alone keeps its code."""
    if len(inspection.failures) == 1:
        raise inspection.failures[0]
    if inspection.failures:
        lines = "\n".join(f"  {number}. {failure}" for number, failure in enumerate(inspection.failures, 1))
        raise WorkerError(
            "bad_source",
            f"{len(inspection.failures)} things are wrong with {redact(inspection.directory)}:\n{lines}",
            "Fix them and run the same command again.",
            failures=inspection.findings(),
        )
