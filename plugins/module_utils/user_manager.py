# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The systemd of a login (``systemd --user``): where it is, whether it runs, what it may, whether it outlives the login's sessions.

One set of rules for those that look ahead and those that act. Needs nothing of Ansible.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import pwd
import re
import typing as t

from .errors import OptionError, WorkerError
from .files import read_text
from .run import check, clean_environment, run

# The control group controller that each limit needs.
_CONTROLLERS = {"memory": "memory", "cpu": "cpu", "tasks": "pids"}
# The row of proc(5)'s limits that bounds each of the others.
_ROWS = {"files": "Max open files", "memlock": "Max locked memory"}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_CALL_TIMEOUT = 30.0


@dataclasses.dataclass(frozen=True)
class Login:
    """An account of the host and the paths of its systemd."""

    uid: int
    name: str
    home: str

    @property
    def runtime(self) -> str:
        return f"/run/user/{self.uid}"

    @property
    def socket(self) -> str:
        """There while the login's systemd runs."""
        return os.path.join(self.runtime, "systemd", "private")

    @property
    def units(self) -> str:
        """Holds the units that the login writes. Not by XDG_CONFIG_HOME, which is systemd's own and not ours."""
        return os.path.join(self.home, ".config", "systemd", "user")

    @property
    def service(self) -> str:
        """The unit of the system that is this login's systemd."""
        return f"user@{self.uid}.service"

    @property
    def variables(self) -> dict[str, str]:
        """By these systemctl finds it; a session opened by sudo or su has none."""
        return {"XDG_RUNTIME_DIR": self.runtime, "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime}/bus"}


@dataclasses.dataclass(frozen=True)
class Powers:
    """What a login's systemd can hold its units to. controllers: of control groups; most: highest value by limit, None without one."""

    controllers: frozenset[str] = frozenset()
    most: t.Mapping[str, t.Optional[int]] = dataclasses.field(default_factory=dict)


def own_login() -> Login:
    """The account that runs this. A container may run under a uid that no account has."""
    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:
        return Login(os.geteuid(), str(os.geteuid()), os.path.expanduser("~"))
    return Login(account.pw_uid, account.pw_name, account.pw_dir)


def check_usable(login: Login) -> None:
    """Raise WorkerError ``user_scope_as_root`` or ``no_user_manager`` where no units of the login can be made."""
    if login.uid == 0:
        raise WorkerError(
            "user_scope_as_root",
            "The scope is user, and this runs as root: units of a login are for an ordinary account.",
            "Set worker_become: false and let ansible_user be that account, or worker_scope: system.",
        )
    if not os.path.exists(login.socket):
        raise WorkerError(
            "no_user_manager",
            f"The scope is user, and no systemd runs for the account {login.name} ({login.socket} is absent).",
            f"Let it run without a session: sudo loginctl enable-linger {login.name}. Where this host has no logind (libpam-systemd), use "
            "worker_supervisor: supervisord and worker_scope: system, with worker_become: false.",
        )


def lingers(login: Login) -> bool:
    """Whether the login's systemd starts with the machine and outlives its sessions."""
    return os.path.exists(f"/var/lib/systemd/linger/{login.name}")


def may_linger(login: Login) -> bool:
    """Whether the account may turn lingering on by itself, which is for polkit to say. Changes nothing."""
    try:
        argv = ["pkcheck", "--action-id", "org.freedesktop.login1.set-self-linger", "--process", str(os.getpid())]
        return run(argv, clean_environment(login.variables), timeout=_CALL_TIMEOUT).rc == 0
    except WorkerError:
        return False


def no_linger(login: Login) -> WorkerError:
    """The error where lingering is wanted and cannot be had."""
    return WorkerError(
        "no_linger",
        f"The account {login.name} does not linger and may not turn that on itself: its workers would end with its last session (worker_linger).",
        f"sudo loginctl enable-linger {login.name}; or set worker_linger: false",
    )


def enable_linger(login: Login) -> None:
    """Turn lingering on for ourselves. Raises WorkerError ``no_linger``."""
    if run(["loginctl", "--no-ask-password", "enable-linger"], clean_environment(login.variables), timeout=_CALL_TIMEOUT).rc != 0:
        raise no_linger(login)


def reads_its_journal(uid: int) -> bool:
    """Whether journald keeps a journal of its own for the login, which needs a journal on disk, and lets it read that."""
    return any(os.access(path, os.R_OK) for path in glob.glob(f"/var/log/journal/*/user-{uid}.journal"))


def powers(login: Login) -> Powers:
    """Read what the login's systemd was given. Control groups of version 1 are never handed to a login."""
    group = f"/sys/fs/cgroup/user.slice/user-{login.uid}.slice/{login.service}/cgroup.controllers"
    shown = check(run(["systemctl", "show", "--property=MainPID", "--value", login.service], timeout=_CALL_TIMEOUT), "systemd_failed")
    text = read_text(f"/proc/{int(shown.stdout.strip() or 0)}/limits") or ""
    return Powers(frozenset((read_text(group) or "").split()), {name: parse_limit(text, row) for name, row in _ROWS.items()})


def parse_limit(text: str, row: str) -> t.Optional[int]:
    """The hard limit in the text of /proc/PID/limits; None for none."""
    match = re.search(rf"^{row}\s+\S+\s+(\d+)", text, re.MULTILINE)
    return int(match.group(1)) if match else None


def refuse_limits(limits: t.Mapping[str, t.Any], found: Powers, prefix: str = "limits") -> None:
    """Refuse by name the limits that would have no effect: systemd itself says nothing. prefix: what the options are called by."""
    for name, value in limits.items():
        if value is None:
            continue
        problem = _problem(name, value, found)
        if problem:
            raise OptionError(f"{prefix}.{name}", value, problem, "Leave it out, or let the units be the system's (scope: system, with become: true).")


def _problem(name: str, value: t.Any, found: Powers) -> str:
    controller = _CONTROLLERS.get(name)
    if controller is not None:
        return "" if controller in found.controllers else f"this host gives logins no {controller} controller, and nothing would hold the instances to it"
    most = found.most.get(name)
    try:
        exceeds = most is not None and amount(value) > most
    except ValueError:
        return "it is neither a number nor a size such as 4G"
    return f"the login's own limit is {most}, and systemd would silently take that" if exceeds else ""


def amount(value: t.Union[str, int]) -> float:
    """A number, or a size such as ``1.5G``, in bytes; ``infinity`` too."""
    text = str(value)
    return float("inf") if text == "infinity" else float(text.rstrip("KMGT")) * _UNITS[text[-1] if text[-1] in _UNITS else ""]
