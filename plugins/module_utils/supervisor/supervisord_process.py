# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The supervisord process itself: whether it runs, starting and ending it, and workers that outlived it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import signal
import stat
import sys
import time
import typing as t
import xmlrpc.client

from .. import processes
from ..errors import WorkerError
from ..instances import instance_of
from ..layout import WorkerLayout
from ..processes import Process
from ..run import check, run, tail
from . import keeper, launcher
from .supervisord_files import Paths

_START_TIMEOUT = 15.0
_POLL = 0.05


def is_running(paths: Paths) -> bool:
    """Whether a supervisord holds the lock: true for as long as it lives, whatever became of its socket."""
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def connect(paths: Paths) -> t.Any:
    """The running supervisord's interface. Raises WorkerError ``supervisor_unreachable``."""
    supervisor = keeper.connect(paths.socket)
    try:
        supervisor.getState()
    except OSError as error:
        pid = _pid(paths)
        raise WorkerError(
            "supervisor_unreachable",
            f"supervisord (pid {pid or 'unknown'}) runs but does not answer on {paths.socket}: {error.strerror or error}.",
            f"End it (its workers end too), then run the same command again: kill {pid or '<pid>'}",
            pid=pid,
        ) from None
    return supervisor


def start(paths: Paths) -> None:
    """Start supervisord in the background and wait until it answers. Raises WorkerError ``supervisor_failed``."""
    if importlib.util.find_spec("supervisor") is None:
        raise WorkerError(
            "missing_library",
            f"{sys.executable} has no Python package 'supervisor'.",
            "Let the role make its toolchain, or install it: pip install supervisor",
        )
    _prepare_socket(paths)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.socket)
    remedy = f"Look at {paths.log}, then run the same command again."
    done = run([sys.executable, paths.launcher, paths.lock, paths.configuration], timeout=_START_TIMEOUT)
    if done.rc != launcher.HELD:
        check(done, "supervisor_failed", remedy)
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            keeper.connect(paths.socket).getState()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise WorkerError("supervisor_failed", f"supervisord does not answer: {tail(read_log(paths.log))}", remedy) from None
            time.sleep(_POLL)


@contextlib.contextmanager
def stopping(paths: Paths, unit: str) -> t.Iterator[None]:
    """Tell supervisord to stop the program and to answer at its end; the answer, which comes up to a second late, is not read.

    Its log tells of SIGTERM only where somebody waits for the end. In a multicall, because it would spin while the call itself waits.
    """
    call = {"methodName": "supervisor.stopProcess", "params": [unit, True]}
    connection = keeper.UnixConnection(paths.socket, _START_TIMEOUT)
    try:
        connection.request("POST", "/RPC2", xmlrpc.client.dumps(([call],), "system.multicall"), {"Content-Type": "text/xml"})
        yield
    finally:
        connection.close()


def end(paths: Paths, timeout: float) -> None:
    """Shut the running supervisord down, and with it its processes. timeout: seconds that the slowest of them may take."""
    connect(paths).shutdown()
    deadline = time.monotonic() + timeout + _START_TIMEOUT
    while is_running(paths):
        if time.monotonic() > deadline:
            raise WorkerError("supervisor_failed", f"supervisord (pid {_pid(paths)}) did not end.", f"kill -9 {_pid(paths) or '<pid>'}")
        time.sleep(_POLL)


def orphans(layout: WorkerLayout) -> dict[str, list[Process]]:
    """Instance -> its processes, found by what they say of themselves, the oldest first. Only for when no supervisord runs."""
    found: dict[str, list[Process]] = {}
    for pid in processes.all_pids():
        # Read first: where another process has the pid by now, it is that one's variables that do not fit.
        process = processes.read_process(pid)
        name = instance_of(layout, pid) if process is not None else None
        if process is not None and name is not None and _lives(process):
            found.setdefault(name, []).append(process)
    return {name: sorted(each, key=lambda process: process.start_ticks) for name, each in found.items()}


def end_orphans(orphans: t.Sequence[Process], timeout: float, grace: float) -> bool:
    """SIGTERM to the first, SIGKILL to all that is left after the timeout. Returns whether that was needed.

    timeout, grace: seconds; what lives for longer than grace after SIGKILL is a WorkerError ``stop_failed``.
    """
    _signal(orphans[:1], signal.SIGTERM)
    killed = not _wait_for_end(orphans[:1], timeout)
    _signal(orphans, signal.SIGKILL)
    if not _wait_for_end(orphans, grace):
        left = ", ".join(str(each.pid) for each in orphans if _lives(each))
        raise WorkerError(
            "stop_failed",
            f"What a killed supervisord left behind did not end within {grace:g} s of SIGKILL: pid {left}.",
            f"It waits inside the kernel, for a disk, a network file system or a GPU as a rule. Look at it: ps -o pid,stat,wchan:32,args -p {left}",
        )
    return killed


def read_log(path: str, offset: int = -65536) -> str:
    """The log from the offset on (negative: from the end); empty where there is none."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size + offset) if offset < 0 else offset if offset <= size else 0)
            return handle.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _prepare_socket(paths: Paths) -> None:
    directory = os.path.dirname(paths.socket)
    if directory == paths.directory:
        return
    os.makedirs(directory, 0o700, exist_ok=True)
    status = os.lstat(directory)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise WorkerError("supervisor_failed", f"{directory}, for supervisord's socket, belongs to somebody else.", f"Remove it: rm -r {directory}")


def _pid(paths: Paths) -> t.Optional[int]:
    text = read_log(paths.pid).strip()
    return int(text) if text.isdigit() else None


def _wait_for_end(orphans: t.Sequence[Process], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while any(map(_lives, orphans)):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


def _lives(process: Process) -> bool:
    return processes.is_alive(process.pid, process.start_ticks)


def _signal(orphans: t.Iterable[Process], number: int) -> None:
    # The pid alone may be another process's by now.
    for each in filter(_lives, orphans):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, number)
