# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints and writes the report of a run, on the controller alone."""

from __future__ import annotations

import datetime
import json
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.ew_ai.worker.plugins.module_utils.files import write_text
from ansible_collections.ew_ai.worker.plugins.plugin_utils import report as reports
from ansible_collections.ew_ai.worker.plugins.plugin_utils import report_text
from ansible_collections.ew_ai.worker.plugins.plugin_utils.printing import say


class ActionModule(ActionBase):
    """Reads what the role gathered on every host of the play and makes one report of it."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("report_dir",))

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """``{"report", "hosts": {name: {"success", "message"}}}``; for status and logs their own data in ``report``."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        hostvars = variables["hostvars"]
        outcomes = {}
        for host in variables["ansible_play_hosts_all"]:
            outcome = hostvars[host].get("__worker_outcome")
            if outcome and outcome["name"] == variables["__worker_outcome"]["name"] and not reports.is_lost(outcome):
                outcomes[host] = outcome
        verb, name = variables["__worker_outcome"]["verb"], variables["__worker_outcome"]["name"]
        # Of the hosts that have told nothing some are only not yet at it: those of a later batch.
        waiting = [] if verb in ("status", "logs") else variables["ansible_play_hosts"]
        lost = [host for host in variables["ansible_play_hosts_all"] if host not in outcomes and host not in waiting]
        text, data = make(verb, name, outcomes, lost)
        say(f"REPORT [{verb}]", text)
        if self._task.args.get("report_dir"):
            result["written"] = write(str(self._task.args["report_dir"]), verb, data)
        messages = {
            each["host"]: {"success": each["success"], "message": report_text.host_message(each)} for each in data.get("hosts", []) if "success" in each
        }
        return {**result, "changed": False, "report": data, "hosts": messages}


def make(verb: str, name: str, outcomes: t.Mapping[str, t.Any], lost: t.Sequence[str]) -> tuple[list[str], dict[str, t.Any]]:
    """(lines for people, data for programs) of a verb on the worker ``name``. lost: hosts that are unreachable."""
    now = datetime.datetime.now(datetime.timezone.utc)
    if verb == "status":
        data = reports.status(outcomes, lost)
        return report_text.instance_table(data["hosts"], now), data
    if verb == "logs":
        rows = reports.merged_logs(outcomes)
        return [f"{row['time']:<32} {row['host']} {row['instance']}: {row['line']}" for row in rows], {"lines": rows}
    data = reports.merge([reports.host_report(host, outcome) for host, outcome in outcomes.items()] + [reports.lost_host(host, name, verb) for host in lost])
    return report_text.lines(data, now), data


def write(directory: str, verb: str, data: t.Mapping[str, t.Any]) -> str:
    """Write ``<directory>/<verb>.json``; returns its absolute path."""
    path = os.path.join(os.path.abspath(os.path.expanduser(directory)), f"{verb}.json")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_text(path, json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")
    except OSError as error:
        raise AnsibleActionFail(f"report_dir: cannot write {path}: {error.strerror}. Choose a directory that you may write.") from error
    return path
