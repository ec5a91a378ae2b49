# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The texts of the systemd units of a worker. Pure functions: systemd.unit(5), systemd.exec(5), systemd.syntax(7).

Everything that an instance runs with stands in its own drop-in, with real paths: a change of one instance leaves the
others alone even when they restart by themselves, and a link under a running process would mix two versions.
"""

from __future__ import annotations

import re
import typing as t

from ..instances import STATE_DIR
from . import process, sandbox
from .model import Instance, Spec, Stamp
from .systemd_scope import SYSTEM, Scope

# What every version's notice begins with.
MARK = "# Written by ew_ai.worker"
NOTICE = f"{MARK}.ew_worker; changes are overwritten. Use its option unit_overrides instead."
_ASSIGNMENT = re.compile(r'^Environment="([A-Za-z_][A-Za-z0-9_]*)=(.*)"$')
# A directive and its value; an empty value resets a list, None leaves the directive out.
_Row = tuple[str, t.Optional[str]]
_UNESCAPED = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}


def template(name: str, scope: Scope = SYSTEM) -> str:
    """``<name>@.service``: what is the same for every instance of every version. A login's systemd knows nothing of the network."""
    online = "" if scope.login else "Wants=network-online.target\nAfter=network-online.target\n"
    return f"""{NOTICE}
[Unit]
Description=Worker {name}, instance %i
PartOf={name}.target
{online}
[Service]
Type=exec
ExecStart=/bin/false
KillMode=mixed
KillSignal=SIGTERM

[Install]
WantedBy={name}.target
"""


def target(name: str, bind_to_unit: t.Optional[str], scope: Scope = SYSTEM) -> str:
    """``<name>.target``: all instances. Bound to another unit, it stops, starts and crashes with that one.

    The binding stands on the target and not on the instances: those would stay dead after a crash of the other unit.
    """
    binding = f"BindsTo={bind_to_unit}\nAfter={bind_to_unit}\n" if bind_to_unit else ""
    return f"""{NOTICE}
[Unit]
Description=Worker {name}
{binding}
[Install]
WantedBy={bind_to_unit or scope.boot_target}
"""


def drop_in(
    spec: Spec,
    instance: Instance,
    stamp: Stamp,
    version: int,
    secrets_file: t.Optional[str],
    scope: Scope = SYSTEM,
    log_file: t.Optional[str] = None,
) -> str:
    """``<name>@<instance>.service.d/instance.conf``.

    version: systemd's; secrets_file: read by systemd, not by the process. log_file: written to instead of the journal.
    """
    unit: list[_Row] = [("StartLimitIntervalSec", _number(spec.restart.window)), ("StartLimitBurst", str(spec.restart.burst))]
    service: list[_Row] = [
        ("ExecStart", ""),
        ("ExecStart", " ".join(quote_argument(word) for word in process.argv(spec, instance))),
        ("WorkingDirectory", escape_percent(spec.release)),
        # A login runs its units as itself; to be told so fails in older versions.
        ("User", spec.user or None if scope.login is None else None),
        ("SyslogIdentifier", spec.unit(instance.name)),
        ("StandardOutput", escape_percent(f"append:{log_file}") if log_file else None),
        ("Restart", spec.restart.policy),
        ("RestartSec", _number(spec.restart.delay)),
        ("TimeoutStopSec", str(spec.stop_timeout)),
        *_limits(spec),
        *(("LoadCredential", escape_percent(f"tls_{name}:{path}")) for name, path in (spec.tls if spec.credentials else ())),
        *((key, escape_percent(value)) for key, value in scope.allowed(sandbox.directives(spec, instance, version))),
        *(("Environment", quote(f"{key}={value}")) for key, value in sorted(process.environ(spec, instance, stamp).items())),
    ]
    if secrets_file:
        service.append(("EnvironmentFile", escape_percent(secrets_file)))
    sections = {"Unit": unit, "Service": service}
    for section, rows in spec.unit_overrides:
        sections.setdefault(section, []).extend((key, value) for key, values in rows for value in values)
    return "\n".join([NOTICE, *(_section(name, rows) for name, rows in sections.items())])


def secrets_text(pairs: t.Iterable[tuple[str, str]]) -> str:
    """The text of an EnvironmentFile, in which systemd undoes a backslash before ``"``, ``\\``, backquote and ``$``."""
    escaped = ((name, re.sub(r'(["\\`$])', r"\\\1", value)) for name, value in pairs)
    return "".join(f'{name}="{value}"\n' for name, value in escaped)


def parse_environment(text: str) -> dict[str, str]:
    """The variables that a drop-in of ours sets, as their process gets them."""
    # Not splitlines: it also takes characters for line ends that may stand in a value.
    matches = (_ASSIGNMENT.match(line) for line in text.split("\n"))
    return {match.group(1): _unquoted(match.group(2)) for match in matches if match}


def log_file(text: str) -> t.Optional[str]:
    """The file that the instance of a drop-in writes to; None where that is the journal."""
    match = re.search(r"^StandardOutput=append:(.+)$", text, re.MULTILINE)
    return match.group(1).replace("%%", "%") if match else None


def is_ours(text: str) -> bool:
    """Whether a unit file or a drop-in was written by this collection."""
    return text.startswith(MARK)


def root_of(text: str, name: str) -> t.Optional[str]:
    """The root below which the instance of a drop-in of the worker ``name`` lives; None where the drop-in does not tell."""
    root, found, _rest = parse_environment(text).get(STATE_DIR, "").partition(f"/workers/{name}/data/")
    return root if found else None


def quote(text: str) -> str:
    """One word of a directive that is split at blanks (Environment=): quoted always, so that a reader finds it again."""
    text = escape_percent(text).replace("\\", "\\\\").replace('"', '\\"')
    text = text.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text}"'


def quote_argument(text: str) -> str:
    """One word of ExecStart=, where ``$`` begins a variable as well."""
    quoted = quote(text).replace("$", "$$")
    return quoted if not text or re.search(r"[^A-Za-z0-9_./:=,@%+-]", text) else quoted[1:-1]


def escape_percent(text: str) -> str:
    """``%`` begins a specifier in every directive."""
    return text.replace("%", "%%")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _UNESCAPED.get(match.group(1), match.group(0)), text).replace("%%", "%")


def _limits(spec: Spec) -> list[_Row]:
    limits = spec.limits
    return [
        ("MemoryMax", limits.memory),
        # Beyond its memory an instance is killed, and does not go on at the pace of a disk. Control groups of version 1 know no such limit.
        ("MemorySwapMax", None if limits.memory is None else "0"),
        ("CPUQuota", None if limits.cpu is None else f"{max(1, round(limits.cpu * 100))}%"),
        ("TasksMax", None if limits.tasks is None else str(limits.tasks)),
        ("LimitNOFILE", None if limits.files is None else str(limits.files)),
        ("LimitMEMLOCK", limits.memlock),
    ]


def _section(name: str, rows: t.Iterable[_Row]) -> str:
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in rows if value is not None)


def _number(seconds: float) -> str:
    # systemd takes no exponents.
    return f"{seconds:.6f}".rstrip("0").rstrip(".")
