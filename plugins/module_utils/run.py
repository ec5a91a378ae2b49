# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Running a program: as a list, in a group of its own, with a clean environment, a limit of time, and a clear error.

Needs nothing of Ansible. Programs never get a terminal or standard input.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import shlex
import signal
import subprocess
import typing as t

from .errors import WorkerError
from .redact import redact

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Seconds from SIGTERM to SIGKILL, and as long for the pipes to close after that.
GRACE = 5.0
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclasses.dataclass(frozen=True)
class Completed:
    """A program that ended: its argv, exit status (negative: the signal), and what it wrote."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str


def clean_environment(extra: t.Optional[t.Mapping[str, str]] = None) -> dict[str, str]:
    """The variables that a child gets: locale, certificates and proxies of ours, and ``extra``; nothing else leaks in."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES + PROXY_VARIABLES if name in os.environ}
    kept.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    kept.setdefault("LC_ALL", "C.UTF-8")
    return {**kept, **(extra or {})}


def run(
    argv: t.Sequence[str],
    environ: t.Optional[t.Mapping[str, str]] = None,
    cwd: str = "/",
    timeout: t.Optional[float] = None,
    user: t.Optional[str] = None,
    groups: t.Sequence[int] = (),
) -> Completed:
    """Run ``argv`` to its end.

    environ: the whole environment (default: ``clean_environment()``). user: become this account in the child alone (only root
    can), with no other groups than its own first one and ``groups``. timeout: seconds; then the whole process group gets
    SIGTERM, 5 s later SIGKILL; who left it is not waited for.
    Raises WorkerError ``not_found`` (no such program) or ``timeout``.
    """
    identity: dict[str, t.Any] = {}
    if user is not None:
        account = pwd.getpwnam(user)
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": list(groups), "umask": 0o022}
    try:
        child = subprocess.Popen(
            list(argv),
            env=dict(environ) if environ is not None else clean_environment(),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **identity,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise WorkerError("not_found", f"Cannot run {argv[0]}: {error.strerror}.", "Install it, or name another one.") from None
    try:
        stdout, stderr = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stdout, stderr = _end_group(child)
        raise WorkerError(
            "timeout",
            f"{quoted(argv)} did not end within {timeout:g} s and was stopped.",
            "Raise the timeout, or look at what it waits for.",
            stdout=tail(stdout.decode("utf-8", "replace")),
            stderr=tail(stderr.decode("utf-8", "replace")),
        ) from None
    return Completed(tuple(argv), child.returncode, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"))


def check(completed: Completed, code: str, remedy: str = "") -> Completed:
    """The same object where the exit status is 0; else WorkerError ``code`` that quotes command, status and last lines."""
    if completed.rc == 0:
        return completed
    words = tail(completed.stderr) or tail(completed.stdout) or "it wrote nothing"
    raise WorkerError(
        code,
        f"{quoted(completed.argv)} ended with {describe_exit(completed.rc)}: {words}",
        remedy,
        cmd=redact(shlex.join(completed.argv)),
        rc=completed.rc,
        stdout=tail(completed.stdout),
        stderr=tail(completed.stderr),
    )


def describe_exit(rc: int) -> str:
    """``status 3``, or ``signal SIGKILL`` for a negative status."""
    if rc >= 0:
        return f"status {rc}"
    try:
        return f"signal {signal.Signals(-rc).name}"
    except ValueError:
        return f"signal {-rc}"


def quoted(argv: t.Sequence[str]) -> str:
    """The command as a shell would take it, credentials in addresses masked, shortened in the middle when it is long."""
    line = redact(shlex.join(argv))
    return line if len(line) <= 300 else f"{line[:200]} … {line[-80:]}"


def tail(text: str, lines: int = 20, characters: int = 4000) -> str:
    """The last lines, credentials in addresses masked."""
    return redact("\n".join(text.strip().splitlines()[-lines:])[-characters:])


def reason(lines: t.Sequence[str]) -> str:
    """The one of a program's last lines that tells most: uv's first cause, else the first error, else the last line."""
    for mark in ("cause: ", "error: ", "ERROR: "):
        found = next((line.strip() for line in lines if line.strip().startswith(mark)), None)
        if found:
            return found[len(mark) :]
    return lines[-1].strip()


def _end_group(child: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    stdout = stderr = b""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        try:
            return child.communicate(timeout=GRACE)
        except subprocess.TimeoutExpired as expired:
            stdout, stderr = expired.stdout or b"", expired.stderr or b""
    # Somebody who left the group still holds the pipes.
    for pipe in filter(None, (child.stdout, child.stderr)):
        pipe.close()
    return stdout, stderr
