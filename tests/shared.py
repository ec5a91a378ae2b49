# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of every kind need: waits, ports, and what is on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import random
import socket
import stat
import time
import typing as t

PATIENCE = 60.0  # seconds of a wait that is expected to be short: for a machine with more to do than it can
PORTS = range(12_000, 20_000)  # below those that the kernel gives to clients, and those that ew_worker/kit.py chooses from
SLICES = 6  # of PORTS; the processes of one run of the tests choose from one each

T = t.TypeVar("T")
_given: set[int] = set()


def wait_until(condition: t.Callable[[], T], what: str, seconds: float = PATIENCE, every: float = 0.05) -> T:
    """The condition's first true value. Fails after so many seconds, saying what did not come true and the last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds:g} s in vain until {what}; last: {value!r}"
        time.sleep(every)


def free_ports(count: int = 1) -> int:
    """The first of so many ports in a row on which nobody listens; nobody is given them a second time in this process.

    They stay free for minutes: the kernel gives them to no client, and other processes of the same run choose elsewhere.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % SLICES
    size = len(PORTS) // SLICES
    mine = PORTS[worker * size : (worker + 1) * size]
    while True:
        first = random.SystemRandom().choice(mine[: 1 - count or None])
        wanted = range(first, first + count)
        if not _given & set(wanted) and all(map(_is_free, wanted)):
            _given.update(wanted)
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def opened(pid: int) -> list[str]:
    """What the process has open: paths, and such as ``socket:[4711]``. What it opens and closes meanwhile may be missing."""
    found = []
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return found


def digest(directory: pathlib.Path, of_directories: bool = False) -> dict[str, tuple[t.Any, ...]]:
    """Mode, owner and content (or target) of everything below and of the directory itself; the modification time of files too.

    of_directories: the modification times of directories below as well.
    """
    found: dict[str, tuple[t.Any, ...]] = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        told: tuple[t.Any, ...] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
        if stat.S_ISLNK(status.st_mode):
            told += (os.readlink(path),)
        elif stat.S_ISREG(status.st_mode):
            told += (status.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        elif of_directories and path != directory:
            told += (status.st_mtime_ns,)
        found[path.relative_to(directory).as_posix()] = told
    return found
