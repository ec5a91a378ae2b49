# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What stands in the way of units of the login itself (worker_scope: user). Nothing is changed. Needs nothing of Ansible."""

from __future__ import annotations

import typing as t

from .. import user_manager
from ..errors import WorkerError
from .preflight import Finding


def check(login: user_manager.Login, linger: bool, limits: t.Mapping[str, t.Any], runs: bool) -> list[Finding]:
    """Root, no systemd of the login, no lingering where it is wanted, limits that nothing would enforce.

    runs: whether the run will start anything. Where the login has no systemd, that alone is told: the rest cannot be known.
    """
    try:
        user_manager.check_usable(login)
    except WorkerError as error:
        return [_finding(error)]
    found = []
    if runs and linger and not user_manager.lingers(login) and not user_manager.may_linger(login):
        found.append(_finding(user_manager.no_linger(login)))
    asked = {name: value for name, value in limits.items() if value is not None}
    powers = user_manager.powers(login) if asked else user_manager.Powers()
    for name, value in asked.items():
        try:
            user_manager.refuse_limits({name: value}, powers, "worker_limits")
        except WorkerError as error:
            found.append(_finding(error))
    return found


def _finding(error: WorkerError) -> Finding:
    return Finding(error.code, error.message, error.remedy)
