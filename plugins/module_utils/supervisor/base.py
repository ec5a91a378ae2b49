# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The few methods behind which systemd and supervisord look the same. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import typing as t

from ..files import flush_directory, read_text, remove_abandoned, write_text
from .model import File, Found, FoundShared, Instance, LogLine, OnDisk, Spec, Stamp


class Supervisor(t.Protocol):
    """Looks at and acts on all instances of one worker. Names are instance names (``0``). Raises WorkerError, OSError."""

    kind: str
    # Whether what the instances share must run before they can be started (supervisord), or is started after them (target).
    shared_first: bool

    def found(self) -> dict[str, Found]:
        """Every instance that has files or a process, by name."""

    def found_shared(self) -> FoundShared:
        """What the instances share."""

    def check_ours(self, names: t.Collection[str]) -> None:
        """Raise WorkerError ``foreign_unit`` where what the instances are called by is somebody else's, or another root's."""

    def shared_files(self, spec: Spec) -> list[File]:
        """The files that the instances share, as wanted."""

    def instance_files(self, spec: Spec, instance: Instance, stamp: Stamp) -> list[File]:
        """The files of one instance, as wanted."""

    def warnings(self, spec: Spec) -> list[str]:
        """What whoever wants this should know, in sentences."""

    def shared_object(self, path: str) -> tuple[str, str]:
        """The ``what`` and ``id`` of the action that a shared file belongs to."""

    def shared_service(self) -> tuple[str, str]:
        """The ``what`` and ``id`` of that which is started for all instances."""

    def shown(self, path: str, text: str) -> str:
        """The text of a file as a difference may show it."""

    def settle(self, written: t.Collection[str]) -> None:
        """Make the supervisor read the files that were written or removed, given by path."""

    def enable(self, names: t.Sequence[str]) -> None:
        """Start the instances whenever the worker is started as a whole (boot, supervisord's start)."""

    def disable(self, names: t.Sequence[str]) -> None:
        """The opposite of ``enable``."""

    def enable_shared(self) -> None:
        """Start the worker as a whole at boot, or with the unit that it is bound to."""

    def start_shared(self) -> None:
        """Start what the instances share."""

    def start(self, names: t.Sequence[str]) -> str:
        """Start the instances, their counters from zero. Returns what the supervisor complained about, or nothing."""

    def stop(self, names: t.Sequence[str], timeout: float) -> list[str]:
        """Stop the instances and wait for their end. timeout: the longest of their own stop timeouts, in seconds.

        Returns those that did not end by themselves in time and were killed.
        """

    def remove(self, names: t.Sequence[str]) -> None:
        """Remove the files of stopped instances."""

    def remove_shared(self) -> None:
        """Stop and remove what the instances shared."""

    def owner(self, pid: int) -> t.Optional[str]:
        """The instance of this worker that the process belongs to, or None for a foreign process."""

    def log_tail(self, name: str, lines: int, since_start: bool = False) -> list[LogLine]:
        """The last lines of the instance's log, oldest first. since_start: none from before this object started it."""

    def log_command(self, name: str) -> str:
        """What a person runs to read the instance's log."""

    def show_command(self, name: str) -> str:
        """What a person runs to see the files from which the instance is started."""


def read_files(paths: t.Iterable[str]) -> dict[str, OnDisk]:
    """Those of the paths that exist, with their text, mode and owner."""
    found = {}
    for path in paths:
        text = read_text(path)
        if text is not None:
            status = os.stat(path)
            found[path] = OnDisk(text, status.st_mode & 0o7777, (status.st_uid, status.st_gid))
    return found


def number_in(pattern: str, file: t.Optional[OnDisk]) -> float:
    """The number that the pattern's group finds in the file, or 0."""
    match = re.search(pattern, file.text, re.MULTILINE) if file else None
    return float(match.group(1)) if match else 0.0


def differs(file: File, found: t.Optional[OnDisk]) -> bool:
    """Whether the file must be written."""
    return found is None or (found.text, found.mode) != (file.text, file.mode) or file.owner not in (None, found.owner)


def account(user: str) -> t.Optional[tuple[int, int]]:
    """(uid, gid) of the account that instances run as, empty for our own; None where it does not exist (yet)."""
    if not user:
        return os.geteuid(), os.getegid()
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


def make_directory(path: str, mode: int = 0o755) -> None:
    """Make the directory and those above it where they are absent, with this mode and 0755, whatever the umask is."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for each in reversed(missing):
        os.mkdir(each)
        os.chmod(each, mode if each == missing[0] else 0o755)


def write_files(files: t.Iterable[File]) -> None:
    """Write each file in one step; its directory is made where it is absent."""
    for file in files:
        make_directory(os.path.dirname(file.path))
        write_text(file.path, file.text, file.mode, file.owner)


def remove_empty(path: str, above: str) -> None:
    """Remove the directory and those over it, up to ``above``, as far as they are empty."""
    with contextlib.suppress(OSError):
        while path.startswith(above + os.sep):
            os.rmdir(path)
            path = os.path.dirname(path)


def remove_files(paths: t.Iterable[str], empty_directories: bool = False) -> None:
    """Remove the files, those that are gone already too, and their directories where these are empty then."""
    for path in paths:
        directory = os.path.dirname(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            flush_directory(directory)
        with contextlib.suppress(FileNotFoundError):
            remove_abandoned(path)
        if empty_directories:
            with contextlib.suppress(OSError):
                os.rmdir(directory)
