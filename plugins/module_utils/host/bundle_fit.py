# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether a bundle is for this host. Needs nothing of Ansible."""

from __future__ import annotations

import glob
import os
import platform
import typing as t

from ..bundle.leftovers import leftovers, size_of
from ..errors import WorkerError
from ..files import read_json
from ..layout import Layout
from .preflight import Finding, Host, Wanted, check_room, nearest
from .toolchain import RECORD


def glibc_here() -> str:
    """The version of the C library, ``2.36``; empty where it is another one."""
    try:
        name, _blank, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""


def check_bundle(wanted: Wanted, host: Host, bundle: t.Mapping[str, t.Any]) -> list[Finding]:
    """What of this host the bundle does not fit: machine, C library, Python, room."""
    found = misfits(bundle, platform.machine(), glibc_here(), host.python_version, toolchain_pythons(Layout(wanted.root).toolchain))
    if found or os.path.isdir(os.path.join(Layout(wanted.root).bundles, str(bundle["id"]))):
        return found
    root = wanted.root.rstrip("/")
    # The run that sends it begins by removing what killed ones left.
    freed = sum(map(size_of, leftovers(Layout(wanted.root).bundles))) // 1_000_000
    room = check_room(root, nearest(root), wanted.minimum_disk_mb + max(0, int(bundle["megabytes"]) - freed))
    return [Finding("disk_full", f"{each.msg} That counts the bundle.", each.remedy) for each in room if each.check == "disk_full"]


def misfits(bundle: t.Mapping[str, t.Any], machine: str, glibc: str, python: t.Sequence[int], toolchains: t.Collection[str]) -> list[Finding]:
    """One finding for whatever makes it useless here. toolchains: the Pythons of those that are there, such as ``3.11``: none is made for these."""
    if bundle["machine"] != machine:
        msg = f"The bundle is for {bundle['machine']}, and this host is {machine}."
        return [Finding("bundle_platform", msg, "Make one with worker_bundle_platform, and name it for this host: ansible-playbook ew_ai.worker.bundle")]
    if not glibc or _numbers(glibc) < _numbers(bundle["glibc"]):
        msg = f"The bundle needs glibc {bundle['glibc']} or newer, and this host has {glibc or 'another C library'}."
        return [Finding("bundle_platform", msg, "Make another one with a lower worker_bundle_glibc: ansible-playbook ew_ai.worker.bundle")]
    here = ".".join(str(part) for part in python[:2])
    if here not in bundle["host_pythons"] and here not in toolchains:
        msg = f"The host's Python is {here}, and the bundle has a toolchain for {', '.join(bundle['host_pythons']) or 'none'}."
        return [Finding("bundle_python", msg, "Set ansible_python_interpreter, or make another one with worker_bundle_host_pythons.")]
    return []


def toolchain_pythons(directory: str) -> set[str]:
    """The Pythons of the toolchains on this host."""
    found = set()
    for path in glob.glob(os.path.join(glob.escape(directory), "*", RECORD)):
        try:
            record = read_json(path)
        except WorkerError:
            continue
        if isinstance(record, dict):
            found.add(".".join(str(record.get("python_version")).split(".")[:2]))
    return found


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:2]]
