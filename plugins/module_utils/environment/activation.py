# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The variables of an activated environment, so that a service needs no ``conda run``."""

from __future__ import annotations

import json
import os
import typing as t

from ..files import read_json, read_text

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
    state = read_text(os.path.join(prefix, "conda-meta", "state"))
    if state:
        found.update(_strings(json.loads(state).get("env_vars")))
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
    return {str(name): str(value) for name, value in data.items()} if isinstance(data, dict) else {}
