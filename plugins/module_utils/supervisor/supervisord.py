# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Instances as programs of a supervisord of the worker's own. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import sys
import time
import typing as t
import xmlrpc.client

from .. import processes
from ..errors import WorkerError
from ..instances import instance_of
from ..layout import WorkerLayout
from ..redact import redact
from . import keeper, launcher, logfile, starter, supervisord_files, supervisord_process
from .base import account, make_directory, number_in, read_files, remove_files
from .model import File, Found, FoundShared, Instance, LogLine, Spec, Stamp

_ALREADY_STARTED, _NOT_RUNNING = 60, 70
_STOPPED, _STARTING, _RUNNING, _STOPPING, _EXITED, _FATAL = 0, 10, 20, 40, 100, 200
_ENDED = (_STOPPED, _EXITED, _FATAL)
_POLL = 0.05
_GRACE = 15.0
# Of a process whose own stop timeout is not known here; supervisord keeps to that one.
_LONGEST_STOP = 600.0

Info = t.Mapping[str, t.Any]


class Supervisord:
    """One supervisord for each worker, driven over its socket (see base.Supervisor)."""

    kind = "supervisord"
    shared_first = True

    def __init__(self, layout: WorkerLayout) -> None:
        self._layout = layout
        self._paths = supervisord_files.Paths(layout, os.geteuid())
        self._log_sizes: dict[str, int] = {}

    # What there is

    def found(self) -> dict[str, Found]:
        names = set(self._names_with_files())
        infos: dict[str, Info] = {}
        orphans: dict[str, list[processes.Process]] = {}
        if supervisord_process.is_running(self._paths):
            infos = self._infos()
        elif os.path.isdir(self._layout.home):
            orphans = supervisord_process.orphans(self._layout)
        entries = keeper.read_entries(self._paths.directory)
        log = supervisord_process.read_log(self._paths.log)
        return {
            name: self._found(name, infos.get(name), orphans.get(name), entries.get(name) or keeper.new_entry(), log)
            for name in sorted(names | set(infos) | set(orphans))
        }

    def _names_with_files(self) -> list[str]:
        try:
            entries = os.listdir(self._paths.instances)
        except FileNotFoundError:
            return []
        return [entry[: -len(".json")] for entry in entries if entry.endswith(".json")]

    def _infos(self) -> dict[str, Info]:
        rows = supervisord_process.connect(self._paths).getAllProcessInfo()
        return {keeper.instance_of(row["name"]) or "": row for row in rows if keeper.instance_of(row["name"])}

    def _found(self, name: str, info: t.Optional[Info], orphans: t.Optional[list[processes.Process]], entry: keeper.Entry, log: str) -> Found:
        files = read_files((self._paths.instance(name), self._program(name)))
        ended = supervisord_files.last_end(log, self._unit(name))
        orphan = orphans[0] if orphans else None
        pid = (info or {}).get("pid") or (orphan.pid if orphan else None)
        instance = files.get(self._paths.instance(name))
        restart = keeper.restart_in(instance.text) if instance else None
        state = "failed" if orphan else state_of(info, entry, ended, keeper.comes_back(entry, restart, ended == 0))
        return Found(
            name=name,
            state=state,
            files=files,
            enabled=bool(entry["enabled"]),
            pid=pid,
            started_at=orphan.started_at if orphan else float(info["start"]) if info and pid else None,
            restarts=entry["restarts"],
            result="orphaned" if orphan else result_of(state, entry, ended),
            exit_status=None if state == "running" else ended,
            reason="Its supervisord was killed and left it behind." if orphan else reason_of(state, info, entry),
            runs=processes.environ(pid) if pid else None,
            recorded=supervisord_files.parse_instance(instance.text) if instance else {},
            stop_timeout=number_in(r"^stopwaitsecs=(\d+)$", files.get(self._program(name))),
        )

    def found_shared(self) -> FoundShared:
        paths = self._paths
        files = read_files((paths.configuration, paths.keeper, paths.launcher, paths.starter))
        return FoundShared(files=files, enabled=True, active=supervisord_process.is_running(paths))

    def check_ours(self, names: t.Collection[str]) -> None:
        """Everything of this worker lies below its root, where nothing else is."""

    # What it must be

    def shared_files(self, spec: Spec) -> list[File]:
        paths = self._paths
        text = supervisord_files.configuration(self._layout.name, paths, sys.executable, os.geteuid())
        return [
            File(paths.configuration, text),
            File(paths.keeper, _source(keeper)),
            File(paths.launcher, _source(launcher)),
            File(paths.starter, _source(starter)),
        ]

    def instance_files(self, spec: Spec, instance: Instance, stamp: Stamp) -> list[File]:
        # Nobody but us and the service user reads it, for there are secrets in it; and that one does not change what we go by.
        text = supervisord_files.instance_text(spec, instance, stamp)
        found = account(spec.user)
        ours = found is None or found[0] == os.geteuid()
        return [
            File(self._paths.instance(instance.name), text, 0o400 if ours else 0o440, None if found is None or ours else (os.geteuid(), found[1])),
            File(self._program(instance.name), supervisord_files.program(spec, instance, self._paths)),
        ]

    def warnings(self, spec: Spec) -> list[str]:
        found = account(spec.user)
        sharers = _sharers(*found) if found is not None and found[0] != os.geteuid() and spec.secrets else []
        if not sharers:
            return []
        return [f"The account {spec.user!r} shares its group with {', '.join(sharers)}, who can read the secrets of its instances: give it a group of its own."]

    def shared_object(self, path: str) -> tuple[str, str]:
        return self.shared_service()

    def shared_service(self) -> tuple[str, str]:
        return "supervisor", os.path.relpath(self._paths.directory, self._layout.root)

    def shown(self, path: str, text: str) -> str:
        return supervisord_files.masked(text) if path.startswith(self._paths.instances) else redact(text)

    # What to do

    def settle(self, written: t.Collection[str]) -> None:
        if not supervisord_process.is_running(self._paths):
            return
        supervisor = supervisord_process.connect(self._paths)
        _added, changed, _removed = supervisor.reloadConfig()[0]
        if "keeper" in changed:
            _quietly(_NOT_RUNNING, supervisor.stopProcess, "keeper")
            supervisor.removeProcessGroup("keeper")
            supervisor.addProcessGroup("keeper")
        elif self._paths.keeper in written:
            _quietly(_NOT_RUNNING, supervisor.stopProcess, "keeper")
            supervisor.startProcess("keeper")

    def enable(self, names: t.Sequence[str]) -> None:
        self._note(names, enabled=True)

    def disable(self, names: t.Sequence[str]) -> None:
        self._note(names, enabled=False)

    def enable_shared(self) -> None:
        """Nothing starts a supervisord at boot: that is the matter of whatever starts this machine's services."""

    def start_shared(self) -> None:
        make_directory(self._paths.logs, 0o750)
        for orphans in supervisord_process.orphans(self._layout).values():
            supervisord_process.end_orphans(orphans, _GRACE, _GRACE)
        supervisord_process.start(self._paths)

    def start(self, names: t.Sequence[str]) -> str:
        # One that waited for its next start may have been started since it was looked at, as what it was before.
        self._note(names, held=True, due=None)
        infos = self._infos()
        lively = [name for name in names if name in infos and infos[name]["state"] not in _ENDED]
        if lively:
            self.stop(lively, _LONGEST_STOP)
        supervisor = supervisord_process.connect(self._paths)
        added, changed, _removed = supervisor.reloadConfig()[0]
        complaints = []
        for name in names:
            unit = self._unit(name)
            if unit in changed:
                supervisor.removeProcessGroup(unit)
            if unit in added or unit in changed:
                supervisor.addProcessGroup(unit)
        self._log_sizes.update({name: logfile.size(self._paths.log_of(name)) for name in names})
        self._note(names, held=False, restarts=0, starts=[time.time()], due=None, failed="")
        for name in names:
            try:
                _quietly(_ALREADY_STARTED, supervisor.startProcess, self._unit(name), False)
            except xmlrpc.client.Fault as fault:
                complaints.append(f"{self._unit(name)}: {fault.faultString}")
        return "\n".join(complaints)

    def stop(self, names: t.Sequence[str], timeout: float) -> list[str]:
        # First of all the keeper must not start again what waits for its next start.
        self._note(names, held=True, due=None)
        if not supervisord_process.is_running(self._paths):
            orphans = supervisord_process.orphans(self._layout)
            return [name for name in names if name in orphans and supervisord_process.end_orphans(orphans[name], timeout, _GRACE)]
        offset = os.path.getsize(self._paths.log)
        known = self._infos()
        names = [name for name in names if name in known]
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(supervisord_process.stopping(self._paths, self._unit(name)))
            self._wait_until_stopped(names, timeout + _GRACE)
        log = supervisord_process.read_log(self._paths.log, offset)
        return [name for name in names if supervisord_files.killed(log, self._unit(name))]

    def _wait_until_stopped(self, names: t.Sequence[str], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            infos = self._infos()
            left = [self._unit(name) for name in names if name in infos and infos[name]["state"] not in _ENDED]
            if not left:
                return
            if time.monotonic() > deadline:
                raise WorkerError("stop_failed", f"{', '.join(left)} did not end within {timeout:g} s, not even by SIGKILL.", f"Look at {self._paths.log}")
            time.sleep(_POLL)

    def remove(self, names: t.Sequence[str]) -> None:
        if supervisord_process.is_running(self._paths):
            supervisor = supervisord_process.connect(self._paths)
            known = self._infos()
            for name in names:
                if name in known:
                    supervisor.removeProcessGroup(self._unit(name))
        for name in names:
            remove_files((self._program(name), self._paths.instance(name)))
        if not os.path.isdir(self._paths.directory):
            return
        with self._entries() as entries:
            for name in names:
                entries.pop(name, None)

    def remove_shared(self) -> None:
        if supervisord_process.is_running(self._paths):
            supervisord_process.end(self._paths, _GRACE)
        shutil.rmtree(self._paths.directory, ignore_errors=True)
        if os.path.dirname(self._paths.socket) != self._paths.directory:
            shutil.rmtree(os.path.dirname(self._paths.socket), ignore_errors=True)

    def owner(self, pid: int) -> t.Optional[str]:
        while pid > 1:
            name = instance_of(self._layout, pid)
            process = processes.read_process(pid)
            if name is not None or process is None:
                return name
            pid = process.parent
        return None

    def log_tail(self, name: str, lines: int, since_start: bool = False) -> list[LogLine]:
        return logfile.tail(self._paths.log_of(name), lines, self._log_sizes.get(name, 0) if since_start else None)

    def log_command(self, name: str) -> str:
        return f"tail -n 100 {self._paths.log_of(name)}"

    def show_command(self, name: str) -> str:
        return f"cat {self._program(name)}"

    def _note(self, names: t.Sequence[str], **values: t.Any) -> None:
        if not names:
            return
        with self._entries() as entries:
            for name in names:
                entries[name] = {**entries.get(name, keeper.new_entry()), **values}

    @contextlib.contextmanager
    def _entries(self) -> t.Iterator[dict[str, keeper.Entry]]:
        with contextlib.ExitStack() as stack:
            try:
                entries = stack.enter_context(keeper.entries(self._paths.directory))
            except TimeoutError as error:
                raise WorkerError("locked", f"{error.filename}: {error.strerror}.", f"See who it is: fuser -v {error.filename}") from None
            yield entries

    def _unit(self, name: str) -> str:
        return f"{self._layout.name}@{name}"

    def _program(self, name: str) -> str:
        return self._paths.program(self._unit(name))


def state_of(info: t.Optional[Info], entry: keeper.Entry, ended: t.Optional[int], comes_back: bool) -> str:
    """The state as in model.Found from supervisord's row, the keeper's entry and how the last process ended.

    comes_back: the keeper starts it again after an end, though it may not have heard of that yet.
    """
    if info is None:
        return "stopped"
    if info["state"] in (_RUNNING, _STOPPING):
        return "running"
    if info["state"] == _STARTING or entry["due"] is not None or (info["state"] == _EXITED and comes_back):
        return "starting"
    if entry["failed"] or info["state"] not in (_STOPPED, _EXITED):
        return "failed"
    return "failed" if info["state"] == _EXITED and ended != 0 else "stopped"


def result_of(state: str, entry: keeper.Entry, ended: t.Optional[int]) -> str:
    """The word that systemd would use."""
    if state == "failed" and entry["failed"]:
        return keeper.FAILED
    if state != "failed" or not ended:
        return "success"
    return "signal" if ended < 0 else "exit-code"


def reason_of(state: str, info: t.Optional[Info], entry: keeper.Entry) -> str:
    """Why an instance failed, where somebody said it."""
    if state != "failed":
        return ""
    return str(entry["failed"] or (info or {}).get("spawnerr") or "")


def _source(module: t.Any) -> str:
    """The text of one of our own modules, which may be imported from an archive."""
    return t.cast(str, module.__loader__.get_source(module.__name__))


def _sharers(uid: int, gid: int) -> list[str]:
    """The accounts, apart from root, that are in the group beside the one with this uid."""
    members = {each.pw_name: each.pw_uid for each in pwd.getpwall() if each.pw_gid == gid}
    with contextlib.suppress(KeyError):
        for name in grp.getgrgid(gid).gr_mem:
            members[name] = pwd.getpwnam(name).pw_uid
    return sorted(name for name, number in members.items() if number not in (0, uid))


def _quietly(code: int, call: t.Callable[..., t.Any], *arguments: t.Any) -> None:
    """Call, and take the one fault for success that says that nothing was left to do."""
    try:
        call(*arguments)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != code:
            raise
