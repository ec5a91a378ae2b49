# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle on the controller: every file of it is compared with what its maker recorded, once for all hosts and later runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive
from ansible_collections.ew_ai.worker.plugins.module_utils.bundle.manifest import Bundle
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked, read_json, write_text
from ansible_collections.ew_ai.worker.plugins.plugin_utils.hashes import cache_directory

LOCK_TIMEOUT = 600.0
# A file that changed a moment ago may change again without a new time stamp.
_SETTLED_NS = 2_000_000_000


def inspect_bundle(path: str) -> Bundle:
    """The bundle, verified; only where its stat signature is a new one is the archive read as a whole.

    Raises OptionError where there is none, and WorkerError ``bad_bundle`` that names the file which differs.
    """
    if not os.path.isfile(path):
        raise OptionError("worker_bundle", path, "there is no such file on the controller", "Make it: ansible-playbook ew_ai.worker.bundle")
    known = os.path.join(cache_directory(os.environ), f"bundle-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json")
    with contextlib.ExitStack() as stack:
        # One process reads, the others wait for what it finds; where that is not possible each reads for itself.
        with contextlib.suppress(OSError, WorkerError):
            stack.enter_context(locked(f"{known}.lock", LOCK_TIMEOUT, "the bundle is being verified"))
        signature = _signature(path)
        if _known(known) == signature:
            return archive.read(path)
        bundle = archive.examine(path)
        if max(signature[-2:]) < time.time_ns() - _SETTLED_NS:
            with contextlib.suppress(OSError):
                write_text(known, json.dumps(signature), 0o600)
        return bundle


def findings(given: str, python_version: str) -> tuple[dict[str, t.Any], list[dict[str, str]]]:
    """(what a host must know of the bundle, what is wrong with it as far as the controller can tell: damage, and a Python that is not the one wanted)."""
    given = os.path.abspath(os.path.expanduser(given))
    try:
        found = inspect_bundle(given)
    except WorkerError as error:
        named = error.message if "worker_bundle" in error.message else f"worker_bundle: {error.message}"
        return {}, [{"check": error.code, "msg": named, "remedy": error.remedy}]
    told = {
        "id": found.id,
        "machine": found.machine,
        "glibc": found.glibc,
        "host_pythons": list(found.host_pythons),
        "megabytes": (found.size + os.path.getsize(given)) // 1_000_000,
    }
    if found.python_version == python_version:
        return told, []
    msg = f"The bundle {given} is for Python {found.python_version}, and worker_python_version is {python_version}."
    remedy = "Make another bundle (ansible-playbook ew_ai.worker.bundle), or set worker_python_version to the bundle's."
    return told, [{"check": "bundle_python", "msg": msg, "remedy": remedy}]


def _signature(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _known(path: str) -> t.Any:
    try:
        return read_json(path)
    except (OSError, WorkerError):
        return None
