# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The files of a worker under supervisord, and what its own log tells. Pure functions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import typing as t

from ..layout import WorkerLayout
from ..redact import MASK, redact
from . import process
from .model import Instance, Spec, Stamp

NOTICE = "; Written by ew_ai.worker.ew_worker; changes are overwritten."
LOG_BYTES = 10 * 1024 * 1024
LOG_BACKUPS = 3
# The kernel's limit is 107 bytes, and supervisord makes the socket under a longer name first.
_LONGEST_SOCKET = 90
_END = r"(?:exited|stopped): %s \((?:exit status (\d+)|terminated by (SIG[A-Z0-9+-]+))"


class Paths:
    """Every path of a worker's supervisord."""

    def __init__(self, layout: WorkerLayout, uid: int) -> None:
        self.directory = layout.supervisord
        self.logs = layout.logs
        self.configuration = self._in("supervisord.conf")
        self.lock = self._in("supervisord.lock")
        self.pid = self._in("supervisord.pid")
        self.log = self._in("supervisord.log")
        self.keeper = self._in("keeper.py")
        self.launcher = self._in("launcher.py")
        self.starter = self._in("starter.py")
        self.instances = self._in("instances")
        self.socket = socket_path(self._in("supervisor.sock"), uid)

    def _in(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def program(self, unit: str) -> str:
        """The program file of ``ew-worker@0``."""
        return os.path.join(self.directory, "programs", f"{unit}.conf")

    def instance(self, name: str) -> str:
        """What the starter and the keeper read of the instance ``0``."""
        return os.path.join(self.instances, f"{name}.json")

    def log_of(self, name: str) -> str:
        """The log file of the instance ``0``."""
        return os.path.join(self.logs, f"{name}.log")


def socket_path(wanted: str, uid: int) -> str:
    """The path itself, or a short one that stands for it where the kernel could not take it.

    Not below /run/user: that directory goes when the user logs out, and the socket with it.
    """
    if len(os.fsencode(wanted)) <= _LONGEST_SOCKET:
        return wanted
    short = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    return f"/run/ew_worker-{short}/supervisor.sock" if uid == 0 else f"/tmp/ew_worker-{uid}-{short}/supervisor.sock"


def configuration(name: str, paths: Paths, interpreter: str, uid: int) -> str:
    """``supervisord.conf``. interpreter: runs the keeper."""
    keeper = command([interpreter, "-I", paths.keeper, paths.directory, paths.socket])
    user = "user=root\n" if uid == 0 else ""
    return f"""{NOTICE}
[supervisord]
identifier={name}
directory=/
logfile={percent(paths.log)}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={percent(paths.pid)}
umask=022
{user}
[unix_http_server]
file={percent(paths.socket)}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[eventlistener:keeper]
command={keeper}
events=PROCESS_STATE_EXITED,PROCESS_STATE_STOPPED
buffer_size=1000
autorestart=true
startretries=1000
stdout_logfile=NONE
stderr_logfile={percent(os.path.join(paths.directory, "keeper.log"))}
stderr_logfile_maxbytes=1MB
stderr_logfile_backups=1

[include]
files={percent(os.path.join(paths.directory, "programs"))}/*.conf
"""


def program(spec: Spec, instance: Instance, paths: Paths) -> str:
    """``programs/<unit>.conf``. What may be any text stands in the instance file instead.

    supervisord itself restarts nothing: the keeper does, by the policy. It starts nothing by itself either, for the
    keeper knows which instances are enabled.
    """
    user = f"user={spec.user}\n" if spec.user else ""
    return f"""{NOTICE}
[program:{spec.unit(instance.name)}]
command={command([spec.python, "-I", "-S", paths.starter, paths.instance(instance.name)])}
directory={percent(spec.release)}
{user}autostart=false
autorestart=false
startsecs=0
startretries=0
stopsignal=TERM
stopwaitsecs={spec.stop_timeout}
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile={percent(paths.log_of(instance.name))}
stdout_logfile_maxbytes={LOG_BYTES}
stdout_logfile_backups={LOG_BACKUPS}
"""


def instance_text(spec: Spec, instance: Instance, stamp: Stamp) -> str:
    """``instances/<name>.json``."""
    data = {
        "argv": process.argv(spec, instance),
        "environ": process.environ(spec, instance, stamp),
        "secrets": dict(spec.secrets),
        "restart": {"policy": spec.restart.policy, "delay": spec.restart.delay, "burst": spec.restart.burst, "window": spec.restart.window},
    }
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_instance(text: str) -> dict[str, str]:
    """The variables in an instance file, without secrets; nothing where it is broken."""
    found = _object(text).get("environ")
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}


def masked(text: str) -> str:
    """An instance file's text with its secrets masked."""
    data = _object(text)
    if not isinstance(data.get("secrets"), dict):
        return MASK
    data["secrets"] = dict.fromkeys(data["secrets"], MASK)
    return redact(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _object(text: str) -> dict[str, t.Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def last_end(log: str, unit: str) -> t.Optional[int]:
    """The exit status of the unit's last process that ended, negative for a signal, from supervisord's log."""
    ends = re.findall(_END % re.escape(unit), log)
    if not ends:
        return None
    status, name = ends[-1]
    if status:
        return int(status)
    number = getattr(signal, name, None)
    return -int(number) if number is not None else -1


def killed(log: str, unit: str) -> bool:
    """Whether supervisord had to kill the unit's process when it was to stop."""
    return re.search(rf"killing '{re.escape(unit)}' \(\d+\) with SIGKILL", log) is not None


def command(words: t.Iterable[str]) -> str:
    """A ``command=`` of supervisord."""
    return percent(" ".join(shlex.quote(word) for word in words))


def percent(text: str) -> str:
    """``%`` begins an expansion in every value."""
    return text.replace("%", "%%")
