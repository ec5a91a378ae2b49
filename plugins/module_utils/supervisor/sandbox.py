# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The sandbox profiles as systemd directives. Pure: what is allowed follows from the paths and devices that are named.

``standard`` leaves a worker what machine learning needs (executable memory, shared memory, its GPUs, the network);
``strict`` takes executable memory and the view of other processes as well; ``none`` takes nothing.
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
_GATED = (
    (247, ("ProtectProc", "invisible")),
    (247, ("ProcSubset", "pid")),
    (248, ("PrivateIPC", "yes")),
)


def directives(spec: Spec, instance: Instance, version: int) -> list[tuple[str, str]]:
    """The profile's directives for one instance, in order. version: systemd's."""
    if spec.sandbox == "none":
        return []
    strict = spec.sandbox == "strict"
    rows = list(_STANDARD)
    rows += [("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6" + ("" if strict else " AF_NETLINK"))]
    rows += _visible(spec)
    rows += _devices(instance)
    rows += [("ReadWritePaths", path) for path in (*spec.layout.directories(instance.name), *spec.writable_paths)]
    if strict:
        rows += list(_STRICT)
        rows += [row for since, row in _GATED if version >= since]
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
    """No device but the harmless ones; where GPUs are listed, the nodes of NVIDIA's and AMD's drivers too."""
    if not instance.gpus:
        return [("PrivateDevices", "yes")]
    nodes = ("char-nvidia* rw", "char-drm rw", "/dev/kfd rw")
    return [("DevicePolicy", "closed"), *(("DeviceAllow", node) for node in nodes)]
