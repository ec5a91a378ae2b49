# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an interpreter is and where its parts lie, asked of itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

from .errors import ChannelError

SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
OLDEST = (3, 9)

# Runs in the interpreter that is asked, which may be old: nothing but the standard library, nothing newer than 3.9.
QUERY = """
import json, os, platform, sys, sysconfig
var = sysconfig.get_config_var
paths = sysconfig.get_paths("posix_prefix")
preferred = getattr(sysconfig, "get_preferred_scheme", lambda key: "posix_prefix")("prefix")
data = getattr(sysconfig, "_get_sysconfigdata_name", lambda: "_sysconfigdata")()
try:
    import ensurepip
    bundled = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
except ImportError:
    bundled = ""
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": platform.python_version().rstrip("+"),
    "version_info": list(sys.version_info[:2]),
    "build": sys.version,
    "abiflags": sys.abiflags,
    "debug": bool(var("Py_DEBUG")),
    "executable": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "prefix": sys.base_prefix,
    "machine": platform.machine(),
    "bits": 64 if sys.maxsize > 2 ** 32 else 32,
    "libc": platform.libc_ver()[0],
    "multiarch": var("MULTIARCH") or "",
    "stdlib": paths["stdlib"],
    "dynload": os.path.join(paths["stdlib"], "lib-dynload"),
    "include": paths["include"],
    "preferred_scheme": preferred,
    "sysconfigdata": data,
    "wheel_dirs": [path for path in (bundled, var("WHEEL_PKG_DIR") or "") if path and os.path.isdir(path)],
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """One CPython as it lies on this machine. All paths are absolute."""

    implementation: str
    version: str
    """As a conda version, for example ``3.11.7`` or ``3.14.0rc1``."""
    version_info: tuple[int, int]
    build: str
    """``sys.version``: it holds the build's date, so two builds of one version differ."""
    abiflags: str
    debug: bool
    executable: Path
    prefix: Path
    machine: str
    bits: int
    libc: str
    multiarch: str
    stdlib: Path
    dynload: Path
    include: Path
    preferred_scheme: str
    """``posix_prefix`` unless the distribution has changed where pip installs to."""
    sysconfigdata: str
    wheel_dirs: tuple[Path, ...]

    @property
    def minor(self) -> str:
        """For example ``3.11``."""
        return f"{self.version_info[0]}.{self.version_info[1]}"

    @property
    def subdir(self) -> str:
        """The conda name of its platform."""
        return SUBDIRS[self.machine]


def parse(answer: str) -> Interpreter:
    """Turn the query's JSON into an Interpreter."""
    raw = json.loads(answer)
    for name in ("executable", "prefix", "stdlib", "dynload", "include"):
        raw[name] = Path(raw[name])
    raw["version_info"] = tuple(raw["version_info"])
    raw["wheel_dirs"] = tuple(Path(path) for path in raw["wheel_dirs"])
    return Interpreter(**{field.name: raw[field.name] for field in fields(Interpreter)})


def refusal(python: Interpreter) -> str:
    """Why this interpreter cannot be packed; empty if it can."""
    if python.implementation != "CPython":
        return f"it is {python.implementation}, not CPython"
    if python.version_info < OLDEST:
        return f"it is Python {python.version}, older than {OLDEST[0]}.{OLDEST[1]}"
    if python.debug or python.abiflags:
        return f"it is a debug or free-threaded build (ABI flags {python.abiflags!r})"
    if python.machine not in SUBDIRS or python.bits != 64:
        return f"its platform {python.machine} ({python.bits} bits) is none of {', '.join(SUBDIRS)}"
    if python.libc != "glibc":
        return f"its C library is {python.libc or 'not glibc'}"
    if python.stdlib != python.prefix / "lib" / f"python{python.minor}":
        return f"its standard library is in {python.stdlib}, not in lib/python{python.minor} of {python.prefix}"
    return ""


def ask(executable: Path) -> Interpreter:
    """Ask the interpreter itself; for one in a virtual environment the answer is about the base it was made from."""
    try:
        done = subprocess.run([str(executable), "-I", "-c", QUERY], check=True, capture_output=True, text=True, timeout=60)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        raise ChannelError(f"--python {executable}: it does not run ({reason}); name another interpreter") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ChannelError(f"--python {executable}: it does not run ({error}); name another interpreter") from error
    return parse(done.stdout)


def find(name: str | None) -> Interpreter:
    """Look up an interpreter by path or by a name on PATH; None means the one that runs this.

    Raises ChannelError when there is none or when it cannot be packed.
    """
    found = name and (shutil.which(name) or "")
    if found == "":
        raise ChannelError(f"--python {name}: no such executable; give a path or a name on PATH")
    python = ask(Path(found or sys.executable))
    why = refusal(python)
    if why:
        raise ChannelError(f"--python {name or python.executable}: {why}; name another interpreter with --python")
    return python
