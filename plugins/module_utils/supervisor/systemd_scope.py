# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whose systemd runs the instances: the system's, or a login's. Pure, but for what the login is."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..supervisors import UNIT_DIRECTORY
from ..user_manager import Login

_INSTANCE_IN_GROUP = re.compile(r"/([^/@]+)@([^/@]+)\.service(?:/|$)")
# What a systemd without privileges can do in every version. The rest fails (capabilities, devices), does silently nothing up to
# version 252, or brings a user namespace of its own, which not every kernel allows: see docs/supervisors.md.
_UNPRIVILEGED = frozenset(
    (
        "KeyringMode",
        "LockPersonality",
        "NoNewPrivileges",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "RestrictRealtime",
        "RestrictSUIDSGID",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
        "SystemCallFilter",
        "UMask",
    )
)


@dataclasses.dataclass(frozen=True)
class Scope:
    """One systemd as its units and its callers see it.

    directory: holds the units. boot_target: what wants those that start by themselves. login: None for the system's.
    """

    directory: str = UNIT_DIRECTORY
    boot_target: str = "multi-user.target"
    login: t.Optional[Login] = None

    @property
    def name(self) -> str:
        return "system" if self.login is None else "user"

    @property
    def words(self) -> tuple[str, ...]:
        """Come first in every call of systemctl and journalctl."""
        return () if self.login is None else ("--user",)

    @property
    def variables(self) -> dict[str, str]:
        """What these calls need to find it."""
        return {} if self.login is None else self.login.variables

    def command(self, program: str) -> str:
        """The beginning of a command for a person."""
        return " ".join((program, *self.words))

    def allowed(self, rows: t.Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The directives of a sandbox that have an effect here."""
        return [row for row in rows if self.login is None or row[0] in _UNPRIVILEGED]

    def instance(self, worker: str, group: str) -> t.Optional[str]:
        """The instance of the worker that a process in this control group belongs to; None for those of another systemd too."""
        if self.login is not None:
            group = group.partition(f"/{self.login.service}")[2]
        match = _INSTANCE_IN_GROUP.search(group)
        return match.group(2) if match and match.group(1) == worker else None


SYSTEM = Scope()


def of_login(login: Login) -> Scope:
    """The scope of that login's own systemd."""
    return Scope(login.units, "default.target", login)
