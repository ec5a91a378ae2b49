# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who owns what while an environment is built: the build user gets directories for a while, root gets all of it at the end.

Files that the backend linked share their inode with the package cache: their owner and mode are never changed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import tempfile
import typing as t

from ..errors import OptionError, WorkerError

# Where root reads and writes in a prefix that the build user had.
_ENTERED = ("bin", "conda-meta", "etc/conda/env_vars.d")
_READ = ("conda-meta/state",)


def build_identity(user: t.Optional[str]) -> t.Optional[tuple[int, int]]:
    """(uid, gid) of the build user, or None where steps run as whoever runs the module: always when that is not root.

    Raises OptionError for an unknown account.
    """
    if user is None or os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise OptionError("build_user", user, "there is no such account", f"Create it first: useradd --system --shell /usr/sbin/nologin {user}") from None
    return None if account.pw_uid == 0 else (account.pw_uid, account.pw_gid)


def lend(prefix: str, owner: tuple[int, int]) -> None:
    """Give every directory of the prefix (and no file) to the owner."""
    for directory, _names, _files in os.walk(prefix):
        os.chown(directory, *owner, follow_symlinks=False)


def give(path: str, owner: tuple[int, int]) -> None:
    """Give a directory that only we have written, and all that is in it, to the owner."""
    for directory, _names, files in os.walk(path):
        os.chown(directory, *owner, follow_symlinks=False)
        for name in files:
            os.chown(os.path.join(directory, name), *owner, follow_symlinks=False)


def take_back(path: str, owner: tuple[int, int] = (0, 0)) -> None:
    """Make root (or ``owner``) the owner of everything that is not root's, readable by all and writable by nobody else.

    From the top down, each directory before its entries are looked at: whoever owned it cannot exchange them any more.
    """
    os.chown(path, *owner, follow_symlinks=False)
    os.chmod(path, 0o755)
    with os.scandir(path) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                take_back(entry.path, owner)
            elif (status.st_uid, status.st_gid) != owner:
                _take_file(entry.path, status, owner)


def refuse_detours(prefix: str) -> None:
    """Raise WorkerError ``build_failed`` where what root goes on to work in or to read leads out of the prefix.

    Called when nobody can exchange anything in the prefix any more: ``take_back`` leaves links as they are.
    """
    top = os.path.realpath(prefix)
    directory = os.path.join(prefix, "etc/conda/env_vars.d")
    declared = [f"etc/conda/env_vars.d/{name}" for name in os.listdir(directory)] if os.path.isdir(directory) else []
    for name in (*_ENTERED, *_READ, *declared):
        path = os.path.join(prefix, name)
        real = os.path.realpath(path)
        there = os.path.lexists(path)
        fits = real == os.path.join(top, name) if name in _ENTERED else real.startswith(top + os.sep) and os.path.isfile(real)
        if there and not fits:
            remedy = "Find the package that does this, and leave it out."
            raise WorkerError("build_failed", f"{path} leads to {real}: no package may put a link or a special file there.", remedy)


def _take_file(path: str, status: os.stat_result, owner: tuple[int, int]) -> None:
    if not stat.S_ISREG(status.st_mode):
        os.chown(path, *owner, follow_symlinks=False)
        return
    if status.st_nlink > 1:
        # The other name may lie anywhere: it stays as it is, and we get a file of our own.
        _replace_by_copy(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(descriptor, *owner)
        os.fchmod(descriptor, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
    finally:
        os.close(descriptor)


def _replace_by_copy(path: str) -> None:
    """The directory is root's by now, but what lies in it was chosen by others: no name that they could know is written to."""
    source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(source, "rb") as reader:
        # mkstemp opens with O_EXCL and O_NOFOLLOW, under a name that nobody can guess.
        descriptor, own = tempfile.mkstemp(prefix=".", dir=os.path.dirname(path))
        try:
            with open(descriptor, "wb") as writer:
                shutil.copyfileobj(reader, writer)
            os.replace(own, path)
        except BaseException:
            os.unlink(own)
            raise


def own_directory(path: str, owner: t.Optional[tuple[int, int]]) -> str:
    """The directory, made if absent. One of another owner is emptied first: what is in it may be changed by that owner."""
    wanted = owner if owner is not None else (os.geteuid(), os.getegid())
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path, follow_symlinks=False).st_uid != wanted[0]:
            shutil.rmtree(path)
    os.makedirs(path, mode=0o755, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(path, *wanted, follow_symlinks=False)
    return path
