# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run, made from what the stages of every host returned. Pure: no disk, no network, no clock.

An outcome is what the role gathers on one host (roles/worker/tasks/tell.yml). The report keeps the form of the gateway's
old deploy module, ``{"success", "message", "steps", "durationMs"}``, with ``stages`` and ``hosts`` beside.
"""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.run import describe_exit

Outcome = t.Mapping[str, t.Any]

STAGES = ("preflight", "toolchain", "release", "environment", "instances", "health")
STEPS = {"environment": STAGES[:4], "start_worker": ("instances",), "health_check": ("health",)}
STAGE_OF_ACTION = {
    "worker_preflight": "preflight",
    "user": "toolchain",
    "worker_bundle": "toolchain",
    "worker_toolchain": "toolchain",
    "worker_release": "release",
    "conda_env": "environment",
    "worker_generation": "instances",
    "ew_worker": "instances",
    "grpc_health": "health",
    "ew_worker_info": "health",
}
# The task of roles/worker/tasks/health.yml that only fails where the host itself got an answer.
ASKED_OVER_NETWORK = "[3/3] Ask over the network"
# Tasks that are no module of ours, and one after which the new generation may well serve.
STAGE_OF_TASK = {"Fail where nobody could ask over the network": "health", "Refuse where there is nothing to go back to": "instances"}
CONCLUDED = "Conclude"
UNREACHED = (
    "On the host itself the instances answer. Let the worker listen on the address in EW_BIND (or give it with worker_arguments and {bind}), "
    "open its ports in the firewall, or set worker_health_from."
)
DIED = "Look for the reason (journalctl -k | grep -i 'killed process'), then run the same command again."
DONE = {
    "deploy": "deployed",
    "reinstall": "reinstalled",
    "rollback": "rolled back",
    "start": "started",
    "stop": "stopped",
    "restart": "restarted",
    "uninstall": "uninstalled",
}
# The verbs that worker_enabled: false switches off.
SWITCHED_OFF = ("deploy", "reinstall")


def failed_stage(outcome: Outcome) -> t.Optional[str]:
    """The stage whose task failed, or None where none did."""
    failure = outcome["failure"]
    if not failure.get("result"):
        return None
    if failure.get("hook"):
        return str(failure["hook"]).split("_", 1)[1]
    by_action = STAGE_OF_ACTION.get(str(failure.get("action", "")).rsplit(".", 1)[-1], "preflight")
    return STAGE_OF_TASK.get(str(failure.get("task", "")), by_action)


def stage_results(outcome: Outcome) -> dict[str, list[t.Mapping[str, t.Any]]]:
    """What the modules of each stage returned, only those that ran."""
    applied = list(outcome["applied"]) or [outcome["plan"]]
    health = [outcome["verified"], outcome["verified_remotely"]]
    named = {
        "preflight": [outcome["preflight"]],
        "toolchain": [outcome["bundle"], outcome["toolchain"]],
        "release": [outcome["release"]],
        "environment": [outcome["environment"]],
        "instances": [outcome["generation"], *applied],
        "health": health,
    }
    return {stage: [each for each in results if each and not each.get("skipped")] for stage, results in named.items()}


def stages(outcome: Outcome) -> list[dict[str, t.Any]]:
    """``[{"name", "success", "changed", "elapsed", "message", "actions"}]`` of the stages that ran, up to the failed one."""
    failed = failed_stage(outcome)
    rows = []
    for name, results in stage_results(outcome).items():
        if not results and name != failed:
            continue
        if name == failed == "instances":
            results = [*results, *unfinished(outcome)]
        rows.append(
            {
                "name": name,
                "success": name != failed,
                "changed": any(each.get("changed", False) for each in results),
                "elapsed": round(sum(each.get("elapsed", 0.0) for each in results), 3),
                "message": failure_line(outcome) if name == failed else "",
                "actions": [action for each in results for action in each.get("actions", [])],
            }
        )
    return rows


def unfinished(outcome: Outcome) -> list[t.Mapping[str, t.Any]]:
    """The failed call of ew_worker, where one failed: it carries what it did until then."""
    trouble = outcome["failure"]
    return [trouble["result"]] if trouble.get("result") and str(trouble.get("action", "")).endswith(".ew_worker") else []


def failure_line(outcome: Outcome) -> str:
    """The first line of what went wrong."""
    message = failure_message(outcome)
    return message.splitlines()[0] if message else "The task failed without a message."


def failure_message(outcome: Outcome) -> str:
    """What went wrong; a hook's own words behind the hook's name."""
    trouble = outcome["failure"]
    result = trouble.get("result", {})
    message = str(result.get("msg", "")).strip()
    if died(result):
        status = describe_exit(128 - result["rc"] if result["rc"] > 128 else result["rc"])
        message = f"The module of the task {trouble.get('task', '')!r} was ended on the host before it gave a result ({status})."
    return f"The hook {trouble['hook']} failed: {message}" if trouble.get("hook") else message


def died(result: t.Mapping[str, t.Any]) -> bool:
    """Whether the module's process was killed: Ansible then has nothing of ours but the status of the shell around it, or the signal itself."""
    return "module_stdout" in result and not result["module_stdout"] and (result.get("rc", 0) > 128 or result.get("rc", 0) < 0)


def steps(outcome: Outcome, rows: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The three steps of the old module, those that were reached."""
    by_name = {row["name"]: row for row in rows}
    found = []
    for step, names in STEPS.items():
        reached = [by_name[name] for name in names if name in by_name]
        if not reached:
            continue
        bad = next((row for row in reached if not row["success"]), None)
        message = bad["message"] if bad else step_message(step, outcome)
        found.append({"name": step, "success": bad is None, "message": message})
        if bad is not None:
            break
    return found


def step_message(step: str, outcome: Outcome) -> str:
    """One sentence about a step that went well."""
    if step == "environment":
        return environment_message(outcome)
    if step == "start_worker":
        return start_message(outcome)
    return health_message(outcome)


def environment_message(outcome: Outcome) -> str:
    """``Environment x-1 created with rattler (3120ms)``; ``… is up to date`` where nothing was built."""
    if outcome["verb"] == "uninstall":
        gone = [os.path.basename(each["id"]) for each in outcome["finished"].get("actions", []) if (each["what"], each["status"]) == ("environment", "removed")]
        return f"Environment {', '.join(gone)} removed" if gone else "Environment not touched"
    found = outcome["environment"]
    if not found.get("prefix"):
        return "Environment not touched"
    name = os.path.basename(found["prefix"])
    if not found.get("created"):
        return f"Environment {name} is up to date"
    verb = "would be created" if outcome["check_mode"] else "created"
    # Where the toolchain has yet to be made, no backend is known.
    backend = found.get("backend", {}).get("name")
    return f"Environment {name} {verb}{f' with {backend}' if backend else ''} ({milliseconds(found.get('elapsed', 0))}ms)"


def start_message(outcome: Outcome) -> str:
    """``Worker started (PID=12345)``, or why it was not."""
    changed = any(each.get("changed") for each in [*outcome["applied"], outcome["plan"]] if each)
    if outcome["check_mode"]:
        return "Worker would be changed" if changed else "Worker would stay as it is"
    if outcome["verb"] == "stop":
        return "Worker stopped"
    # Where a later step failed, what runs now is what was brought back: this step's own are told.
    calls = outcome["applied"] if outcome["failure"] else [outcome["call"]]
    pids = {row["id"]: str(row["pid"]) for call in calls for row in call.get("instances") or [] if row.get("pid")}
    if not pids:
        return "Worker installed, not started"
    return f"Worker {'started' if changed else 'is running'} (PID={', '.join(pids.values())})"


def health_message(outcome: Outcome) -> str:
    """``Worker is healthy (234ms)``; the slowest answer counts. An unhealthy one that was accepted is said to be so."""
    targets = [*outcome["verified"].get("targets", []), *outcome["verified_remotely"].get("targets", [])]
    bad = [f"{each['name']} is {each['status']}" for each in targets if not each.get("healthy")]
    if bad:
        return f"Worker is NOT healthy, accepted as asked: {', '.join(bad)}"
    slowest = max((figure(each.get("latency_ms", {})) for each in targets), default=0.0)
    return f"Worker is healthy ({slowest:.0f}ms)"


def figure(latency: t.Mapping[str, t.Any]) -> float:
    """Connecting and the answer together, in milliseconds."""
    return float(latency.get("connect") or 0) + float(latency.get("rpc") or 0)


def instance_rows(outcome: Outcome) -> list[dict[str, t.Any]]:
    """The instances as last seen, each with its health."""
    rows = [dict(row) for row in outcome["call"].get("instances") or []]
    statuses = {each["name"]: each for each in outcome["verified"].get("targets", [])}
    for row in rows:
        seen = statuses.get(row["id"])
        row["health"] = seen["status"] if seen and row.get("pid") else None
    return rows


def gap_ms(outcome: Outcome) -> t.Optional[int]:
    """The longest time in this run in which an instance that had been serving did not, or None where nothing was restarted."""
    stopped: dict[str, str] = {}
    served: set[str] = set()
    gaps = []
    for move in outcome["moves"]:
        for row in move["call"].get("instances") or []:
            if row.get("stopped_at"):
                stopped.setdefault(row["id"], row["stopped_at"])
        for target in move["verified"].get("targets", []):
            if target.get("healthy"):
                served.add(target["name"])
            elif target["name"] in served:
                # It ended by itself: the stop that follows, if any, is not the beginning.
                stopped.setdefault(target["name"], target["decided_at"])
            since = stopped.get(target["name"])
            # A verdict from before the stop says nothing about the time after it.
            if target.get("healthy") and since is not None and moment(target["decided_at"]) >= moment(since):
                gaps.append((moment(target["decided_at"]) - moment(stopped.pop(target["name"]))).total_seconds())
    return milliseconds(max(gaps)) if gaps else None


def moment(text: str) -> datetime.datetime:
    """The time that an ISO 8601 text names."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def milliseconds(seconds: float) -> int:
    """Whole milliseconds."""
    return round(seconds * 1000)


def failure(host: str, outcome: Outcome) -> t.Optional[dict[str, t.Any]]:
    """``{"code", "stage", "message", "remedy", "logs", "restored"}`` of a failed host, else None."""
    stage = failed_stage(outcome)
    if stage is None:
        return None
    result = outcome["failure"]["result"]
    remedy = DIED if died(result) else str(result.get("remedy", ""))
    # Modules end their message with the remedy; here it stands by itself.
    message = failure_message(outcome).removesuffix(remedy).rstrip()
    if outcome["failure"].get("task") == ASKED_OVER_NETWORK and result.get("targets"):
        remedy = UNREACHED
    if stage in ("instances", "health"):
        remedy = f"{remedy} Read on: ansible-playbook ew_ai.worker.logs --limit {host}".strip()
    return {
        "code": "module_died" if died(result) else result.get("code") or "failed",
        "stage": stage,
        "message": message,
        "remedy": remedy,
        "logs": last_lines(outcome),
        "restored": restored(outcome),
    }


def last_lines(outcome: Outcome) -> list[str]:
    """The last log lines of the instances, oldest first, each behind its instance's name."""
    found = [(line["time"] or "", f"{name}: {line['line']}") for name, lines in (outcome["log"].get("logs") or {}).items() for line in lines]
    return [text for _time, text in sorted(found, key=lambda pair: pair[0])][-20:]


def restored(outcome: Outcome) -> str:
    """What became of the generation that served before."""
    found = outcome["restored"]
    if outcome["failure"].get("task") == CONCLUDED:
        return "What serves now could not be recorded: fix that, and run the same command again."
    if found.get("tried") and not found["success"]:
        return f"The previous generation could NOT be brought back: {found['msg']}"
    # What a killed module had done by then nobody has told.
    if not any(each.get("changed") or each.get("actions") or died(each) for each in [*outcome["applied"], *unfinished(outcome)]):
        return "Nothing that serves was touched."
    if not found.get("tried"):
        return "The generation is the same as before; the table shows what became of its instances."
    if found["generation"] is None:
        return "There was no previous generation; the new instances were stopped."
    return f"Generation {found['generation']} serves again."


def host_report(host: str, outcome: Outcome) -> dict[str, t.Any]:
    """The report of one host."""
    rows = stages(outcome)
    trouble = failure(host, outcome)
    verb = DONE.get(outcome["verb"], outcome["verb"])
    if not outcome["enabled"] and outcome["verb"] in SWITCHED_OFF:
        message = f"worker_enabled is false: nothing is done on {host}. Set worker_enabled: true (or EW_SELF_DEPLOY_ENABLED=true) to deploy."
    elif trouble:
        message = f"{outcome['name']} was not {verb} on {host}: {trouble['message'].splitlines()[0] if trouble['message'] else trouble['code']}"
    elif outcome["check_mode"]:
        message = f"{outcome['name']} would be {verb} on {host}"
    else:
        message = f"{outcome['name']} {verb} on {host}"
    record = outcome["record"]
    return {
        "host": host,
        "success": trouble is None,
        "message": message,
        "steps": steps(outcome, rows),
        "durationMs": milliseconds(float(outcome["ended"]) - float(outcome["began"])),
        "stages": rows,
        "actions": [action for row in rows for action in row["actions"]] + list(outcome["finished"].get("actions", [])),
        "generation": record.get("number"),
        "release": record.get("release", {}).get("id"),
        "environment": record.get("environment", {}).get("prefix"),
        "instances": instance_rows(outcome),
        "gapMs": gap_ms(outcome),
        "failure": trouble,
    }


def absent_host(host: str, message: str, trouble: t.Optional[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """The report of a host that has told nothing."""
    return {
        "host": host,
        "success": False,
        "message": message,
        "steps": [],
        "durationMs": 0,
        "stages": [],
        "actions": [],
        "generation": None,
        "release": None,
        "environment": None,
        "instances": [],
        "gapMs": None,
        "failure": trouble,
    }


def lost_host(host: str, name: str, verb: str) -> dict[str, t.Any]:
    """The report of a host that could not be reached, from the start or any more."""
    return unknown_host(host, "unreachable", f"{name} was not {DONE.get(verb, verb)} on {host}: the host could not be reached.")


def begun_host(host: str, name: str, verb: str) -> dict[str, t.Any]:
    """The report of a host at the beginning: it stays where the run is killed or loses its last host, and nobody can write another."""
    return unknown_host(host, "unfinished", f"{name} was not {DONE.get(verb, verb)} on {host}: the run began there and has told of no end.")


def unknown_host(host: str, code: str, message: str) -> dict[str, t.Any]:
    """The report of a host that has told nothing."""
    trouble = {
        "code": code,
        "stage": "unknown",
        "message": message,
        "remedy": (
            f"See whether it answers: ansible {host} -m ping (with --become, where a wrong sudo password would show); "
            "the status playbook shows what runs there. Then run the same command again."
        ),
        "logs": [],
        "restored": "What became of its instances is not known.",
    }
    return absent_host(host, message, trouble)


def waiting_host(host: str, name: str, verb: str) -> dict[str, t.Any]:
    """The report of a host whose turn has not come, and never does where a host before it fails."""
    return absent_host(host, f"{name} was not {DONE.get(verb, verb)} on {host}: its turn has not come.", None)


def is_waiting(each: t.Mapping[str, t.Any]) -> bool:
    """Whether the row is that of a host whose turn has not come."""
    return not each["success"] and each["failure"] is None


def is_lost(outcome: Outcome) -> bool:
    """Whether the host was unreachable for the module that its verb begins with."""
    return any((outcome.get(part) or {}).get("unreachable", False) for part in ("found", "log", "preflight"))


def span_ms(outcomes: t.Iterable[Outcome]) -> int:
    """From the first host's begin to the last one's end, by the controller's clock; hosts that go one after the other add up."""
    times = [(float(each["began"]), float(each["ended"])) for each in outcomes]
    return milliseconds(max(ended for _began, ended in times) - min(began for began, _ended in times)) if times else 0


def merge(hosts: t.Sequence[dict[str, t.Any]], took: int = 0) -> dict[str, t.Any]:
    """The report of a fleet in the old form; with one host its own words, with more their sum. took: milliseconds in all, of several."""
    if len(hosts) == 1:
        only = hosts[0]
        return {key: only[key] for key in ("success", "message", "steps", "durationMs", "stages")} | {"hosts": list(hosts)}
    return {
        "success": all(each["success"] for each in hosts),
        "message": tally(hosts),
        "steps": [merge_step(name, hosts) for name in STEPS if any(step["name"] == name for each in hosts for step in each["steps"])],
        "durationMs": took,
        "stages": [merge_stage(name, hosts) for name in STAGES if any(row["name"] == name for each in hosts for row in each["stages"])],
        "hosts": list(hosts),
    }


def tally(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """``1 of 2 hosts succeeded; failed: b``; ``1 of 3 hosts succeeded; not reached: b, c``."""
    good = [each["host"] for each in hosts if each["success"]]
    waiting = [each["host"] for each in hosts if is_waiting(each)]
    bad = [each["host"] for each in hosts if not each["success"] and not is_waiting(each)]
    rest = [("failed", bad), ("not reached", waiting)]
    return "; ".join([f"{len(good)} of {len(hosts)} hosts succeeded", *(f"{word}: {', '.join(names)}" for word, names in rest if names)])


def releases(hosts: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, list[str]]:
    """The hosts by the release that their run was about, where there is more than one."""
    found: dict[str, list[str]] = {}
    for each in hosts:
        if each["success"] and each["release"]:
            found.setdefault(each["release"], []).append(each["host"])
    return found if len(found) > 1 else {}


def merge_step(name: str, hosts: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """One step over all hosts that reached it."""
    found = [(each["host"], step) for each in hosts for step in each["steps"] if step["name"] == name]
    return {"name": name, "success": all(step["success"] for _host, step in found), "message": "; ".join(f"{host}: {step['message']}" for host, step in found)}


def merge_stage(name: str, hosts: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """One stage over all hosts that reached it; elapsed is the slowest host's."""
    found = [row for each in hosts for row in each["stages"] if row["name"] == name]
    return {
        "name": name,
        "success": all(row["success"] for row in found),
        "changed": any(row["changed"] for row in found),
        "elapsed": max(row["elapsed"] for row in found),
    }


def status(hosts: t.Mapping[str, Outcome], unreachable: t.Sequence[str]) -> dict[str, t.Any]:
    """``{"enabled", "initialized", "workerPort", "condaEnvName", "workerDir"}`` of the first host, and ``hosts`` beside."""
    rows = [host_status(host, outcome) for host, outcome in hosts.items()]
    first = rows[0] if rows else {}
    top = {key: first.get(key) for key in ("enabled", "initialized", "workerPort", "condaEnvName", "workerDir")}
    return {**top, "hosts": [*rows, *({"host": host, "reachable": False, "error": "", "generations": [], "instances": []} for host in unreachable)]}


def host_status(host: str, outcome: Outcome) -> dict[str, t.Any]:
    """One host's part of the status."""
    active = outcome["found"].get("active") or {}
    rows = instance_rows(outcome)
    told = dict(outcome["status"])
    if rows and rows[0].get("ports"):
        told["workerPort"] = rows[0]["ports"][0]
    return {
        "host": host,
        "reachable": True,
        "error": failure_message(outcome),
        "enabled": outcome["enabled"],
        "initialized": bool(outcome["enabled"] and active),
        **told,
        "generation": active.get("number"),
        "release": active.get("release", {}).get("id"),
        "environment": active.get("environment", {}).get("prefix"),
        "lease": outcome["found"].get("lease"),
        "generations": [
            {"number": each["number"], "verdict": each["verdict"]["status"], "release": each["release"]["id"]}
            for each in outcome["found"].get("generations", [])
        ],
        "instances": rows,
    }


def merged_logs(hosts: t.Mapping[str, Outcome]) -> list[dict[str, t.Any]]:
    """``[{"time", "host", "instance", "line"}]`` of all hosts, oldest first; a line without a time follows the one before it."""
    rows = []
    for host, outcome in hosts.items():
        for instance, found in sorted((outcome["log"].get("logs") or {}).items()):
            last = ""
            for line in found:
                last = line.get("time") or last
                rows.append({"time": last, "host": host, "instance": instance, "line": line["line"]})
    return sorted(rows, key=lambda row: row["time"])
