# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What an instance's process gets: its arguments, its variables, and the digest of all that has an effect on it.

Pure functions. Needs nothing of Ansible.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import os
import re
import typing as t

from ..errors import OptionError
from ..instances import INSTANCE, STATE_DIR, WORKER
from . import port_tls
from .model import (
    CACHE_DIR,
    EFFECTIVE,
    ENVIRONMENT,
    GENERATION,
    GPUS,
    NODES,
    PORTS,
    RELEASE,
    Instance,
    Spec,
    Stamp,
)

LOOPBACK = "127.0.0.1"
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def argv(spec: Spec, instance: Instance) -> list[str]:
    """The command of the instance: ``<python> -m <module> <arguments>``. Raises OptionError for an unknown placeholder."""
    values = {
        "port": str(instance.ports[0]),
        "bind": spec.bind or LOOPBACK,
        "index": str(instance.index),
        "instance": instance.name,
        **{f"tls_{name}": path for name, path in port_tls.paths(spec, instance).items()},
    }
    return [spec.python, "-m", spec.module, *(_filled(argument, values) for argument in spec.arguments)]


def _filled(argument: str, values: t.Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group(1) not in values:
            if match.group(1).startswith("tls_"):
                raise OptionError("arguments", argument, f"{match.group(0)} has no value without option tls", "Set tls: {cert: …, key: …} (worker_tls).")
            known = ", ".join(f"{{{name}}}" for name in values)
            raise OptionError("arguments", argument, f"{match.group(0)} is not a placeholder", f"Use one of {known}.")
        return values[match.group(1)]

    return _PLACEHOLDER.sub(value, argument)


def environ(spec: Spec, instance: Instance, stamp: Stamp) -> dict[str, str]:
    """The variables of the process, without secrets. What the user gave wins over ours, but for the reserved ones."""
    state, cache = spec.layout.directories(instance.name)
    ours = {
        "PATH": f"{os.path.dirname(spec.python)}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        # Where worker and code belong to one user, Python would write into the release, which never changes.
        "PYTHONDONTWRITEBYTECODE": "1",
        # setproctitle would overwrite the variables by which a later run tells what this process runs.
        "SPT_NOENV": "1",
        "HOME": state,
        "XDG_CACHE_HOME": cache,
        "HF_HOME": os.path.join(cache, "huggingface"),
        "TORCH_HOME": os.path.join(cache, "torch"),
        **dict(spec.activation),
    }
    return {**ours, **dict(spec.env), **dict(instance.env), **_identity(spec, instance, stamp)}


def _identity(spec: Spec, instance: Instance, stamp: Stamp) -> dict[str, str]:
    state, cache = spec.layout.directories(instance.name)
    return {
        WORKER: spec.layout.name,
        INSTANCE: instance.name,
        GENERATION: "" if stamp.generation is None else str(stamp.generation),
        EFFECTIVE: stamp.effective,
        RELEASE: spec.release,
        ENVIRONMENT: spec.environment,
        "EW_PORT": str(instance.ports[0]),
        PORTS: ",".join(str(port) for port in instance.ports),
        "EW_BIND": spec.bind or LOOPBACK,
        STATE_DIR: state,
        CACHE_DIR: cache,
        # Another choice by env would be unknown to whoever asks for the GPU next.
        **({"CUDA_DEVICE_ORDER": "PCI_BUS_ID", GPUS: ",".join(instance.gpus)} if instance.gpus else {}),
        **({NODES: ",".join(instance.nodes)} if instance.nodes else {}),
        **{port_tls.VARIABLES[name]: path for name, path in port_tls.paths(spec, instance).items()},
    }


def digest(spec: Spec, instance: Instance, supervisor: str, salt: bytes) -> str:
    """Names the effective values of an instance: equal digests mean that a restart would change nothing.

    Only values of options go in, never the text of a template, so that an upgrade of the collection restarts nothing;
    the generation's number stays out, so that a new generation with the same values does not either. Keyed, because
    secrets go in and everybody may see it.
    """
    values = dataclasses.asdict(spec)
    for name in ("layout", "generation", "bind_to_unit", "env", "credentials"):
        del values[name]
    values.update(
        root=spec.layout.root,
        name=spec.layout.name,
        supervisor=supervisor,
        instance=dataclasses.asdict(instance),
        arguments=argv(spec, instance)[3:],
        env=sorted({**dict(spec.env), **dict(instance.env)}.items()),
    )
    for name in ("index", "env", "nodes"):
        del values["instance"][name]
    text = json.dumps(_without_empty(values), sort_keys=True, ensure_ascii=False)
    return hmac.new(salt, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]


def _without_empty(value: t.Any) -> t.Any:
    """The value without what is unset, so that an option that a later version adds changes no digest until somebody sets it."""
    if isinstance(value, dict):
        kept = {name: _without_empty(each) for name, each in value.items()}
        return {name: each for name, each in kept.items() if each not in (None, "", [], {})}
    return [_without_empty(each) for each in value] if isinstance(value, (list, tuple)) else value
