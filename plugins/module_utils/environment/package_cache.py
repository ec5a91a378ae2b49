# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The caches of what was downloaded: root's, and closed to everybody else, but while a tool fills them as the build user.

No downloaded code runs while a cache is lent: what it could change would go into environments that have nothing to do with it.
Closed, because whoever can open a tool's lock file can hold that lock for ever.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import typing as t

from ..errors import WorkerError
from ..files import remove_tree
from .ownership import Stays, directories, give, is_ours, nothing_stays, take_back

# The caches below the cache directory that are lent. Those of the command lines are called conda-<backend>.
CONDA, UV = "conda", "uv"
# In those, the directory that the tool takes for its cache: packages in it may be deep, and are told by what is in them.
CLI_PACKAGES = "packages"
# What the tools write into a package when all else of it is there.
_UNPACKED = os.path.join("info", "repodata_record.json")


@contextlib.contextmanager
def lent(cache: str, owner: tuple[int, int]) -> t.Iterator[None]:
    """The cache (made if absent, in a directory that is ours) belongs to the owner for the block, but for packages that are in it."""
    reclaim(cache, owner[0])
    give(cache, owner, _packages_of(cache))
    try:
        yield
    finally:
        reclaim(cache, owner[0])


@contextlib.contextmanager
def opened(cache: str, group: int) -> t.Iterator[None]:
    """Accounts of the group can read what they know the name of for the block."""
    os.chown(cache, 0, group)
    os.chmod(cache, 0o710)
    try:
        yield
    finally:
        _close(cache)


def reclaim(cache: str, builder: int) -> None:
    """Make the cache root's and closed, whatever state a killed run left it in. What a third account could change is removed."""
    if os.path.lexists(cache) and os.stat(cache, follow_symlinks=False).st_uid not in (0, builder):
        remove_tree(cache)
    if not os.path.lexists(cache):
        os.mkdir(cache, 0o700)
    if not is_ours(cache, 0, 0o700):
        try:
            take_back(cache, builder, stays=_packages_of(cache))
        except WorkerError:
            # What cannot be had back must not stop every build to come.
            remove_tree(cache)
            os.mkdir(cache, 0o700)
        tidy(cache)
        _close(cache)


def tidy(cache: str) -> None:
    """Remove from conda's package cache what is no package: half of one, one that was exchanged, a lock that somebody may hold."""
    packages = os.path.join(cache, "pkgs")
    with contextlib.suppress(FileNotFoundError), os.scandir(packages) as entries:
        for entry in list(entries):
            whole = entry.is_dir(follow_symlinks=False) or (entry.is_file(follow_symlinks=False) and entry.name.endswith((".lock", ".md5")))
            if entry.name.startswith(".") or not whole:
                remove_tree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    _tidy_cli(cache)


def _tidy_cli(cache: str) -> None:
    """The same for the cache of a command line: halves of packages, archives that are unpacked, locks; indexes of channels stay."""
    packages = os.path.join(cache, CLI_PACKAGES)
    if not os.path.isdir(packages):
        return
    halves: list[str] = []

    def stays(path: str) -> bool:
        if not os.path.isdir(os.path.join(path, "info")):
            return False
        if not os.path.isfile(os.path.join(path, _UNPACKED)):
            halves.append(path)
        return True

    for directory, names in directories(packages, stays):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith((".conda", ".tar.bz2", ".partial", ".lock")) or os.path.islink(path):
                os.unlink(path)
    for half in halves:
        remove_tree(half)


def view_of(cache: str, view: str, owner: tuple[int, int]) -> str:
    """A copy of a cache, whose files in unpacked packages are hard links to root's: the owner cannot change those, and nobody reads the rest."""
    packages: list[str] = []

    def stays(path: str) -> bool:
        if _packages_of(cache)(path):
            packages.append(path)
            return True
        return False

    def copy(source: str, target: str) -> None:
        # With its times: conda takes an index with another time for an old one.
        shutil.copy2(source, target, follow_symlinks=False)

    def link(source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

    _mirror(cache, view, copy, stays)
    for package in packages:
        target = os.path.join(view, os.path.relpath(package, cache))
        try:
            _mirror(package, target, link)
        except OSError as error:
            # One whose paths are too long here must not be in every build's way: uv fetches it anew.
            if error.errno != errno.ENAMETOOLONG:
                raise
            remove_tree(target)
    give(view, owner, _packages_of(view))
    return view


def _mirror(source: str, target: str, put: t.Callable[[str, str], None], stays: Stays = nothing_stays) -> None:
    """The same directories with the same names in them, each by ``put``."""
    for directory, names in directories(source, stays):
        place = os.path.normpath(os.path.join(target, os.path.relpath(directory, source)))
        os.mkdir(place, 0o755)
        for name in names:
            put(os.path.join(directory, name), os.path.join(place, name))


def _packages_of(cache: str) -> Stays:
    """The directories of one package each: in the caches of rattler and of the command lines, and of unpacked wheels in uv's."""

    def is_package(path: str) -> bool:
        parts = os.path.relpath(path, cache).split(os.sep)
        if parts[0] == CLI_PACKAGES:
            return os.path.isdir(os.path.join(path, "info"))
        return len(parts) == 2 and (parts[0] == "pkgs" or parts[0].startswith("archive-"))

    return is_package


def _close(cache: str) -> None:
    os.chown(cache, 0, 0)
    os.chmod(cache, stat.S_IRWXU)
