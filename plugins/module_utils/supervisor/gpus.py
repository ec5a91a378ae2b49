# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""GPUs by UUID: which ones the host has, and the device nodes that an instance needs for its own. Needs nothing of Ansible.

Numbers are no names: they change with the machine's hardware, and with what its driver finds at boot.
"""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import WorkerError
from ..files import read_text
from .model import Instance

# What the NVIDIA driver tells of itself; below it a directory for each GPU, called by its PCI address.
DRIVER = "/proc/driver/nvidia"
# AMD's driver has one node for all GPUs, and tells no UUIDs here.
_AMD = ("/dev/kfd", "/dev/dri")
_SHARED = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
_CAPABILITIES = "/dev/nvidia-caps"
_UUID = re.compile(r"^GPU UUID:[ \t]*(GPU-[0-9A-Za-z-]+)[ \t]*$", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:[ \t]*([0-9]+)[ \t]*$", re.MULTILINE)

Known = t.Mapping[str, int]


def found(driver: str = DRIVER) -> t.Optional[dict[str, int]]:
    """UUID -> minor number of its device node, by PCI address; None where there is no such driver."""
    directory = os.path.join(driver, "gpus")
    try:
        addresses = sorted(os.listdir(directory))
    except OSError:
        return None
    texts = [read_text(os.path.join(directory, address, "information")) or "" for address in addresses]
    pairs = [(_UUID.search(text), _MINOR.search(text)) for text in texts]
    return {uuid.group(1): int(minor.group(1)) for uuid, minor in pairs if uuid and minor}


def resolved(instances: t.Sequence[Instance], known: t.Optional[Known], amd: bool) -> list[Instance]:
    """The instances with the nodes of their GPUs. known: see ``found``; amd: AMD's driver is there.

    Raises WorkerError ``gpu_unknown``. The driver does not tell the UUIDs of a GPU's parts (MIG-…): they are believed.
    """
    return [dataclasses.replace(one, nodes=_nodes(one, known, amd)) if one.gpus else one for one in instances]


def has_amd() -> bool:
    """Whether AMD's driver is there."""
    return os.path.exists(_AMD[0])


def _nodes(instance: Instance, known: t.Optional[Known], amd: bool) -> tuple[str, ...]:
    if known is None and amd:
        return _AMD
    for gpu in instance.gpus:
        if not known or (gpu not in known and not gpu.startswith("MIG-")):
            raise _unknown(instance, gpu, known)
    parts = any(gpu.startswith("MIG-") for gpu in instance.gpus)
    minors = sorted(known.values()) if known and parts else sorted((known or {})[gpu] for gpu in instance.gpus)
    return (*_SHARED, *((_CAPABILITIES,) if parts else ()), *(f"/dev/nvidia{minor}" for minor in minors))


def _unknown(instance: Instance, gpu: str, known: t.Optional[Known]) -> WorkerError:
    there = f"It has {', '.join(known)}" if known else f"It has none ({DRIVER}/gpus tells of none, and there is no {_AMD[0]})"
    return WorkerError(
        "gpu_unknown",
        f"Option 'instances.gpus' gives instance {instance.name!r} the GPU {gpu}, which this host does not have. {there}.",
        "Write one that nvidia-smi -L prints on this host, or load its driver.",
        option="instances.gpus",
        gpu=gpu,
        known=list(known or ()),
    )
