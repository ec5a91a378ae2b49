# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Fetching wheels into uv's cache before any downloaded code runs, so that the cache can be kept for later builds."""

from __future__ import annotations

import contextlib
import os
import sys
import typing as t

from ..errors import WorkerError
from ..files import write_text
from ..run import Completed
from .installers import Installer, classify, failure, without_wheel
from .sources import Sources

Run = t.Callable[[t.Sequence[str], t.Mapping[str, str]], Completed]
# Each round leaves out what the one before found to have no wheel.
_ROUNDS = 10
# What installing would only run into once more.
_FINAL = ("index_unreachable", "disk_full")


def fetch_wheels(run: Run, installer: Installer, sources: Sources, python_version: str, installed: t.Iterable[str], scratch: str) -> None:
    """Let uv fetch the wheels that it will install. What has none, with all that only it needs, is left to the installation.

    run: runs a program as the build user, which owns the directory ``wheels`` in scratch. installed: names of packages that
    are there already. Raises WorkerError ``index_unreachable`` or ``disk_full``.
    """
    python = trusted_python(run)
    if python is None:
        return
    excludes = os.path.join(scratch, "excludes.txt")
    left_out = set(installed)
    for _round in range(_ROUNDS):
        write_text(excludes, "".join(f"{name}\n" for name in sorted(left_out)))
        argv = installer.fetch(python, python_version, os.path.join(scratch, "wheels"), sources.wheels, sources.constraints, excludes)
        done = run(argv, installer.variables())
        if done.rc != 0 and classify(f"{done.stdout}\n{done.stderr}")[0] in _FINAL:
            raise failure(done, "Fetching the requirements")
        found = without_wheel(done.stderr) - left_out
        if done.rc == 0 or not found:
            return
        left_out |= found


def trusted_python(run: Run) -> t.Optional[str]:
    """An interpreter that no package had a part in and that the build user can run: uv asks one about this machine."""
    for python in dict.fromkeys((sys.executable, "/usr/bin/python3")):
        with contextlib.suppress(WorkerError):
            if run([python, "-I", "-c", ""], {}).rc == 0:
                return python
    return None
