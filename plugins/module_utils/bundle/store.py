# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Bundles on a host: unpacked and complete under their id, or not there at all. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import typing as t

from ..actions import Actions
from ..boundaries import boundary
from ..errors import WorkerError
from ..files import flush_directory, locked, remove_tree
from ..layout import Layout
from .archive import examine
from .leftovers import REMOVED, STAGING, leftovers, size_of
from .manifest import damaged

LOCK_TIMEOUT = 600.0
# A deploy needs the bundle that it was given, and nothing that was built needs any: one more than there are workers is for whoever goes back and forth.
SPARE = 1


class Bundles:
    """The bundles below one root, under one lock."""

    def __init__(self, root: str, actions: Actions, check_mode: bool) -> None:
        self.layout = Layout(root)
        self.actions = actions
        self.check_mode = check_mode

    def path(self, bundle: str) -> str:
        return os.path.join(self.layout.bundles, bundle)

    def exists(self, bundle: str) -> bool:
        """A directory under an id is complete: it got that name last."""
        return os.path.isdir(self.path(bundle))

    def require(self, bundle: str, size: int) -> bool:
        """Whether the bundle must be sent; then its creation is recorded. Raises WorkerError ``disk_full`` before anything is sent."""
        if self.exists(bundle) and self._used(bundle):
            return False
        if leftovers(self.layout.bundles) and not self.check_mode:
            # Whoever holds the lock is at work there, and will remove them.
            with contextlib.suppress(WorkerError), self._locked(0):
                self._sweep()
        freed = sum(map(size_of, leftovers(self.layout.bundles))) if self.check_mode else 0
        _require_space(self.layout.bundles, size - freed)
        self._record(bundle)
        for name in self._old(bundle):
            self._record_removal(name)
        return True

    def add(self, bundle: str, package: str, size: int) -> bool:
        """Unpack the archive ``package`` as the bundle, unless another run did meanwhile; True where it was done.

        Raises WorkerError ``bad_bundle`` or ``disk_full``; then nothing of it is left.
        """
        with self._locked():
            if self.exists(bundle):
                return False
            self._sweep()
            _require_space(self.layout.bundles, size)
            staging = tempfile.mkdtemp(prefix=f"{STAGING}{bundle}-", dir=self.layout.bundles)
            try:
                boundary("bundle.staged")
                found = examine(package, staging).id
                if found != bundle:
                    raise damaged(package, f"it is the bundle {found}, and {bundle} was sent")
                os.chmod(staging, 0o755)
                os.sync()
                boundary("bundle.unpacked")
                os.rename(staging, self.path(bundle))
            except BaseException as error:
                with contextlib.suppress(OSError):
                    remove_tree(staging)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise _disk_full(self.layout.bundles, str(error.strerror)) from None
                raise
            flush_directory(self.layout.bundles)
            boundary("bundle.renamed")
            self._remove_old(bundle)
        self._record(bundle)
        return True

    def _used(self, bundle: str) -> bool:
        """Whether it is still there; it is not among the oldest any more. What killed runs left goes, and what they had no time to remove."""
        if self.check_mode:
            return True
        try:
            os.utime(self.path(bundle))
        except FileNotFoundError:
            return False
        if self._old(bundle) or leftovers(self.layout.bundles):
            with self._locked():
                self._sweep()
                self._remove_old(bundle)
        # Another run may have found it to be the oldest before.
        return self.exists(bundle)

    def _old(self, bundle: str) -> list[str]:
        """Those that are one too many beside the bundle: what was used last stays, one for each worker and a spare one."""
        names = [name for name in _names(self.layout.bundles) if not name.startswith(".") and name != bundle]
        kept = max(1, len(_names(self.layout.workers()))) - 1 + SPARE
        return sorted(names, key=self._used_at, reverse=True)[kept:]

    def _used_at(self, name: str) -> int:
        try:
            return os.lstat(self.path(name)).st_mtime_ns
        except FileNotFoundError:
            return 0

    def _remove_old(self, bundle: str) -> None:
        # Asked again for each: another run may begin to use one of them.
        while old := self._old(bundle):
            self._remove(old[-1])

    def _remove(self, name: str) -> None:
        # What has the name is whole: a killed run leaves half of it under another.
        doomed = os.path.join(self.layout.bundles, f"{REMOVED}{name}")
        os.rename(self.path(name), doomed)
        boundary("bundle.removal.renamed")
        remove_tree(doomed)
        self._record_removal(name)

    def _sweep(self) -> None:
        for path in leftovers(self.layout.bundles):
            remove_tree(path)

    def _record_removal(self, name: str) -> None:
        self.actions.add("bundle", os.path.relpath(self.path(name), self.layout.root), "removed")

    def _record(self, bundle: str) -> None:
        name = os.path.relpath(self.path(bundle), self.layout.root)
        self.actions.add("bundle", name, "created")
        self.actions.differ(name, {"state": "absent"}, {"state": "present"})

    @contextlib.contextmanager
    def _locked(self, timeout: float = LOCK_TIMEOUT) -> t.Iterator[None]:
        for directory in (self.layout.root, self.layout.bundles, self.layout.locks):
            os.makedirs(directory, mode=0o755, exist_ok=True)
        with locked(os.path.join(self.layout.locks, "bundles.lock"), timeout, "a bundle is being unpacked"):
            yield


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _require_space(directory: str, size: int) -> None:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < size:
        raise _disk_full(directory, f"{size} bytes are needed and {free} are free")


def _disk_full(directory: str, why: str) -> WorkerError:
    text = f"The file system of {directory} is too full for the bundle: {why}."
    return WorkerError("disk_full", text, f"Free space, then run the same command again: df -h {directory}")
