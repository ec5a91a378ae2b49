# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the Python versions of this machine that really start.

``python3.9`` on PATH may be a shim of pyenv, which ends with an error unless that version is switched on. ansible-test
takes it for an interpreter and fails. So it gets a PATH without such shims, and with links to the interpreters behind them.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

from tools.checkout import CACHE

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
LINKS = CACHE / "pythons"


def starts(executable: str) -> bool:
    """Whether it runs."""
    try:
        done = subprocess.run([executable, "-I", "-c", "import venv"], check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    except OSError:
        return False
    return done.returncode == 0


def behind_shim(name: str) -> str | None:
    """The first interpreter of that name which pyenv has installed, if any."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return None
    done = subprocess.run([pyenv, "whence", "--path", name], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return next((line for line in done.stdout.splitlines() if starts(line)), None)


def search_path(first: pathlib.Path) -> str:
    """A PATH on which every ``python3.N`` starts. first: a directory to put in front."""
    directories = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    shutil.rmtree(LINKS, ignore_errors=True)
    LINKS.mkdir(parents=True)
    broken: set[str] = set()
    for name in (f"python{version}" for version in VERSIONS):
        here = {part for part in directories if os.access(os.path.join(part, name), os.X_OK) and not starts(os.path.join(part, name))}
        found = behind_shim(name) if here else None
        if found:
            (LINKS / name).symlink_to(found)
        broken |= here
    return os.pathsep.join([str(first), str(LINKS), *(part for part in directories if part not in broken)])
