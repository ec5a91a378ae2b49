# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Releases on a host: complete under their id or not there at all. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import tempfile
import typing as t

from ..actions import Actions
from ..boundaries import boundary
from ..errors import WorkerError
from ..files import flush_directory, locked, remove_tree
from ..layout import Layout
from .in_use import refuse_in_use
from .tree import digest_of, scan, tree_id
from .unpack import unpack_tar

LOCK_TIMEOUT = 600.0
# Both are debris when nobody holds the lock.
STAGING, REMOVED = ".staging-", ".removed-"


class Store:
    """The releases below one root, under one lock: two runs at once do one after the other."""

    def __init__(self, root: str, actions: Actions, check_mode: bool) -> None:
        self.layout = Layout(root)
        self.actions = actions
        self.check_mode = check_mode

    def path(self, release: str) -> str:
        return os.path.join(self.layout.releases, release)

    def exists(self, release: str) -> bool:
        """A directory under an id is complete: it got that name last."""
        return os.path.isdir(self.path(release))

    def older_than(self, moment: float) -> list[str]:
        """The releases that came before the moment (seconds since the epoch)."""
        names = os.listdir(self.layout.releases) if os.path.isdir(self.layout.releases) else []
        return [name for name in names if not name.startswith(".") and os.lstat(self.path(name)).st_ctime < moment]

    def require(self, release: str, size: int, files: int) -> bool:
        """Whether the release must be sent. Records that it will be created. size: its bytes; files: how many.

        Raises WorkerError ``disk_full`` before anything is sent.
        """
        if self.exists(release):
            return False
        _require_space(self.layout.releases, size, files)
        self._record(release, "created")
        return True

    def add(self, release: str, package: str, size: int, files: int) -> bool:
        """Unpack the tar file ``package`` as the release, unless another run did meanwhile; True where it was done.

        Raises WorkerError ``bad_archive``, ``wrong_content`` or ``disk_full``; then nothing of it is left.
        """
        with self._locked():
            if self.exists(release):
                return False
            self._sweep()
            _require_space(self.layout.releases, size, files)
            staging = tempfile.mkdtemp(prefix=f"{STAGING}{release}-", dir=self.layout.releases)
            try:
                boundary("release.staged")
                unpack_tar(package, staging)
                boundary("release.unpacked")
                _verify(staging, release)
                os.chmod(staging, 0o755)
                _flush_file_system(staging)
                os.rename(staging, self.path(release))
                boundary("release.renamed")
            except BaseException as error:
                with contextlib.suppress(OSError):
                    remove_tree(staging)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _disk_full(self.layout.releases, str(error.strerror)) from None
                raise
            flush_directory(self.layout.releases)
        self._record(release, "created")
        return True

    def remove(self, release: str) -> bool:
        """Remove the release; True where it was there. Raises WorkerError ``in_use``."""
        if not self.exists(release):
            self.tidy()
            return False
        refuse_in_use(self.layout, release)
        if not self.check_mode:
            self.discard(release)
        self._record(release, "removed")
        return True

    def discard(self, release: str) -> None:
        """Remove the release, whoever needs it, and what killed runs left."""
        with self._locked():
            doomed = os.path.join(self.layout.releases, f"{REMOVED}{release}-{os.getpid()}")
            # A process that starts from now on finds no release rather than half of one.
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path(release), doomed)
                boundary("release.removal.renamed")
            self._sweep()

    def tidy(self) -> None:
        """Remove what killed runs left, where they left anything."""
        if self._leftovers() and not self.check_mode:
            with self._locked():
                self._sweep()

    def _record(self, release: str, status: str) -> None:
        name = os.path.relpath(self.path(release), self.layout.root)
        self.actions.add("release", name, status)
        present, absent = {"state": "present"}, {"state": "absent"}
        self.actions.differ(name, *((absent, present) if status == "created" else (present, absent)))

    def _sweep(self) -> None:
        """Remove what killed runs left. Only under the lock."""
        for name in self._leftovers():
            remove_tree(os.path.join(self.layout.releases, name))

    def _leftovers(self) -> list[str]:
        names = os.listdir(self.layout.releases) if os.path.isdir(self.layout.releases) else []
        return [name for name in names if name.startswith((STAGING, REMOVED))]

    @contextlib.contextmanager
    def _locked(self) -> t.Iterator[None]:
        for directory in (self.layout.root, self.layout.releases, self.layout.locks):
            _make_directory(directory)
        with locked(os.path.join(self.layout.locks, "releases.lock"), LOCK_TIMEOUT, "a release is being unpacked or removed"):
            yield


def _make_directory(path: str) -> None:
    """Readable by the worker's account, whatever the umask of this process is."""
    if not os.path.isdir(path):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            os.chmod(path, 0o755)


def _verify(staging: str, release: str) -> None:
    entries, problems = scan(staging)
    found = tree_id(entries, lambda entry: digest_of(entry.source))
    if problems or found != release:
        why = str(problems[0]) if problems else f"its content is {found}"
        raise WorkerError("wrong_content", f"What arrived for release {release} is something else: {why}.", "Run the same command again.")


def _require_space(directory: str, size: int, files: int) -> None:
    """The blocks and inodes that the release needs are free on the file system where it will be."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    # every file rounds up to whole blocks
    needed = size + files * status.f_frsize
    if free < needed:
        raise _disk_full(directory, f"{needed} bytes are needed and {free} are free")
    if status.f_files and status.f_favail < files:
        raise _disk_full(directory, f"{files} inodes are needed and {status.f_favail} are free")


def _disk_full(directory: str, why: str) -> WorkerError:
    text = f"The file system of {directory} is too full for the release: {why}."
    return WorkerError("disk_full", text, f"Free space, then run the same command again: df -h {directory}")


def _flush_file_system(path: str) -> None:
    """One flush for all files: a flush for each takes seconds on a slow disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    except AttributeError:
        os.sync()
    finally:
        os.close(descriptor)
