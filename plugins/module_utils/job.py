# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Long work of a module as a job of its own: it survives a lost connection, tells its progress, and can be found again.

The action plugin offers to wait (``plugin_utils/job.py``). A module that has work to do then forks: this process prints where the job
is and ends, the job does the work and leaves its result in a file. The action plugin reads the progress, and runs the module once
more for the result. A module that has nothing to do, or is in check mode, never gets that far.

A job is a directory: ``handle`` (JSON, who keeps it), ``progress`` (lines), ``result`` (what the module would have printed, there once
it is whole) or ``died`` (JSON, how it ended without one), ``stderr``.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values

from .boundaries import boundary
from .errors import WorkerError
from .files import read_json, read_text, write_json
from .processes import descendants, is_alive, start_ticks
from .progress import Progress, silent
from .redact import redact
from .run import describe_exit, tail

# Set by the action plugin: OFFER, or the directory of the job whose result it wants.
VARIABLE = "EW_AI_WORKER_JOB"
OFFER = "offer"
# The key of the handle in what the module prints.
KEY = "ew_job"
# A job without a handle is being started, for so long (s) at most.
_START = 5.0
# Results that nobody has come for are kept so long (s).
_KEPT = 3600.0


class Job:
    """What a module needs to do its work as a job: make one first of all, then call ``detach`` between plan and act."""

    def __init__(self, module: AnsibleModule, directory: str) -> None:
        """directory: where jobs are kept; made when it is needed, gone when it is empty.

        Where the action plugin has come for a result this prints it and ends the process. Raises WorkerError ``job_died``.
        """
        self.module = module
        self.directory = directory
        self.wish = os.environ.pop(VARIABLE, "")
        if os.path.dirname(self.wish) == directory:
            self._collect(self.wish)
            self.wish = OFFER

    def detach(self, **spec: t.Any) -> Progress:
        """Become a job, or end this process because the same job is at work already; where neither is asked for, change nothing.

        spec: what, beside the module's options, makes two runs the same work. Returns how to tell the job's progress.
        """
        if self.wish != OFFER or self.module.check_mode:
            return silent
        path = os.path.join(self.directory, f"{self.module._name}-{_digest([self.module.params, spec])}")
        # every account may look into the directories above, and only this one into the job
        umask = os.umask(0o022)
        try:
            handle = _claim(path)
            _sweep(self.directory)
        except OSError:
            # a place where this account may not write: then without a job
            return silent
        finally:
            os.umask(umask)
        if handle is not None:
            _print(json.dumps({"changed": False, KEY: handle}))
            raise SystemExit(0)
        boundary("job.claimed")
        sys.stdout.flush()
        sys.stderr.flush()
        keeper = os.fork()
        if keeper == 0:
            return self._become(path)
        handle = {"path": path, "pid": keeper, "start": start_ticks(keeper), "attached": False}
        write_json(os.path.join(path, "handle"), {**handle, "attached": True}, 0o600)
        boundary("job.begun")
        _print(json.dumps({"changed": False, KEY: handle}))
        # Not by SystemExit: Ansible's wrapper would take away the files that the job imports from.
        os._exit(0)

    def _become(self, path: str) -> Progress:
        """In the child: a session of its own, no pipe of the connection left open, and a second child that works."""
        os.setsid()
        os.chdir("/")
        for number, name in enumerate((os.devnull, os.path.join(path, "partial"), os.path.join(path, "stderr"))):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOCTTY, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        worker = os.fork()
        if worker != 0:
            _keep(path, worker)
        return _Log(os.path.join(path, "progress"), self.module)

    def _collect(self, path: str) -> None:
        """Nothing where the job is at work, or somebody else has collected it: then the module plans again."""
        text = read_text(os.path.join(path, "result"))
        if text is not None:
            _remove(path)
            _print(text)
            raise SystemExit(0)
        if os.path.isdir(path) and not is_at_work(read_json(os.path.join(path, "handle"))):
            error = _death(path)
            _remove(path)
            raise error


class _Log:
    """Appends lines to a file, each in one piece, secrets masked by their value."""

    def __init__(self, path: str, module: AnsibleModule) -> None:
        self._module = module
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __call__(self, line: str) -> None:
        text = redact(str(remove_values(line, self._module.no_log_values)))
        # a full disk is the work's own trouble
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (" ".join(text.split()) + "\n").encode("utf-8", "replace"))


def is_at_work(handle: t.Any) -> bool:
    """Whether the keeper that the handle names is alive: the same process, not one that got its number later."""
    return isinstance(handle, dict) and handle.get("start") is not None and start_ticks(handle.get("pid", 0)) == handle["start"]


def end_jobs(directory: str) -> None:
    """End every job there with all that it started, and remove what jobs left: for whoever takes their root away."""
    for name in os.listdir(directory) if os.path.isdir(directory) else ():
        path = os.path.join(directory, name)
        handle = read_json(os.path.join(path, "handle"))
        if is_at_work(handle):
            _end(handle["pid"])
        _remove(path)


def _end(keeper: int) -> None:
    family = descendants(keeper)
    for pid in family:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _START
    while any(is_alive(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.02)


def _print(text: str) -> None:
    """What Ansible takes for the module's result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _digest(data: t.Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _claim(path: str) -> t.Optional[dict[str, t.Any]]:
    """None where the job's directory is ours now; else the handle of the job at work. One that has ended makes way."""
    deadline = time.monotonic() + _START
    while True:
        try:
            os.makedirs(path, 0o700)
            return None
        except FileNotFoundError:
            # the last job took the directory with it just now
            handle = None
        except FileExistsError:
            handle = read_json(os.path.join(path, "handle"))
        if handle is None and time.monotonic() < deadline:
            time.sleep(0.05)
        elif is_at_work(handle) and not os.path.exists(os.path.join(path, "result")):
            return t.cast("dict[str, t.Any]", handle)
        else:
            _remove(path)
            # A file system that is read-only by now keeps it for ever.
            if os.path.lexists(path) and time.monotonic() > deadline + _START:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def _keep(path: str, worker: int) -> t.NoReturn:
    """Wait for the worker and say how it ended. The result gets its name when it is whole."""
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        partial = os.path.join(path, "partial")
        if status >= 0 and os.path.getsize(partial) > 0:
            os.rename(partial, os.path.join(path, "result"))
        else:
            write_json(os.path.join(path, "died"), {"exit": status}, 0o600)
    finally:
        os._exit(0)


def _death(path: str) -> WorkerError:
    died = read_json(os.path.join(path, "died"))
    how = describe_exit(died["exit"]) if died else "it was killed together with its keeper"
    lines = (read_text(os.path.join(path, "progress")) or "").splitlines()
    last = f" Its last line was: {lines[-1]}" if lines else ""
    return WorkerError(
        "job_died",
        f"The work on the host ended without a result ({how}).{last}",
        "Look for the reason (journalctl -k | grep -i 'killed process'), then run the same command again.",
        stderr=tail(read_text(os.path.join(path, "stderr")) or ""),
    )


def _remove(path: str) -> None:
    """All at once under its name, so that nobody takes a half-removed job for one. Its directory goes with the last one."""
    doomed = f"{path}.{os.getpid()}.removed"
    with contextlib.suppress(OSError):
        os.rename(path, doomed)
        shutil.rmtree(doomed)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))


def _sweep(directory: str) -> None:
    """Remove jobs that ended long ago and that nobody has come for."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        with contextlib.suppress(OSError, WorkerError):
            if time.time() - os.stat(path).st_mtime > _KEPT and not is_at_work(read_json(os.path.join(path, "handle"))):
                shutil.rmtree(path)
