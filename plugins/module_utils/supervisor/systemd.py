# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Instances as systemd units, of the system or of a login. Needs nothing of Ansible."""

from __future__ import annotations

import os
import time
import typing as t

from .. import processes, user_manager
from ..errors import WorkerError
from ..files import read_text
from ..instances import WORKER
from ..layout import WorkerLayout
from ..redact import MASK, redact
from ..run import Completed, check, clean_environment, run
from . import journal, logfile, systemd_show, systemd_units
from .base import make_directory, number_in, read_files, remove_empty, remove_files
from .model import File, Found, FoundShared, Instance, LogLine, Spec, Stamp
from .systemd_scope import SYSTEM, Scope

_CALL_TIMEOUT = 120.0
_LONGEST_LOG = 10 << 20  # bytes


class Systemd:
    """A systemd: a template unit, a drop-in for each instance, a target for all (see base.Supervisor)."""

    kind = "systemd"
    shared_first = False

    def __init__(self, layout: WorkerLayout, bind_to_unit: t.Optional[str] = None, scope: Scope = SYSTEM) -> None:
        self._layout = layout
        self._bind_to_unit = bind_to_unit
        self._scope = scope
        self._version: t.Optional[int] = None
        self._started_at: dict[str, int] = {}
        self._log_sizes: dict[str, int] = {}

    # What there is

    def found(self) -> dict[str, Found]:
        names = self._names_with_files()
        shown = self._show([self._unit(name) for name in names] + [f"{self._layout.name}@*.service"])
        prefix = f"{self._layout.name}@"
        loaded = [unit[len(prefix) : -len(".service")] for unit in shown]
        found = {name: self._found(name, shown.get(self._unit(name), {})) for name in sorted({*names, *loaded})}
        # A unit without files of ours may be any instance of the template that somebody once tried to start.
        return {name: one for name, one in found.items() if name in names or (one.runs or {}).get(WORKER) == self._layout.name}

    def _names_with_files(self) -> list[str]:
        start, end = f"{self._layout.name}@", ".service.d"
        try:
            entries = os.listdir(self._scope.directory)
        except FileNotFoundError:
            return []
        names = [entry[len(start) : -len(end)] for entry in entries if entry.startswith(start) and entry.endswith(end)]
        return [name for name in names if name and os.path.exists(self._drop_in(name))]

    def _found(self, name: str, unit: t.Mapping[str, str]) -> Found:
        files = read_files((self._drop_in(name), self._secrets(name)))
        drop_in = files.get(self._drop_in(name))
        pid = systemd_show.main_pid(unit)
        limit = systemd_show.start_limit(unit, drop_in.text if drop_in else "")
        return Found(
            name=name,
            state=systemd_show.state(unit),
            files=files,
            enabled=unit.get("UnitFileState") == "enabled",
            pid=pid,
            started_at=systemd_show.timestamp(unit.get("ExecMainStartTimestamp", "")) if pid else None,
            restarts=int(unit.get("NRestarts") or 0),
            result=systemd_show.LIMIT_HIT if limit else unit.get("Result") or "success",
            reason=limit,
            exit_status=systemd_show.exit_status(unit),
            runs=processes.environ(pid) if pid else None,
            recorded=systemd_units.parse_environment(drop_in.text) if drop_in else {},
            stop_timeout=number_in(r"^TimeoutStopSec=(\d+)$", drop_in),
            unread=unit.get("NeedDaemonReload") == "yes",
            memory_limit=systemd_show.memory_limit(drop_in.text if drop_in else ""),
        )

    def found_shared(self) -> FoundShared:
        shown = self._show([self._target] + ([self._bind_to_unit] if self._bind_to_unit else []))
        target = shown.get(self._target, {})
        # Asked for by an alias, a unit answers with its own name.
        bound = next((rows for unit, rows in shown.items() if unit != self._target), {})
        login = self._scope.login
        return FoundShared(
            files=read_files((self._template_path, self._target_path)),
            enabled=target.get("UnitFileState") == "enabled",
            active=target.get("ActiveState") == "active",
            hindered=self._hindered(bound),
            unread=target.get("NeedDaemonReload") == "yes",
            missing=self._bind_to_unit if self._bind_to_unit and bound.get("LoadState", "not-found") == "not-found" else "",
            ends_with_session=login.name if login and not user_manager.lingers(login) else "",
        )

    def _hindered(self, bound: t.Mapping[str, str]) -> str:
        if self._bind_to_unit is None or systemd_show.state(bound) == "running":
            return ""
        return f"{self._bind_to_unit} does not run, and starting {self._target} would start it"

    def check_ours(self, names: t.Collection[str]) -> None:
        units = {self._unit(name): self._drop_in(name) for name in sorted(names) or ["0"]}
        for path in (self._template_path, self._target_path, *units.values()):
            text = read_text(path)
            if os.path.lexists(path) and not systemd_units.is_ours(text or ""):
                raise self._foreign(f"{path} was not written by this collection")
            root = systemd_units.root_of(text or "", self._layout.name)
            if root is not None and os.path.realpath(root) != os.path.realpath(self._layout.root):
                raise WorkerError(
                    "foreign_unit",
                    f"The units of a worker {self._layout.name!r} below {root} are on this host already ({path}).",
                    f"Use that root (worker_root), or another worker_name. To move it, uninstall it there first: -e worker_root={root}",
                    path=path,
                )
        expected = {self._target: self._target_path, **dict.fromkeys(units, self._template_path)}
        for unit, path in systemd_show.other_fragments(self._show(list(expected)), expected):
            raise self._foreign(f"{unit} of {path} is not of this collection")

    def _foreign(self, problem: str) -> WorkerError:
        name = self._layout.name
        message = f"A worker {name!r} would take the place of a unit of this host: {problem}."
        return WorkerError("foreign_unit", message, f"Choose another worker_name, of which there is neither {name}.target nor {name}@.service.")

    # What it must be

    def shared_files(self, spec: Spec) -> list[File]:
        name = self._layout.name
        return [
            File(self._template_path, systemd_units.template(name, self._scope)),
            File(self._target_path, systemd_units.target(name, self._bind_to_unit, self._scope)),
        ]

    def instance_files(self, spec: Spec, instance: Instance, stamp: Stamp) -> list[File]:
        secrets = self._secrets(instance.name) if spec.secrets else None
        text = systemd_units.drop_in(spec, instance, stamp, self.version, secrets, self._scope, self._log_file(instance.name))
        files = [File(self._drop_in(instance.name), text)]
        if secrets:
            files.append(File(secrets, systemd_units.secrets_text(spec.secrets), 0o600))
        return files

    def warnings(self, spec: Spec) -> list[str]:
        return []

    def shared_object(self, path: str) -> tuple[str, str]:
        return "unit", os.path.basename(path)

    def shared_service(self) -> tuple[str, str]:
        return "unit", self._target

    def shown(self, path: str, text: str) -> str:
        return MASK if path.startswith(self._layout.secrets) else redact(text)

    # What to do

    def settle(self, written: t.Collection[str]) -> None:
        if any(map(systemd_units.log_file, self._texts().values())):
            make_directory(self._layout.logs)
        check(self._systemctl("daemon-reload"), "systemd_failed")

    def enable(self, names: t.Sequence[str]) -> None:
        check(self._systemctl("enable", *map(self._unit, names)), "systemd_failed")

    def disable(self, names: t.Sequence[str]) -> None:
        check(self._systemctl("disable", *map(self._unit, names)), "systemd_failed")

    def enable_shared(self) -> None:
        # Not plain enable: links to a unit that the target was bound to before must go.
        check(self._systemctl("reenable", self._target), "systemd_failed")

    def start_shared(self) -> None:
        check(self._systemctl("start", self._target), "systemd_failed", f"{self._scope.command('systemctl')} status {self._target}")

    def start(self, names: t.Sequence[str]) -> str:
        units = [self._unit(name) for name in names]
        # Deliberate starts count against StartLimitBurst too. A unit that is not loaded cannot be reset, and need not be.
        self._systemctl("reset-failed", *units)
        self._started_at.update(dict.fromkeys(names, int(time.time())))
        self._begin_logs(names)
        # Not start: systemd lets that wait where it is about to restart a unit by itself, and counts the restart.
        return self._systemctl("restart", *units).stderr.strip()

    def stop(self, names: t.Sequence[str], timeout: float) -> list[str]:
        units = {self._unit(name): name for name in names}
        check(self._systemctl("stop", *units, timeout=timeout + _CALL_TIMEOUT), "systemd_failed")
        shown = self._show(list(units))
        killed = [name for unit, name in units.items() if shown.get(unit, {}).get("Result") == "timeout"]
        self._systemctl("reset-failed", *units)
        return killed

    def remove(self, names: t.Sequence[str]) -> None:
        # A unit that failed would stay loaded without its files. One that did not fail need not be known to systemd.
        self._systemctl("reset-failed", *map(self._unit, names))
        for name in names:
            remove_files([self._drop_in(name)], empty_directories=True)
            remove_files([self._secrets(name)], empty_directories=True)

    def remove_shared(self) -> None:
        if os.path.exists(self._target_path):
            check(self._systemctl("stop", self._target), "systemd_failed")
            check(self._systemctl("disable", self._target), "systemd_failed")
        remove_files([self._template_path, self._target_path])
        self.settle(())
        if self._scope.login is not None:
            remove_empty(self._scope.directory, above=self._scope.login.home)

    def owner(self, pid: int) -> t.Optional[str]:
        return self._scope.instance(self._layout.name, processes.control_group(pid) or "")

    def log_tail(self, name: str, lines: int, since_start: bool = False) -> list[LogLine]:
        path = systemd_units.log_file(self._texts().get(name, ""))
        if path:
            return logfile.tail(path, lines, self._log_sizes.get(name) if since_start else None)
        # Only root may; a login reads what has arrived.
        self._journalctl("--sync")
        since = [f"--since=@{self._started_at[name]}"] if since_start and name in self._started_at else []
        return journal.parse(self._journalctl("--unit", self._unit(name), "--lines", str(lines), *since, "--output", "json", "--all", "--no-pager", "--quiet"))

    def log_command(self, name: str) -> str:
        path = systemd_units.log_file(self._texts().get(name, ""))
        return f"tail -n 100 {path}" if path else f"{self._scope.command('journalctl')} -u {self._unit(name)} -n 100"

    def show_command(self, name: str) -> str:
        return f"{self._scope.command('systemctl')} cat {self._unit(name)}"

    # Names and calls

    @property
    def version(self) -> int:
        """The number of systemd's release, such as 252."""
        if self._version is None:
            self._version = systemd_show.parse_version(check(self._systemctl("--version"), "systemd_failed").stdout)
        return self._version

    @property
    def _target(self) -> str:
        return f"{self._layout.name}.target"

    @property
    def _target_path(self) -> str:
        return os.path.join(self._scope.directory, self._target)

    @property
    def _template_path(self) -> str:
        return os.path.join(self._scope.directory, f"{self._layout.name}@.service")

    def _unit(self, name: str) -> str:
        return f"{self._layout.name}@{name}.service"

    def _drop_in(self, name: str) -> str:
        return os.path.join(self._scope.directory, f"{self._unit(name)}.d", "instance.conf")

    def _secrets(self, name: str) -> str:
        return os.path.join(self._layout.secrets, f"{name}.env")

    def _show(self, units: t.Sequence[str]) -> dict[str, dict[str, str]]:
        shown = check(self._systemctl("show", f"--property={','.join(systemd_show.PROPERTIES)}", "--", *units), "systemd_failed")
        return systemd_show.parse(shown.stdout)

    def _systemctl(self, *words: str, timeout: float = _CALL_TIMEOUT) -> Completed:
        return run(["systemctl", *self._scope.words, "--no-ask-password", *words], self._environment(), timeout=timeout)

    def _journalctl(self, *words: str) -> str:
        return run(["journalctl", *self._scope.words, *words], self._environment(), timeout=_CALL_TIMEOUT).stdout

    def _environment(self) -> dict[str, str]:
        # Times are printed in the local zone, whose name is ambiguous.
        return clean_environment({"TZ": "UTC", "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", **self._scope.variables})

    # Logs of a login without a journal

    def _log_file(self, name: str) -> t.Optional[str]:
        """Where the instance is to write to, None for the journal."""
        login = self._scope.login
        return None if login is None or user_manager.reads_its_journal(login.uid) else os.path.join(self._layout.logs, f"{name}.log")

    def _texts(self) -> dict[str, str]:
        """The drop-ins as they are: where an instance writes to is decided when they are written."""
        return {name: read_text(self._drop_in(name)) or "" for name in self._names_with_files()} if self._scope.login is not None else {}

    def _begin_logs(self, names: t.Sequence[str]) -> None:
        """Put long log files aside, and remember where the others end."""
        files = {name: systemd_units.log_file(text) for name, text in self._texts().items() if name in names}
        for name, path in files.items():
            if path and logfile.size(path) > _LONGEST_LOG:
                os.replace(path, f"{path}.1")
            self._log_sizes[name] = logfile.size(path) if path else 0
