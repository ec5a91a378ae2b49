# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The interpreter that a toolchain is made from."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
import typing as t

from ..errors import OptionError, WorkerError
from ..run import check, run

# Prints the same that ``running`` finds; a test holds the two together.
_DESCRIBE = """
import importlib.util, json, os, sys
print(json.dumps({
    "python": sys.executable,
    "version": "%d.%d.%d" % sys.version_info[:3],
    "platform": getattr(sys.implementation, "_multiarch", "") or os.uname().machine,
    "abi": sys.implementation.name + getattr(sys, "abiflags", ""),
    "has_venv": all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")),
}))
"""


@dataclasses.dataclass(frozen=True)
class Interpreter:
    """python: its path. version: ``3.11.7``. platform: the ABI's triplet. has_venv: can make virtual environments with pip."""

    python: str
    version: str
    platform: str
    abi: str
    has_venv: bool

    @property
    def minor(self) -> str:
        """``3.11``: what a virtual environment depends on; a patch release changes the file behind the same link."""
        return ".".join(self.version.split(".")[:2])


def running() -> Interpreter:
    """The interpreter that runs this."""
    return Interpreter(
        python=sys.executable,
        version="{}.{}.{}".format(*sys.version_info[:3]),
        platform=getattr(sys.implementation, "_multiarch", "") or os.uname().machine,
        abi=sys.implementation.name + getattr(sys, "abiflags", ""),
        has_venv=all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")),
    )


def interpreter_at(python: t.Optional[str]) -> Interpreter:
    """The interpreter at the path; the running one, and then no child, for None or its own path.

    Raises OptionError for what is no Python of a version that the modules run on.
    """
    if python is None or python == sys.executable:
        return running()
    if not os.path.isabs(python) or not os.path.isfile(python) or not os.access(python, os.X_OK):
        raise OptionError("python", python, "it is no Python that runs here: no absolute path of a program", "Give the path of a Python 3.9 or newer.")
    try:
        done = check(run([python, "-I", "-c", _DESCRIBE], timeout=30), "not_found")
        found = Interpreter(**json.loads(done.stdout))
    except (WorkerError, ValueError, TypeError) as error:
        raise OptionError("python", python, f"it is no Python that runs here ({error})", "Give the path of a Python 3.9 or newer.") from None
    if tuple(map(int, found.version.split("."))) < (3, 9):
        raise OptionError("python", python, f"it is Python {found.version}", "Give the path of a Python 3.9 or newer.")
    return found


def refuse_without_venv(interpreter: Interpreter) -> None:
    """Raises WorkerError ``no_venv`` where the distribution has cut it out of the interpreter."""
    if not interpreter.has_venv:
        raise WorkerError(
            "no_venv",
            f"{interpreter.python} (Python {interpreter.version}) cannot make virtual environments: its module venv or ensurepip is missing.",
            f"Install it: apt-get install python3-venv (Debian, Ubuntu; for this Python python{interpreter.minor}-venv), "
            f"or dnf install python3-pip python3-libs (RHEL, Fedora). Or name another interpreter with the option python.",
        )
