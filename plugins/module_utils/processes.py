# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What /proc says of processes (proc(5)). Needs nothing of Ansible; every reader answers None for a process that is gone."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import time
import typing as t

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_Result = t.TypeVar("_Result")


@dataclasses.dataclass(frozen=True)
class Process:
    """One look at a process.

    state: the letter of proc(5), ``Z`` for a zombie, ``T`` for a stopped one. started_at: seconds since the epoch.
    start_ticks: clock ticks after boot; with the pid it names the process for good. cpu_seconds: user + system.
    """

    pid: int
    parent: int
    state: str
    start_ticks: int
    started_at: float
    cpu_seconds: float
    memory_bytes: int
    command: str


def read_process(pid: int) -> t.Optional[Process]:
    """The process, or None where there is none (a zombie is one: look at its state)."""
    stat = _read(pid, "stat")
    if stat is None:
        return None
    # The command in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    start_ticks = int(fields[19])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        state=fields[0],
        start_ticks=start_ticks,
        started_at=_boot_time() + start_ticks / _TICKS,
        cpu_seconds=round((int(fields[11]) + int(fields[12])) / _TICKS, 2),
        memory_bytes=int(fields[21]) * _PAGE,
        command=command(pid),
    )


def start_ticks(pid: int) -> t.Optional[int]:
    """When the process started, in clock ticks after boot; None where there is none or it has ended (a zombie has)."""
    stat = _read(pid, "stat")
    fields = stat[stat.rindex(")") + 2 :].split() if stat else []
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def is_alive(pid: int, ticks: t.Optional[int] = None) -> bool:
    """Whether the process runs and, with the ticks at which it started, is still the same one."""
    found = start_ticks(pid)
    return found is not None and ticks in (None, found)


def command(pid: int) -> str:
    """The command line with blanks between the words; the name in brackets for a kernel thread; empty if it is gone."""
    line = _read(pid, "cmdline")
    if line:
        return line.rstrip("\0").replace("\0", " ")
    name = _read(pid, "comm")
    return f"[{name.strip()}]" if name else ""


def environ(pid: int) -> t.Optional[dict[str, str]]:
    """The variables that the process was started with, or None where it is gone or is somebody else's."""
    try:
        text = as_allowed(pid, lambda: _text(pid, "environ"))
    except OSError:
        return None
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def user_of(pid: int) -> t.Optional[int]:
    """The real user id, None where it is gone. Not that of /proc's files, nor the effective one: a process can make both root's."""
    match = re.search(r"^Uid:\s+(\d+)", _read(pid, "status") or "", re.MULTILINE)
    return int(match.group(1)) if match else None


def as_allowed(pid: int, look: t.Callable[[], _Result]) -> _Result:
    """What ``look`` finds at the process; where that is refused to root, what it finds as the process's own user. Raises OSError.

    In a container root may not look into other users' processes (it has no CAP_SYS_PTRACE), but may become their user.
    """
    try:
        return look()
    except PermissionError:
        status = os.stat(f"/proc/{pid}")
        if os.geteuid() != 0 or status.st_uid == 0:
            raise
    with _user_of_files(status.st_uid, status.st_gid):
        return look()


@contextlib.contextmanager
def _user_of_files(uid: int, gid: int) -> t.Iterator[None]:
    """Reach for files, those in /proc too, as another account, in this thread alone.

    Not seteuid: that is for the whole process, and what other threads read meanwhile would be refused or hidden to them.
    """
    import ctypes

    library = ctypes.CDLL(None)
    own_gid = os.getegid()
    try:
        library.setfsgid(gid)
        library.setfsuid(uid)
        yield
    finally:
        library.setfsuid(0)
        library.setfsgid(own_gid)


def users_of(directory: str) -> list[tuple[int, str]]:
    """(pid, command) of every process with its working directory, its program or a mapped file in the directory, or told to run from it.

    Of processes that belong to others only root sees enough; they are passed over.
    """
    real = os.path.realpath(directory)
    found = []
    for pid in all_pids():
        # OSError: it is gone by now, or somebody else's.
        with contextlib.suppress(OSError):
            if as_allowed(pid, functools.partial(_is_in, pid, real)):
                found.append((pid, command(pid)))
    return found


def _is_in(pid: int, directory: str) -> bool:
    below = os.path.join(directory, "")
    if any(f"{_target(pid, link)}/".startswith(below) for link in ("cwd", "exe")) or f" {below}" in _text(pid, "maps"):
        return True
    # A child of a worker has its variables, whatever program it is.
    variables = f"\0{_text(pid, 'environ')}\0"
    return any(f"\0{name}={directory}\0" in variables for name in ("EW_RELEASE", "EW_ENVIRONMENT"))


def _target(pid: int, link: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{link}")
    except FileNotFoundError:
        # a process of the kernel has no program
        return ""


def all_pids() -> list[int]:
    """Every process of the machine (of this PID namespace)."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(pid: int) -> set[int]:
    """The process itself and all that it started, directly or not, as far as they live."""
    children: dict[int, list[int]] = {}
    for each in all_pids():
        stat = _read(each, "stat")
        if stat is not None:
            children.setdefault(int(stat[stat.rindex(")") + 2 :].split()[1]), []).append(each)
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(children.get(each, []))
    return found


def control_group(pid: int) -> t.Optional[str]:
    """The systemd control group (``/system.slice/x.service``), on cgroup v2 as on v1 and hybrid hosts."""
    text = _read(pid, "cgroup")
    if text is None:
        return None
    rows = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    for controllers in ("name=systemd", ""):
        for row in rows:
            if row[1] == controllers:
                return row[2]
    return None


def _read(pid: int, name: str) -> t.Optional[str]:
    try:
        return _text(pid, name)
    except OSError:
        return None


def _text(pid: int, name: str) -> str:
    with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as handle:
        return handle.read()


def _boot_time() -> float:
    try:
        with open("/proc/stat", encoding="ascii") as handle:
            for line in handle:
                if line.startswith("btime "):
                    return float(line.split()[1])
    except OSError:
        pass
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
