# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The sandbox profiles as systemd directives. Pure: what is allowed follows from the paths and devices that are named.

``standard`` leaves a worker what machine learning needs (executable memory, shared memory, its GPUs, the network, what
/proc tells of the machine); ``strict`` takes executable memory and that view as well; ``none`` takes nothing.
"""

from __future__ import annotations

import typing as t

from .model import Instance, Spec

_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")
_STANDARD = (
    ("NoNewPrivileges", "yes"),
    ("CapabilityBoundingSet", ""),
    ("AmbientCapabilities", ""),
    ("ProtectSystem", "strict"),
    # Which leaves /run as it is. Sockets in it can be connected to all the same.
    ("ReadOnlyPaths", "/run"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("KeyringMode", "private"),
    ("LockPersonality", "yes"),
    ("RemoveIPC", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallErrorNumber", "EPERM"),
    ("UMask", "0027"),
)
_STRICT = (
    ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallFilter", "~@privileged @resources"),
)
# What older versions do not know, they would only log.
_STANDARD_GATED = ((247, ("ProtectProc", "invisible")),)
_STRICT_GATED = (
    (247, ("ProcSubset", "pid")),
    (248, ("PrivateIPC", "yes")),
)
# Directories of device nodes, and the names in /proc/devices that stand for what is in them.
_GROUPS = {"/dev/nvidia-caps": "char-nvidia-caps", "/dev/dri": "char-drm"}


def directives(spec: Spec, instance: Instance, version: int) -> list[tuple[str, str]]:
    """The profile's directives for one instance, in order. version: systemd's."""
    if spec.sandbox == "none":
        return []
    strict = spec.sandbox == "strict"
    rows = list(_STANDARD)
    rows += [("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6" + ("" if strict else " AF_NETLINK"))]
    rows += _visible(spec)
    rows += [row for since, row in _STANDARD_GATED if version >= since]
    rows += _devices(instance)
    rows += [("ReadWritePaths", path) for path in (*spec.layout.directories(instance.name), *spec.writable_paths)]
    if strict:
        rows += list(_STRICT)
        # The libraries of a GPU read what its driver tells below /proc/driver.
        rows += [row for since, row in _STRICT_GATED if version >= since and not (instance.gpus and row[0] == "ProcSubset")]
    return rows


def _visible(spec: Spec) -> list[tuple[str, str]]:
    """Homes and temporary directories are hidden, unless something that the worker runs lies below them."""
    needed = (spec.layout.root, spec.release, spec.python, *spec.writable_paths)
    homes = "read-only" if _any_below(needed, _HOMES) else "yes"
    rows = [("ProtectHome", homes)]
    if not _any_below(needed, _TEMPORARY):
        rows.append(("PrivateTmp", "yes"))
    return rows


def _any_below(paths: t.Iterable[str], parents: t.Iterable[str]) -> bool:
    return any(f"{path}/".startswith(f"{parent}/") for path in paths for parent in parents)


def _devices(instance: Instance) -> list[tuple[str, str]]:
    """No device but the harmless ones, and the nodes of the instance's own GPUs.

    Others are not only refused, they are not there: a library that looks for GPUs finds its own. A node that is absent is left out.
    """
    rows = [("PrivateDevices", "yes")]
    for node in instance.nodes:
        rows.append(("BindPaths", f"-{node}"))
    rows += [("DeviceAllow", f"{_GROUPS.get(node, node)} rw") for node in instance.nodes]
    return rows
