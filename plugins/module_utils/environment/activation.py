# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The variables of an activated environment, so that a service needs no ``conda run``."""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import WorkerError
from ..files import read_json

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a shell sets for itself.
_SHELL_VARIABLES = {"_", "SHLVL", "PWD", "OLDPWD", "HOME", "TMPDIR", "LC_ALL", "CONDA_SHLVL"}
# Scripts may print: their output goes to standard error. $0 is the prefix.
ACTIVATE = 'exec 3>&1 1>&2; for script in "$0"/etc/conda/activate.d/*.sh; do . "$script"; done; exec env -0 >&3'


def base_activation(prefix: str, name: t.Optional[str], variables: t.Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """What activating means without any package's part in it. name: what people call it; else the prefix."""
    return {
        **dict(variables),
        "PATH": f"{prefix}/bin:{SYSTEM_PATH}",
        "CONDA_PREFIX": prefix,
        "CONDA_DEFAULT_ENV": name or prefix,
    }


def declared_variables(prefix: str) -> dict[str, str]:
    """Variables that packages (``etc/conda/env_vars.d``) and then the environment itself (``conda-meta/state``) declare."""
    found: dict[str, str] = {}
    directory = os.path.join(prefix, "etc", "conda", "env_vars.d")
    names = sorted(name for name in os.listdir(directory) if name.endswith(".json")) if os.path.isdir(directory) else []
    for name in names:
        found.update(_strings(read_json(os.path.join(directory, name))))
    path = os.path.join(prefix, "conda-meta", "state")
    state = read_json(path) if os.path.exists(path) and os.path.getsize(path) else None
    if isinstance(state, dict):
        found.update(_strings(state.get("env_vars")))
    return found


def has_scripts(prefix: str) -> bool:
    """Whether a package brings shell code that runs on activation."""
    directory = os.path.join(prefix, "etc", "conda", "activate.d")
    return os.path.isdir(directory) and any(name.endswith(".sh") for name in os.listdir(directory))


def evaluated(before: t.Mapping[str, str], output: str) -> dict[str, str]:
    """The variables that the scripts set or changed. before: what the shell started with; output: ``env -0``."""
    after = dict(row.split("=", 1) for row in output.split("\0") if "=" in row)
    return {name: value for name, value in after.items() if before.get(name) != value and name not in _SHELL_VARIABLES}


def _strings(data: t.Any) -> dict[str, str]:
    """Raises WorkerError ``build_failed`` for what no process can have among its variables."""
    found = {str(name): str(value) for name, value in data.items()} if isinstance(data, dict) else {}
    for name, value in found.items():
        if not re.fullmatch(r"[^=\0\ud800-\udfff]+", name) or not re.fullmatch(r"[^\0\ud800-\udfff]*", value):
            words = f"A package declares the variable {name!r} with the value {value[:80]!r}, which cannot be one."
            raise WorkerError("build_failed", words, "Leave the package out, or pin another build.")
    return found
