# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which supervisor a worker has on this host: one rule for those that look ahead and those that act. Needs nothing of Ansible."""

from __future__ import annotations

import os
import typing as t

from .errors import WorkerError
from .files import read_text
from .instances import STATE_DIR
from .layout import WorkerLayout

UNIT_DIRECTORY = "/etc/systemd/system"
SYSTEMD, SUPERVISORD = "systemd", "supervisord"


def chosen(wanted: str, installed: t.Sequence[str], usable: bool, scope: str = "system") -> str:
    """The supervisor that is meant. Pure.

    wanted: auto, systemd or supervisord. installed: those under which this worker has instances here already. usable: systemd
    runs and we are root. scope: to ask for units of the login is to ask for systemd.
    """
    if wanted == "auto" and scope == "user":
        return SYSTEMD
    if wanted != "auto":
        return wanted
    return installed[0] if installed else SYSTEMD if usable else SUPERVISORD


def refuse_other(name: str, wanted: str, installed: t.Sequence[str], scope: str = "system") -> None:
    """Raise WorkerError ``other_supervisor`` where another one than the worker has is asked for: both would fight for its ports."""
    if wanted == "auto" or not installed or wanted in installed:
        return
    has = installed[0]
    command = "ansible-playbook ew_ai.worker.uninstall -e worker_supervisor=" + has + (" -e worker_scope=user" if has == SYSTEMD and scope == "user" else "")
    raise WorkerError(
        "other_supervisor",
        f"The worker {name!r} is under {has} on this host, and {wanted} is asked for.",
        f"Keep {has} (worker_supervisor), or uninstall it first, which leaves its data: {command}",
        installed=has,
    )


def refuse_other_scope(layout: WorkerLayout, scope: str, uid: int, login_units: str) -> None:
    """Raise WorkerError ``other_scope`` where the worker's units are in the other scope: both would start it, on the same ports.

    login_units: the directory of our own login's units. Root does not look at logins: what it would run from is not theirs.
    """
    other, directory = ("system", UNIT_DIRECTORY) if scope == "user" else ("user", login_units)
    if (scope == "system" and uid == 0) or SYSTEMD not in installed(layout, directory):
        return
    become = "true" if other == "system" else "false"
    raise WorkerError(
        "other_scope",
        f"The units of the worker {layout.name!r} on this host are in {directory} (worker_scope: {other}), and worker_scope is {scope}.",
        f"Keep worker_scope: {other} with worker_become: {become}, or uninstall it there first, which leaves its data: "
        f"ansible-playbook ew_ai.worker.uninstall -e worker_scope={other} -e worker_become={become}",
    )


def installed(layout: WorkerLayout, unit_directory: str = UNIT_DIRECTORY) -> tuple[str, ...]:
    """The supervisors under which the worker has instances on this host, whether they run or not."""
    found = []
    if os.path.exists(os.path.join(layout.supervisord, "supervisord.conf")):
        found.append(SUPERVISORD)
    if any(_is_below(layout, read_text(path)) for path in _drop_ins(layout.name, unit_directory)):
        found.append(SYSTEMD)
    return tuple(found)


def _drop_ins(name: str, unit_directory: str) -> t.Iterator[str]:
    try:
        entries = os.listdir(unit_directory)
    except OSError:
        return
    for entry in entries:
        if entry.startswith(f"{name}@") and entry.endswith(".service.d"):
            yield os.path.join(unit_directory, entry, "instance.conf")


def _is_below(layout: WorkerLayout, drop_in: t.Optional[str]) -> bool:
    # A percent sign is doubled in units.
    return f'"{STATE_DIR}={layout.home}{os.sep}'.replace("%", "%%") in (drop_in or "")
