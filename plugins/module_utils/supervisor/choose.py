# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The supervisor of a worker on this host, ready to use."""

from __future__ import annotations

import os
import typing as t

from .. import supervisors
from ..errors import OptionError, WorkerError
from ..layout import WorkerLayout
from . import options
from .base import Supervisor
from .supervisord import Supervisord
from .systemd import Systemd


def choose(params: options.Params, layout: WorkerLayout) -> Supervisor:
    """The supervisor that option supervisor means.

    Raises OptionError for what that supervisor cannot do, WorkerError ``other_supervisor``, ``no_systemd`` or ``not_root``.
    """
    booted = os.path.isdir("/run/systemd/system")
    installed = supervisors.installed(layout)
    supervisors.refuse_other(layout.name, params["supervisor"], installed)
    kind = supervisors.chosen(params["supervisor"], installed, booted and os.geteuid() == 0)
    if kind == supervisors.SUPERVISORD:
        options.refuse_under_supervisord(params)
        return Supervisord(layout)
    return _systemd(params, layout, booted)


def _systemd(params: options.Params, layout: WorkerLayout, booted: bool) -> Supervisor:
    if not booted:
        raise WorkerError("no_systemd", "Option 'supervisor' is 'systemd', and systemd does not run on this host.", "Use supervisor: supervisord.")
    if params["scope"] == "user":
        raise OptionError("scope", "user", "user units are not supported yet", "Use scope: system with become: true, or supervisor: supervisord.")
    if os.geteuid() != 0:
        raise WorkerError("not_root", "Units of the system need root.", "Set become: true, or use supervisor: supervisord.")
    return Systemd(layout, options.bound_unit(params))


def info_params(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The options of ew_worker_info with those of ew_worker that ``choose`` looks at."""
    unset = dict.fromkeys(("limits", "writable_paths", "unit_overrides", "bind_to_unit", "sandbox"))
    return {**unset, "scope": "system", **params}
