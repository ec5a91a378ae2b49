# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Writing files so that a crash leaves the old or the new content, and locks that die with their holder.

Needs nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
import typing as t

from .boundaries import boundary
from .errors import WorkerError
from .processes import is_alive
from .run import run


def read_text(path: str) -> t.Optional[str]:
    """The file's text, or None where there is no such file. Raises WorkerError ``broken_file`` for what is no file or not UTF-8, and OSError."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise WorkerError("broken_file", f"{path} is no regular file.", f"Look at it: ls -ld {path}")
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise WorkerError("broken_file", f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.", f"Look at it: file {path}") from None


def read_json(path: str) -> t.Any:
    """The file's data, or None where there is no such file. Raises WorkerError ``broken_file`` for broken JSON."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkerError("broken_file", f"{path} is not valid JSON: {error}.", f"Look at it, then move it away: mv {path} {path}.broken") from None


def write_text(path: str, text: str, mode: int = 0o644, owner: t.Optional[tuple[int, int]] = None) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never half of it.

    owner is (uid, gid). Raises OSError.
    """
    directory, name = os.path.split(path)
    remove_abandoned(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.{os.getpid()}.", dir=directory)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fchmod(handle.fileno(), mode)
            if owner is not None:
                os.fchown(handle.fileno(), *owner)
            os.fsync(handle.fileno())
        boundary(f"file.staged {name}")
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush_directory(directory)


def remove_abandoned(path: str) -> None:
    """Remove what writers of the file left that were killed before they could rename it; their pid is in its name."""
    directory, name = os.path.split(path)
    pattern = re.compile(rf"\.{re.escape(name)}\.([0-9]+)\.[^.]+")
    for match in filter(None, map(pattern.fullmatch, os.listdir(directory))):
        if not is_alive(int(match[1])):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, match[0]))


def write_json(path: str, data: t.Any, mode: int = 0o644, owner: t.Optional[tuple[int, int]] = None) -> None:
    """``write_text`` of the data as indented JSON with sorted keys."""
    write_text(path, json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", mode, owner)


def flush_directory(path: str) -> None:
    """Make a rename or a removal in the directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, however deep it is nested. Raises OSError, also where there is none."""
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError) as error:
        if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
            raise
        # rmtree takes a frame and a descriptor for each level, rm neither.
        run(["rm", "-rf", "--", path])
        if os.path.lexists(path):
            raise error if isinstance(error, OSError) else OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path) from None


@contextlib.contextmanager
def locked(path: str, timeout: float, purpose: str, waiting: t.Callable[[], None] = lambda: None) -> t.Iterator[None]:
    """Hold the lock file ``path`` (made if absent) for the block.

    The kernel frees it when its holder dies, however it dies. Only who holds it may remove the file: whoever waited for a removed
    one begins anew. timeout: seconds to wait. waiting: called once where it must wait. Raises WorkerError ``locked``, and OSError.
    """
    deadline = time.monotonic() + timeout
    descriptor = _acquire(path, deadline, f"Another run holds {path} ({purpose}) and did not free it within {timeout:g} s.", waiting)
    try:
        yield
    finally:
        os.close(descriptor)


def _acquire(path: str, deadline: float, problem: str, waiting: t.Callable[[], None]) -> int:
    """The descriptor of the lock file, locked, and still the file of that name."""
    while True:
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # Whoever held the lock took the directory away just now.
            if time.monotonic() >= deadline:
                raise
            continue
        try:
            if not _lock(descriptor):
                waiting()
                _wait_for_lock(descriptor, path, deadline, problem)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _wait_for_lock(descriptor: int, path: str, deadline: float, problem: str) -> None:
    while not _lock(descriptor):
        if time.monotonic() >= deadline:
            raise WorkerError("locked", problem, f"Wait for it, or see who it is: fuser -v {path}", lock=path)
        time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
