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


def stream(
    argv: t.Sequence[str],
    text: str,
    environ: t.Mapping[str, str],
    timeout: float,
    on_line: t.Callable[[str], None],
    account: t.Optional[tuple[int, int, int]] = None,
    cwd: str = "/",
) -> Stream:
    """Run ``argv`` in a group of its own, give it ``text``, and call ``on_line`` for each line as it comes.

    account: (uid, gid, further group) that the child becomes at once, which only root can ask for.
    timeout: seconds; then the group gets SIGTERM, 5 s later SIGKILL, and WorkerError ``timeout`` is raised.
    """
    lines: list[str] = []
    expired = threading.Event()
    with tempfile.TemporaryFile() as errors:
        child = _start(argv, environ, cwd, errors, account)
        # An orphan in the group would hold the pipe, and the reading below, open.
        threading.Thread(target=_end_orphans, args=(child,), daemon=True).start()
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


def _start(
    argv: t.Sequence[str], environ: t.Mapping[str, str], cwd: str, errors: t.IO[bytes], account: t.Optional[tuple[int, int, int]]
) -> subprocess.Popen[bytes]:
    identity: dict[str, t.Any] = {}
    if account is not None:
        identity = {"user": account[0], "group": account[1], "extra_groups": [account[2]], "umask": 0o022}
    try:
        return subprocess.Popen(
            list(argv), env=dict(environ), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, **identity
        )
    except (FileNotFoundError, PermissionError) as error:
        remedy = (
            "Install it, or open it and the directories above it to that account (chmod a+rX)." if account is not None else "Install it, or name another one."
        )
        raise WorkerError("backend_unavailable", f"Cannot run {argv[0]}: {error.strerror}.", remedy) from None


def _give(child: subprocess.Popen[bytes], text: str) -> None:
    # A child that died at once is judged by its status below.
    with contextlib.suppress(BrokenPipeError):
        with t.cast("t.IO[bytes]", child.stdin) as handle:
            handle.write(text.encode())


def _end_orphans(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    _signal(child, signal.SIGKILL)


def _expire(child: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    _signal(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE)
    _signal(child, signal.SIGKILL)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
