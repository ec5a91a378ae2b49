# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who owns what while an environment is built: the build user gets directories for a while, root gets all of it at the end.

A directory that somebody else can write is entered by its descriptor, never by its path twice: between two looks at a path its
owner could put a link there, and root would follow it. That holds against a process which survived whatever should have ended it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import secrets
import shutil
import stat
import typing as t

from ..errors import OptionError, WorkerError
from ..files import remove_tree
from ..names import check_account

# Whether a directory, by its path, keeps its owner.
Stays = t.Callable[[str], bool]
# Where root reads and writes in a prefix that the build user had.
_ENTERED = ("bin", "conda-meta", "etc/conda/env_vars.d")
_READ = ("conda-meta/state",)


def build_identity(user: t.Optional[str]) -> t.Optional[tuple[int, int]]:
    """(uid, gid) of the build user, or None where steps run as whoever runs the module: always when that is not root.

    Raises OptionError for an unknown account.
    """
    if user is None:
        return None
    check_account("build_user", user)
    if os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise OptionError("build_user", user, "there is no such account", f"Create it first: useradd --system --shell /usr/sbin/nologin {user}") from None
    return None if account.pw_uid == 0 else (account.pw_uid, account.pw_gid)


def nothing_stays(path: str) -> bool:
    """The rule for a directory that changes hands as a whole."""
    return False


def directories(path: str, stays: Stays = nothing_stays) -> t.Iterator[tuple[str, list[str]]]:
    """Each directory from ``path`` on with the names of what in it is no directory, those above before those below them.

    However deep they are nested, unlike os.walk, which takes a frame a level. Those that stay are left out.
    """
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        names: list[str] = []
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    names.append(entry.name)
                elif not stays(entry.path):
                    waiting.append(entry.path)
        yield directory, names


def give(path: str, owner: tuple[int, int], stays: Stays = nothing_stays) -> None:
    """Give a directory that is ours, and all that is in it, to the owner, but for the directories that stay ours.

    From the bottom up: whoever gets a directory can exchange what is in it, so nothing below it may be left to do.
    """
    for directory, names in reversed(list(directories(path, stays))):
        for name in names:
            os.chown(os.path.join(directory, name), *owner, follow_symlinks=False)
        os.chown(directory, *owner, follow_symlinks=False)


def take_back(path: str, builder: int, owner: tuple[int, int] = (0, 0), stays: Stays = nothing_stays) -> None:
    """Make root (or ``owner``) the owner of all that the account ``builder`` has below ``path``, readable by all and writable by nobody else.

    From the top down, each directory before its entries are looked at: whoever owned it cannot exchange them any more. Sockets,
    pipes and devices are removed. stays: directories that are left alone where they are ours, and taken back as a whole where not.
    Until all is done ``path`` itself is closed to others: a run that was killed on the way can be told from one that was not.
    Raises WorkerError ``build_failed`` for what belongs to a third account, which only a link that the build user made can have
    brought here, and for directories that are nested too deep.
    """
    wholes: list[str] = []
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        descriptor = _open_directory(directory, path)
        try:
            _refuse_foreign(directory, os.fstat(descriptor), builder, owner)
            os.fchown(descriptor, *owner)
            os.fchmod(descriptor, 0o700 if directory == path else 0o755)
            with os.scandir(descriptor) as entries:
                for entry in list(entries):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        inner = os.path.join(directory, entry.name)
                        (wholes if stays(inner) else waiting).append(inner)
                    elif status.st_uid != owner[0]:
                        _take_file(descriptor, directory, entry.name, status, builder, owner)
        finally:
            os.close(descriptor)
    for each in wholes:
        if not is_ours(each, owner[0], 0o755):
            take_back(each, builder, owner)
    os.chmod(path, 0o755)


def is_ours(path: str, uid: int, mode: int) -> bool:
    """Whether the directory is in the hands and has the mode in which it is left when all is done."""
    status = os.stat(path, follow_symlinks=False)
    return (status.st_uid, stat.S_IMODE(status.st_mode)) == (uid, mode)


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


def _open_directory(directory: str, top: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise WorkerError("build_failed", f"In {top} directories are nested too deep.", "Find the package that does this, and leave it out.") from None


def _take_file(descriptor: int, directory: str, name: str, status: os.stat_result, builder: int, owner: tuple[int, int]) -> None:
    """descriptor: that of the directory."""
    _refuse_foreign(os.path.join(directory, name), status, builder, owner)
    if stat.S_ISLNK(status.st_mode):
        os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
        return
    if not stat.S_ISREG(status.st_mode):
        os.unlink(name, dir_fd=descriptor)
        return
    if status.st_nlink > 1:
        # The other name may lie anywhere: it stays as it is, and we get a file of our own.
        _replace_by_copy(descriptor, name)
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
    try:
        os.fchown(file, *owner)
        os.fchmod(file, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
    finally:
        os.close(file)


def _refuse_foreign(path: str, status: os.stat_result, builder: int, owner: tuple[int, int]) -> None:
    if status.st_uid not in (builder, owner[0]):
        remedy = "Find the package that does this, and leave it out; set fs.protected_hardlinks=1 (sysctl)."
        raise WorkerError("build_failed", f"{path} belongs to the account with the uid {status.st_uid}, which had no part in the build.", remedy)


def _replace_by_copy(descriptor: int, name: str) -> None:
    """The directory is root's by now, but what lies in it was chosen by others: no name that they could know is written to."""
    own = f".{secrets.token_hex(16)}"
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor), "rb") as reader:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(own, flags, 0o600, dir_fd=descriptor), "wb") as writer:
            try:
                shutil.copyfileobj(reader, writer)
                os.replace(own, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
            except BaseException:
                os.unlink(own, dir_fd=descriptor)
                raise


def private_directory(path: str, owner: t.Optional[tuple[int, int]]) -> str:
    """A new directory that only its owner can enter, in one that is ours."""
    os.mkdir(path, 0o700)
    if owner is not None:
        os.chown(path, *owner)
    return path


def own_directory(path: str) -> str:
    """The directory, made if absent. One of another owner is emptied first: what is in it may be changed by that owner."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path, follow_symlinks=False).st_uid != os.geteuid():
            remove_tree(path)
    os.makedirs(path, mode=0o755, exist_ok=True)
    return path
