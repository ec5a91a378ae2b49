# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds the Python versions of this machine that really start.

``python3.9`` on PATH may be a shim of pyenv, which ends with an error unless that version is switched on. ansible-test
takes it for an interpreter and fails. So it gets a PATH without such shims, and with links to the interpreters behind them.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import subprocess
import typing as t

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
    """A PATH on which every ``python3.N`` starts. first: a directory to put in front. Safe in several processes at once."""
    directories = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    links: dict[str, str] = {}
    broken: set[str] = set()
    for name in (f"python{version}" for version in VERSIONS):
        here = {part for part in directories if os.access(os.path.join(part, name), os.X_OK) and not starts(os.path.join(part, name))}
        found = behind_shim(name) if here else None
        if found:
            links[name] = found
        broken |= here
    make_links(links)
    return os.pathsep.join([str(first), str(LINKS), *(part for part in directories if part not in broken)])


def make_links(wanted: t.Mapping[str, str]) -> None:
    """LINKS with just these links in it; those that are right stay, for somebody may be using them."""
    LINKS.mkdir(parents=True, exist_ok=True)
    with open(LINKS.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in LINKS.iterdir():
            if not path.is_symlink() or os.readlink(path) != wanted.get(path.name):
                path.unlink()
        for name, target in wanted.items():
            if not (LINKS / name).is_symlink():
                (LINKS / name).symlink_to(target)
