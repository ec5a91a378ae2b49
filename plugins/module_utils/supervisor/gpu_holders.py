# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who has a GPU already: every instance that is deployed on this host, whether it runs just now or not. Needs nothing of Ansible.

Instances under the system's systemd, and under that of the account that looks, are found whatever their root is; those under
supervisord below the same root.
"""

from __future__ import annotations

import glob
import os
import typing as t

from ..errors import WorkerError
from ..instances import INSTANCE, STATE_DIR, WORKER
from ..supervisors import UNIT_DIRECTORY
from . import gpus, supervisord_files, systemd_units
from .model import Instance, gpus_of

# (state directory, worker, instance) -> its GPUs; workers below other roots may have the same names.
Holders = dict[tuple[str, str, str], tuple[str, ...]]


def holders(root: str, unit_directories: t.Collection[str] = (UNIT_DIRECTORY,)) -> Holders:
    """Every deployed instance that has GPUs."""
    found: Holders = {}
    units = [path for each in unit_directories for path in glob.glob(os.path.join(glob.escape(each), "*@*.service.d", "instance.conf"))]
    programs = glob.glob(os.path.join(glob.escape(root), "workers", "*", "supervisord", "instances", "*.json"))
    for paths, parse in ((units, _of_drop_in), (programs, supervisord_files.parse_instance)):
        for path in sorted(paths):
            variables = parse(_text(path))
            given = gpus_of(variables)
            if given and variables.get(WORKER) and variables.get(INSTANCE):
                found[variables.get(STATE_DIR, ""), variables[WORKER], variables[INSTANCE]] = given
    return found


def check(home: str, instances: t.Sequence[Instance], held: Holders, going: t.Collection[str]) -> None:
    """Raise WorkerError ``gpu_taken`` for the first GPU that another instance has and keeps.

    home: the directory of the worker that the instances are of. going: those of its instances that get what they have anew, or are
    removed. What an instance has been given already it keeps, for whoever shares it now has said so.
    """
    ours = {key: given for key, given in held.items() if key[0].startswith(home + os.sep)}
    kept = {instance: given for (_state, _worker, instance), given in ours.items()}
    taken = {gpu: key for key, given in held.items() if key not in ours or key[2] not in going for gpu in given}
    for one in instances:
        for gpu in one.gpus:
            if gpu in taken and gpu not in kept.get(one.name, ()):
                holder = "@".join(taken[gpu][1:])
                raise WorkerError(
                    "gpu_taken",
                    f"The GPU {gpu} of instance {one.name!r} belongs to {holder} on this host.",
                    f"Give it another one (nvidia-smi -L), remove {holder}, or let them share it: gpu_sharing: true (worker_gpu_sharing).",
                    option="instances.gpus",
                    gpu=gpu,
                    holder=holder,
                )


def refusals(home: str, wanted: t.Mapping[str, t.Sequence[str]], known: t.Optional[gpus.Known], amd: bool, held: Holders) -> list[WorkerError]:
    """What keeps a deploy's instances from their GPUs, ``gpu_unknown`` or ``gpu_taken``: the first obstacle of each instance.

    home: the directory of the worker. wanted: UUIDs by instance. known, amd: see ``gpus.resolved``. held: nobody where they may be shared.
    """
    # A deploy leaves none of the worker's own instances with what it has now.
    going = [instance for _state, _worker, instance in held]
    found = []
    for one in (Instance(name, 0, (), gpus=tuple(listed)) for name, listed in wanted.items() if listed):
        try:
            gpus.resolved([one], known, amd)
            check(home, [one], held, going)
        except WorkerError as error:
            found.append(error)
    return found


def _text(path: str) -> str:
    # A drop-in of that name may be anybody's, and hold anything.
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def _of_drop_in(text: str) -> dict[str, str]:
    return systemd_units.parse_environment(text) if systemd_units.is_ours(text) else {}
