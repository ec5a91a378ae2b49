# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The supervisor of a worker on this host, ready to use."""

from __future__ import annotations

import os
import typing as t

from .. import supervisors, user_manager
from ..errors import WorkerError
from ..layout import WorkerLayout
from . import options
from .base import Supervisor
from .supervisord import Supervisord
from .systemd import Systemd
from .systemd_scope import SYSTEM, of_login


def choose(params: options.Params, layout: WorkerLayout) -> Supervisor:
    """The supervisor that option supervisor means.

    Raises OptionError for what that supervisor cannot do, WorkerError ``other_supervisor``, ``other_scope``, ``no_systemd``,
    ``not_root``, ``user_scope_as_root`` or ``no_user_manager``.
    """
    booted = os.path.isdir("/run/systemd/system")
    login, scope = user_manager.own_login(), params["scope"]
    wanted = supervisors.chosen(params["supervisor"], (), False, scope) if scope == "user" else params["supervisor"]
    installed = supervisors.installed(layout, login.units if scope == "user" else supervisors.UNIT_DIRECTORY)
    supervisors.refuse_other_scope(layout, scope, login.uid, login.units)
    supervisors.refuse_other(layout.name, wanted, installed, scope)
    kind = supervisors.chosen(wanted, installed, booted and login.uid == 0)
    if kind == supervisors.SUPERVISORD:
        options.refuse_under_supervisord(params)
        return Supervisord(layout)
    return _systemd(params, layout, booted, login)


def _systemd(params: options.Params, layout: WorkerLayout, booted: bool, login: user_manager.Login) -> Supervisor:
    if not booted:
        raise WorkerError("no_systemd", "Option 'supervisor' is 'systemd', and systemd does not run on this host.", "Use supervisor: supervisord.")
    if params["scope"] == "user":
        user_manager.check_usable(login)
        options.refuse_in_user_scope(params)
        limits = {name: value for name, value in (params["limits"] or {}).items() if value is not None}
        user_manager.refuse_limits(limits, user_manager.powers(login) if limits else user_manager.Powers())
        return Systemd(layout, options.bound_unit(params), of_login(login))
    if login.uid != 0:
        raise WorkerError("not_root", "Units of the system need root.", "Set become: true, or use scope: user, or supervisor: supervisord.")
    return Systemd(layout, options.bound_unit(params), SYSTEM)


def info_params(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of ew_worker_info with those of ew_worker that ``choose`` looks at."""
    unset = dict.fromkeys(("limits", "writable_paths", "unit_overrides", "bind_to_unit", "sandbox"))
    return {**unset, **params}
