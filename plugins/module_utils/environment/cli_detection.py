# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where conda, mamba and micromamba are looked for, and which of them a file is. Starts no child."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ..errors import WorkerError
from ..trust import writable_by_others
from .backends import Detected

# Variables by which installations tell where they are, by the name that is looked for; the others come after the name's own.
VARIABLES: dict[str, tuple[str, ...]] = {"conda": ("CONDA_EXE",), "mamba": ("MAMBA_EXE",), "micromamba": ("MAMBA_EXE",)}
# Where installers put them unless told otherwise: directories of whole installations, and directories of programs.
INSTALLATIONS = ("miniforge3", "mambaforge", "miniconda3", "anaconda3", "conda")
PARENTS = ("~", "/opt", "/usr/local", "/root")
PROGRAMS = ("~/.local/bin", "~/bin", "/usr/local/bin", "/usr/bin", "/opt/bin")
# The oldest that takes an explicit list with sha256 (conda), and whose behaviour is the recorded one (the others).
REQUIRED: dict[str, tuple[int, ...]] = {"conda": (24, 11), "mamba": (2, 0), "micromamba": (2, 0)}


@dataclasses.dataclass(frozen=True)
class Looked:
    """One place where a program was looked for. problem: why it is not taken, empty for the one that is."""

    path: str
    problem: str = ""


def places(name: str, environ: t.Mapping[str, str], home: str) -> tuple[str, ...]:
    """Paths where a program of that name may be, in the order in which they are looked at, without repetition."""
    found: list[str] = []
    for variable in VARIABLES.get(name, ()):
        value = environ.get(variable, "")
        # MAMBA_EXE is mamba's or micromamba's, whichever was set up last.
        if os.path.isabs(value) and os.path.basename(value) == name:
            found.append(value)
    found += [os.path.join(directory, name) for directory in environ.get("PATH", "").split(os.pathsep) if os.path.isabs(directory)]
    found += [os.path.join(parent, each, part, name) for parent in PARENTS for each in INSTALLATIONS for part in ("bin", "condabin")]
    found += [os.path.join(directory, name) for directory in PROGRAMS]
    return tuple(dict.fromkeys(os.path.normpath(home + path[1:] if path.startswith("~") else path) for path in found))


def search(name: str, environ: t.Mapping[str, str], home: str, uid: int) -> tuple[t.Optional[str], tuple[Looked, ...]]:
    """The first place that has a program which may be run, and all that was looked at until then."""
    looked: list[Looked] = []
    for path in places(name, environ, home):
        problem = problem_of(path, uid)
        looked.append(Looked(path, problem))
        if not problem:
            return path, tuple(looked)
    return None, tuple(looked)


def problem_of(path: str, uid: int) -> str:
    """Why the program at that path cannot or must not be run, empty where it can."""
    if not os.path.exists(path):
        return "is not there"
    if not os.path.isfile(path):
        return "is no file"
    if not os.access(path, os.X_OK):
        return "cannot be executed"
    writable = writable_by_others(path) if uid == 0 else None
    return f"must not be run by root, since others than root can write {writable}" if writable else ""


def identify(answer: str, path: str) -> t.Optional[Detected]:
    """Which tool answers so to ``--version``. mamba 2 and micromamba answer alike, with a bare number: there the file's name decides."""
    versions = dict(re.findall(r"^(?:(conda|mamba|micromamba)\s+)?v?(\d+(?:\.\d+)+\S*)\s*$", answer, re.MULTILINE))
    for name in ("mamba", "micromamba", "conda"):
        if name in versions:
            return Detected(name, versions[name], path)
    if "" not in versions:
        return None
    names = (os.path.basename(path), os.path.basename(os.path.realpath(path)))
    # mamba 1 named itself.
    is_mamba = not any(name.startswith("micromamba") for name in names) and any(name.startswith("mamba") for name in names)
    return Detected("mamba" if is_mamba else "micromamba", versions[""], path)


def check_version(detected: Detected) -> None:
    """Raises WorkerError ``backend_unavailable`` for one that is too old."""
    required = REQUIRED[detected.name]
    found = tuple(int(part) for part in re.findall(r"\d+", detected.version)[: len(required)])
    if found < required:
        wanted = ".".join(map(str, required))
        raise WorkerError(
            "backend_unavailable",
            f"{detected.executable} is {detected.name} {detected.version}, and {wanted} or newer is needed.",
            f"Update it ({_UPDATES[detected.name]}), or set backend: rattler, which needs none of them.",
            detected_version=detected.version,
            required_version=wanted,
            executable=detected.executable,
        )


_UPDATES = {"conda": "conda update -n base conda", "mamba": "conda update -n base mamba", "micromamba": "micromamba self-update"}


def absent(name: str, looked: t.Sequence[Looked]) -> WorkerError:
    """The error for a program that was named and is nowhere."""
    words = "".join(f"\n  {each.path} {each.problem}" for each in looked)
    remedy = "Install it, or give its path (executable), or set backend: rattler, which needs none."
    return WorkerError(
        "backend_unavailable", f"There is no {name} to be used on this host. It was looked for at:{words}", remedy, looked_at=[each.path for each in looked]
    )


def bad_path(path: str, problem: str) -> WorkerError:
    """The error for a path that was given and cannot be used."""
    unsafe = "root" in problem
    remedy = (
        f"Make it root's alone (chown root:root; chmod go-w) from {path} up, or name another one."
        if unsafe
        else "Correct the path, or give the bare name to have it looked for, or set backend: rattler (and leave executable out)."
    )
    return WorkerError(
        "unsafe_executable" if unsafe else "backend_unavailable", f"Option 'executable' is {path!r}, and that {problem}.", remedy, executable=path
    )


def check_place(backend: str, executable: t.Optional[str], environ: t.Mapping[str, str], home: str, uid: int) -> t.Optional[str]:
    """The program that the options ``backend`` and ``executable`` mean, or None where that is the library rattler.

    Looks at files alone. Raises WorkerError ``backend_unavailable`` or ``unsafe_executable``.
    """
    if backend == "rattler" or (backend == "auto" and executable is None):
        return None
    if executable is not None and "/" in executable:
        problem = problem_of(executable, uid)
        if problem:
            raise bad_path(executable, problem)
        return executable
    name = executable or backend
    path, looked = search(name, environ, home, uid)
    if path is None and backend != "auto":
        raise absent(name, looked)
    return path
