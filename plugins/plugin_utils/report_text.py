# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run as people read it. Pure: the time is given."""

from __future__ import annotations

import datetime
import os
import typing as t

from . import table
from .report import STEPS, is_waiting, releases, tally


def instance_table(hosts: t.Sequence[t.Mapping[str, t.Any]], now: datetime.datetime) -> list[str]:
    """The instances of all hosts, one line each."""
    rows = [["HOST", "INSTANCE", "STATE", "PID", "SINCE", "HEALTH", "GENERATION", "RELEASE", "ENVIRONMENT", "MEMORY", "CPU"]]
    for each in hosts:
        if each.get("reachable") is False:
            rows.append([each["host"], "-", "unreachable", *["-"] * 8])
        elif each.get("error"):
            rows.append([each["host"], "-", "unknown", *["-"] * 8])
        elif not each["instances"]:
            rows.append([each["host"], "-", "not deployed", *["-"] * 8])
        rows.extend(instance_cells(each["host"], row, now) for row in each["instances"])
    return table.render(rows)


def instance_cells(host: str, row: t.Mapping[str, t.Any], now: datetime.datetime) -> list[str]:
    """One line of the table."""
    cpu = row.get("cpu_seconds")
    return [
        host,
        str(row.get("id") or row["name"]),
        str(row["state"]),
        str(row.get("pid") or "-"),
        table.since(row.get("started_at"), now),
        str(row.get("health") or "-"),
        str(row.get("generation") or "-"),
        os.path.basename(str(row.get("release") or "-")),
        os.path.basename(str(row.get("environment") or "-")),
        table.size(row.get("memory_bytes")),
        "-" if cpu is None else f"{cpu:.1f}s",
    ]


def status_lines(report: t.Mapping[str, t.Any], now: datetime.datetime) -> list[str]:
    """The table, then what could not be read, why instances do not run, and the generations to go back to; hosts with the same in one line."""
    text = instance_table(report["hosts"], now)
    text += [f"{each['host']}: {each['error']}" for each in report["hosts"] if each["error"]]
    text += [f"{each['host']}: {row['id']} {row['state']}: {row['reason']}" for each in report["hosts"] for row in each["instances"] if row.get("reason")]
    alike: dict[str, list[str]] = {}
    for each in report["hosts"]:
        known = [f"{row['number']}{' active' if row['number'] == each['generation'] else ''} {row['verdict']} {row['release']}" for row in each["generations"]]
        if known:
            alike.setdefault("; ".join(known), []).append(each["host"])
    return text + ([""] if alike else []) + [f"generations on {', '.join(hosts)}: {known}" for known, hosts in alike.items()]


def announcement(verb: str, name: str, batch: t.Sequence[str], total: int, check: bool) -> list[str]:
    """What is about to be done, and where."""
    of_all = f" ({len(batch)} of {total} hosts)" if total > len(batch) else ""
    return [f"{name} on {', '.join(batch)}{of_all}{': check mode, nothing is changed' if check else ''}"]


def lines(report: t.Mapping[str, t.Any], now: datetime.datetime) -> list[str]:
    """The report as people read it."""
    text = []
    names = list(STEPS)
    for each in report["hosts"]:
        if is_waiting(each):
            continue
        text.append(f"{each['host']}: {'ok' if each['success'] else 'FAILED'} - {each['message']}")
        for step in each["steps"]:
            # The first line of a failed host has said why.
            result = f"ok     {step['message']}" if step["success"] else f"FAILED in the stage {each['failure']['stage']}"
            text.append(f"  [{names.index(step['name']) + 1}/3] {step['name']:<12} {result}")
        if each["gapMs"] is not None:
            text.append(f"  gap in service of a restarted instance: {each['gapMs']} ms")
        if each["failure"]:
            text.extend(failure_lines(each["failure"]))
    if any(each["instances"] for each in report["hosts"]):
        text += ["", *instance_table([each for each in report["hosts"] if each["instances"]], now)]
    mixed = [f"{release} on {', '.join(hosts)}" for release, hosts in releases(report["hosts"]).items()]
    if mixed:
        text += ["", f"Attention, not all hosts have the same release: {'; '.join(mixed)}"]
    return [*text, "", f"{outcome_word(report)}: {report['message'] if report['success'] else tally(report['hosts'])} ({report['durationMs']}ms)"]


def outcome_word(report: t.Mapping[str, t.Any]) -> str:
    """SUCCESS, FAILURE, or SO FAR while the turn of some hosts has not come and none has failed."""
    if report["success"]:
        return "SUCCESS"
    return "SO FAR" if all(each["success"] or is_waiting(each) for each in report["hosts"]) else "FAILURE"


def failure_lines(trouble: t.Mapping[str, t.Any]) -> list[str]:
    """The rest of what went wrong, the last words of the worker, and what to do next."""
    text = [f"  {line}" for line in trouble["message"].splitlines()[1:]]
    if trouble["logs"]:
        text += ["  last log lines:", *(f"    {line}" for line in trouble["logs"])]
    return text + next_lines(trouble)


def next_lines(trouble: t.Mapping[str, t.Any]) -> list[str]:
    """What became of the service, and what to do next."""
    text = [f"  code: {trouble['code']}; stage: {trouble['stage']}. {trouble['restored']}"]
    return text + ([f"  next: {trouble['remedy']}"] if trouble["remedy"] else [])


def host_message(each: t.Mapping[str, t.Any]) -> str:
    """What the task that fails a host says. The report before it has told the rest."""
    trouble = each["failure"]
    return "\n".join([each["message"], *next_lines(trouble)]) if trouble else str(each["message"])
