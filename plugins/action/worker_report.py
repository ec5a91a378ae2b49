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

# These tell what they found, and not what became of hosts.
OF_THEIR_OWN_FORM = ("status", "logs")


class ActionModule(ActionBase):
    """Reads what the role gathered on every host of the play and makes one report of it."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(("phase", "verb", "name", "report_dir"))

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """``{"report", "hosts": {name: {"success", "message"}}}``; for status and logs their own data in ``report``."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        args = self._task.args
        verb, name = str(args["verb"]), str(args["name"])
        every = list(variables["ansible_play_hosts_all"])
        outcomes = gathered(verb, every, variables["hostvars"])
        if args.get("phase", "end") == "begin":
            batch = list(variables["ansible_play_batch"])
            say(f"{verb.upper()} [{name}]", report_text.announcement(verb, name, batch, len(every), bool(self._task.check_mode)))
            data = begun(verb, name, every, outcomes, batch, list(variables["ansible_play_hosts"]))
            is_news = not outcomes or verb not in OF_THEIR_OWN_FORM
        else:
            # Of the hosts that have told nothing some are only not yet at it: those of a later batch.
            waiting = [host for host in variables["ansible_play_hosts"] if host not in outcomes]
            text, data = make(verb, name, every, {host: each for host, each in outcomes.items() if not reports.is_lost(each)}, waiting)
            say(f"REPORT [{verb}]", text)
            is_news = True
        # One of an earlier run is not to be taken for this one's.
        if args.get("report_dir") and is_news:
            result["written"] = write(str(args["report_dir"]), verb, data)
        messages = {
            each["host"]: {"success": each["success"], "message": report_text.host_message(each)} for each in data.get("hosts", []) if "success" in each
        }
        return {**result, "changed": False, "report": data, "hosts": messages}


def gathered(verb: str, hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the hosts have told of this verb: an outcome of another one is of an earlier play."""
    found = {host: hostvars[host].get("__worker_outcome") for host in hosts}
    return {host: outcome for host, outcome in found.items() if outcome and outcome["verb"] == verb}


def begun(verb: str, name: str, hosts: t.Sequence[str], outcomes: t.Mapping[str, t.Any], batch: t.Collection[str], left: t.Collection[str]) -> dict[str, t.Any]:
    """What stays of a run that is killed in this batch. left: the hosts that the play goes on with."""
    rows = []
    for host in hosts:
        outcome = outcomes.get(host, {})
        if outcome.get("name") == name and not reports.is_lost(outcome) and verb not in OF_THEIR_OWN_FORM:
            rows.append(reports.host_report(host, outcome))
        else:
            without = reports.begun_host if host in batch else reports.waiting_host if host in left else reports.lost_host
            rows.append(without(host, name, verb))
    return reports.merge(rows)


def make(verb: str, name: str, hosts: t.Sequence[str], outcomes: t.Mapping[str, t.Any], waiting: t.Sequence[str]) -> tuple[list[str], dict[str, t.Any]]:
    """(lines for people, data for programs) of a verb on the worker ``name``. waiting: hosts whose turn has not come; the others without outcome are lost."""
    now = datetime.datetime.now(datetime.timezone.utc)
    lost = [host for host in hosts if host not in outcomes and host not in waiting]
    if verb == "status":
        data = reports.status(outcomes, lost)
        return report_text.status_lines(data, now), data
    if verb == "logs":
        rows = reports.merged_logs(outcomes)
        return [f"{row['time']:<32} {row['host']} {row['instance']}: {row['line']}" for row in rows], {"lines": rows}
    rows = [
        reports.host_report(host, outcomes[host]) if host in outcomes else (reports.lost_host if host in lost else reports.waiting_host)(host, name, verb)
        for host in hosts
    ]
    data = reports.merge(rows, reports.span_ms(outcomes.values()))
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
