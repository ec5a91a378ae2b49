# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A child whose lines are read while it works."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import typing as t

from ..errors import WorkerError

_GRACE = 5.0


@dataclasses.dataclass(frozen=True)
class Stream:
    """A child that ended: its status, the lines of its standard output, and its standard error."""

    rc: int
    lines: tuple[str, ...]
    stderr: str


def stream(argv: t.Sequence[str], text: str, environ: t.Mapping[str, str], timeout: float, on_line: t.Callable[[str], None]) -> Stream:
    """Run ``argv`` in a group of its own, give it ``text``, and call ``on_line`` for each line as it comes.

    timeout: seconds; then the group gets SIGTERM, 5 s later SIGKILL, and WorkerError ``timeout`` is raised.
    """
    lines: list[str] = []
    expired = threading.Event()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(list(argv), env=dict(environ), cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        timer = threading.Timer(timeout, _expire, (child, expired))
        timer.daemon = True
        timer.start()
        try:
            _give(child, text)
            for raw in t.cast("t.IO[bytes]", child.stdout):
                lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                on_line(lines[-1])
            rc = child.wait()
        except BaseException:
            _signal(child, signal.SIGKILL)
            child.wait()
            raise
        finally:
            timer.cancel()
            t.cast("t.IO[bytes]", child.stdout).close()
        errors.seek(0)
        stderr = errors.read().decode("utf-8", "replace")
    if expired.is_set():
        remedy = "Raise the option timeout, or look at the network."
        raise WorkerError("timeout", f"Creating the environment did not end within {timeout:g} s and was stopped.", remedy)
    return Stream(rc, tuple(lines), stderr)


def _give(child: subprocess.Popen[bytes], text: str) -> None:
    # A child that died at once is judged by its status below.
    with contextlib.suppress(BrokenPipeError):
        with t.cast("t.IO[bytes]", child.stdin) as handle:
            handle.write(text.encode())


def _expire(child: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    _signal(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
