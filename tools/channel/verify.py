# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A staged interpreter is run before it is packed: what does not work here works on no host."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .elf import from_host
from .errors import ChannelError
from .interpreter import Interpreter

_PROBE = """
import json, sys, sysconfig, site
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        __import__(name)
    except Exception as error:
        failed[name] = "%s: %s" % (type(error).__name__, error)
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if len(line.split(None, 5)) == 6}
print(json.dumps({
    "failed": failed,
    "mapped": sorted(path for path in maps if path.startswith("/") and ".so" in path),
    "prefix": sys.prefix,
    "paths": sysconfig.get_paths(),
    "site": site.getsitepackages(),
    "search": sys.path,
}))
"""


@dataclass(frozen=True)
class Answer:
    """What an interpreter said about itself after importing the modules asked for."""

    failed: dict[str, str]
    mapped: list[str]
    prefix: str
    paths: dict[str, str]
    site: list[str]
    search: list[str]


def importable(executable: Path, modules: Iterable[str]) -> Answer:
    """Import the modules in a clean process. Raises ChannelError when the interpreter does not even start."""
    argv = [str(executable), "-I", "-B", "-c", _PROBE, json.dumps(sorted(modules))]
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120, env={"PATH": os.defpath})
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        raise ChannelError(f"{executable} does not run: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise ChannelError(f"{executable} imports its own modules for more than {error.timeout:.0f} s") from error
    return Answer(**json.loads(done.stdout))


def faults(answer: Answer, root: Path, python: Interpreter) -> list[str]:
    """What is wrong with a staged interpreter, from its own answer."""
    home = str(root)
    packages = f"{home}/lib/python{python.minor}/site-packages"
    found = [f"module {name} does not import ({why})" for name, why in answer.failed.items()]
    if answer.prefix != home:
        found.append(f"sys.prefix is {answer.prefix}")
    for name in ("purelib", "platlib"):
        if answer.paths[name] != packages:
            found.append(f"{name} is {answer.paths[name]}")
    if packages not in answer.site:
        found.append(f"site-packages are {', '.join(answer.site)}")
    found += [f"sys.path holds {path}" for path in answer.search if not path.startswith(f"{home}/")]
    for path in answer.mapped:
        if not path.startswith(f"{home}/") and not from_host(Path(path).name):
            found.append(f"{path} is loaded from the host")
    return found


def verify(root: Path, python: Interpreter) -> None:
    """Run the staged interpreter and import every extension module. Raises ChannelError with all that is wrong."""
    modules = [path.name.split(".", 1)[0] for path in root.glob(f"lib/python{python.minor}/lib-dynload/*.so")]
    found = faults(importable(root / "bin" / "python", modules), root, python)
    if found:
        raise ChannelError(f"{python.executable} cannot be moved: {'; '.join(found)}; name another with --python")
