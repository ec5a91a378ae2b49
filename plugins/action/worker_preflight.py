# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds what only the controller knows: the worker directory, hooks, bad settings, who this run is, and whether the holder of a lease is dead."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.plugin_utils import preflight
from ansible_collections.ew_ai.worker.plugins.plugin_utils.bundle import findings as bundle_findings
from ansible_collections.ew_ai.worker.plugins.plugin_utils.run_identity import is_dead, this_run
from ansible_collections.ew_ai.worker.plugins.plugin_utils.source import inspect_source

MODULE = "ew_ai.worker.worker_preflight"


class ActionModule(ActionBase):
    """Runs the module; a second time only to take over the lease of a run that died on this controller."""

    TRANSFERS_FILES = False

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """The module's result, with ``run`` where the lease was taken."""
        result = super().run(tmp, task_vars)
        given = dict(self._task.args)
        lease = this_run(str(given.pop("verb", "deploy")))
        arguments = {**self._judged(given), "lease": lease}
        found = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        holder = found.get("holder")
        if found.get("code") == "leased" and isinstance(holder, dict) and is_dead(holder):
            arguments["over_from"] = holder["run"]
            found = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        taken = {"run": lease["run"]} if found.get("lease") else {}
        return {**result, **found, **taken}

    def _judged(self, given: dict[str, t.Any]) -> dict[str, t.Any]:
        """The module's options: findings in the place of what they are about. The host has no use for it, and secrets and passwords may be in it."""
        source, requirements_file, ignore = given.pop("source", None), given.pop("requirements_file", "requirements.txt"), given.pop("ignore", None)
        extra_files = given.pop("extra_files", None) or []
        settings, environment, health = given.pop("settings", None), given.pop("environment_settings", None), given.pop("health_settings", None)
        toolchain = given.pop("toolchain_settings", None)
        findings, under_supervisord = preflight.settings_findings({**settings, "scope": given.get("scope", "system")}) if settings is not None else ([], [])
        wanted: dict[str, t.Any] = preflight.wanted_gpus(settings or {})
        findings += preflight.secrets_findings(given.pop("secrets", None) or {}, bool(wanted.get("gpus")))
        findings += preflight.environment_findings(environment) if environment is not None else []
        findings += preflight.health_findings(health) if health is not None else []
        findings += preflight.toolchain_findings(toolchain) if toolchain is not None else []
        health_tls, protocol, asker = given.pop("health_tls", None) or {}, str((health or {}).get("protocol", "")), str(given.pop("asker", ""))
        findings += preflight.tls_findings(settings or {}, health_tls, protocol)
        findings += preflight.remote_tls_findings(asker, given.pop("health_tls_remote", None) or {}, health_tls)
        findings += preflight.asker_findings(asker, protocol)
        findings += preflight.hook_findings(given.pop("hooks", None) or {}, self._find_hook, self._load_hook)
        wanted["deploys"] = source is not None
        locks = False
        bundle = str(given.pop("bundle", "") or "")
        if bundle:
            wanted["bundle"], found_in_bundle = bundle_findings(bundle, str((environment or {}).get("python_version", "")))
            findings += found_in_bundle
        if source is not None:
            found = inspect_source(str(source), str(requirements_file), list(ignore or []), extra_files=list(extra_files))
            findings += preflight.source_findings(found.failures)
            locks = found.lock is not None
            if found.lock is not None and environment is not None:
                findings += preflight.lock_findings(environment, *found.lock)
            asks_pip = found.requirements is not None or (environment or {}).get("pip")
            wanted["needs_own_index"] = bool(asks_pip) and not (environment or {}).get("index_url")
        if environment is not None:
            wanted["environment_name"] = environment.get("name")
            # Where a lock names the packages no channel is asked for any.
            wanted["channels"] = [] if locks else preflight.askable_channels(environment)
            wanted["backend"] = str(environment.get("backend") or "auto")
            wanted["executable"] = preflight.named_program(environment)
        for name in ("user", "bind_to_unit", "limits"):
            wanted[name] = (settings or {}).get(name)
        addresses = preflight.askable_addresses(given.get("addresses") or [])
        return {**given, "addresses": addresses, "wanted": wanted, "controller_findings": findings, "supervisord_findings": under_supervisord}

    def _find_hook(self, name: str) -> str:
        """Where include_tasks in the role looks for the file."""
        role = getattr(self._task, "_role", None)
        path = self._loader.path_dwim_relative(role._role_path, "tasks", name, is_role=True) if role is not None else self._loader.path_dwim(name)
        return str(path)

    def _load_hook(self, path: str) -> t.Any:
        # Not kept: include_tasks loads it as templates.
        return self._loader.load_from_file(path, cache="none")
