# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Unpacking tar archives that nobody vouches for: nothing is written outside the destination. Needs nothing of Ansible.

``tarfile``'s own filters exist only in newer Pythons; these rules are stricter and the same everywhere.
"""

from __future__ import annotations

import os
import shutil
import struct
import tarfile
import typing as t
import zipfile
import zlib

from ..errors import WorkerError

try:
    from lzma import LZMAError
except ImportError:
    # Some Pythons are built without it, and open no such archive.
    LZMAError = EOFError  # type: ignore[misc,assignment]

# What the libraries raise for an archive that is not whole; an OSError without a number comes from bz2.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, LZMAError, struct.error, ValueError, OSError)
REMEDY = "Make the archive again."
_BLOCK = 1 << 20


def safe_path(name: str) -> str:
    """The member's name as a path below the destination; empty for the destination itself.

    Raises WorkerError ``bad_archive`` for a name that leads out of it.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise WorkerError("bad_archive", f"The archive names {name!r}, which leads out of the place where it is unpacked.", REMEDY)
    return "/".join(parts)


def safe_target(path: str, target: str) -> str:
    """The target of the link ``path`` as it is. Raises WorkerError ``bad_archive`` where it leads out of the destination."""
    inside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if not target or "\0" in target or target.startswith("/") or inside == ".." or inside.startswith("../"):
        raise WorkerError("bad_archive", f"The archive's link {path!r} leads to {target!r}, out of the place where it is unpacked.", REMEDY)
    return target


class Writer:
    """Writes members below ``destination``, an empty directory of ours. Links come last, so nothing is ever written through one."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self.links: dict[str, str] = {}
        self._made = {""}

    def directory(self, path: str) -> None:
        """Make the directory and those above it, where they are not there yet."""
        missing = []
        while path not in self._made:
            missing.append(path)
            path = os.path.dirname(path)
        for each in reversed(missing):
            full = os.path.join(self.destination, each)
            try:
                os.mkdir(full)
            except FileExistsError:
                raise WorkerError("bad_archive", f"The archive holds {each!r} as a file and as a directory.", REMEDY) from None
            os.chmod(full, 0o755)
            self._made.add(each)

    def file(self, path: str, content: t.IO[bytes], executable: bool) -> None:
        """A second member of one name replaces the first, as with every tar."""
        self.directory(os.path.dirname(path))
        self.links.pop(path, None)
        full = os.path.join(self.destination, path)
        if path in self._made or not path:
            raise WorkerError("bad_archive", f"The archive holds {path!r} as a file and as a directory.", REMEDY)
        if os.path.lexists(full):
            os.unlink(full)
        with open(full, "xb") as handle:
            shutil.copyfileobj(content, handle, _BLOCK)
            os.fchmod(handle.fileno(), 0o755 if executable else 0o644)

    def copy(self, path: str, first: str) -> None:
        """A hard link: the content of a file that came earlier."""
        full = os.path.join(self.destination, first)
        if first in self._made or not os.path.isfile(full):
            raise WorkerError("bad_archive", f"The archive's hard link {path!r} names {first!r}, which is no file before it.", REMEDY)
        with open(full, "rb") as content:
            self.file(path, content, bool(os.fstat(content.fileno()).st_mode & 0o100))

    def link(self, path: str, target: str) -> None:
        if not path:
            raise WorkerError("bad_archive", "The archive names its own top as a link.", REMEDY)
        self.links[path] = safe_target(path, target)

    def finish(self) -> None:
        for path, target in self.links.items():
            self.directory(os.path.dirname(path))
            try:
                os.symlink(target, os.path.join(self.destination, path))
            except FileExistsError:
                raise WorkerError("bad_archive", f"The archive holds {path!r} as a link and as something else.", REMEDY) from None


def unpack_tar(path: str, destination: str, mode: t.Literal["r|", "r|*"] = "r|") -> None:
    """Unpack the tar archive into the empty directory; files get 0644 or 0755, directories 0755, owner and time are the process's.

    mode: of ``tarfile.open``; ``r|*`` reads compressed archives too. Memory does not grow with the archive.
    Raises WorkerError ``bad_archive``, OSError.
    """
    writer = Writer(destination)
    try:
        with tarfile.open(path, mode, encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                _unpack_member(archive, member, writer)
                # tarfile remembers every member, also in a stream
                t.cast("t.Any", archive).members.clear()
        writer.finish()
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WorkerError("bad_archive", f"{path} is not a whole tar archive: {error}.", REMEDY) from None


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, writer: Writer) -> None:
    path = safe_path(member.name)
    if member.isdir():
        writer.directory(path)
    elif member.isreg():
        writer.file(path, t.cast("t.IO[bytes]", archive.extractfile(member)), bool(member.mode & 0o100))
    elif member.issym():
        writer.link(path, member.linkname)
    elif member.islnk():
        writer.copy(path, safe_path(member.linkname))
    else:
        raise WorkerError("bad_archive", f"The archive holds {member.name!r}, a device or a named pipe.", REMEDY)
