# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a release consists of, and the id that follows from it. The same code looks at the source and at the copy.

Needs nothing of Ansible.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import stat
import typing as t

from ..errors import WorkerError

FILE, LINK, DIRECTORY = "file", "link", "directory"
ID_LENGTH = 16
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file, link or empty directory.

    path: below the top, "/" between names. target: of a link, relative to the link's own directory.
    source: where the content is read (absolute; differs from the path where a link that leads outside was followed).
    signature: (device, inode, size in bytes, mtime and ctime in ns) of a file when it was seen.
    """

    path: str
    kind: str
    executable: bool = False
    target: str = ""
    source: str = ""
    signature: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of content; 0 for links and directories."""
        return self.signature[2] if self.signature else 0


# (path below the top, is it a directory, absolute path) -> leave it out, with all that is below it
Excluded = t.Callable[[str, bool, str], bool]


def nothing_excluded(path: str, directory: bool, full: str) -> bool:
    """The rule of somebody who wants everything."""
    return False


def scan(top: str, excluded: Excluded = nothing_excluded, follow_outside: bool = False) -> tuple[list[Entry], list[WorkerError]]:
    """All entries below ``top``, sorted, and every reason why it cannot be a release; nothing is read but names and stats.

    follow_outside: copy what links that lead out of ``top`` point to; otherwise such a link is a problem.
    Problems have the codes ``unreadable``, ``special_file``, ``broken_link``, ``cyclic_link``, ``link_outside``, ``link_excluded``.
    """
    walk = _Walk(os.path.realpath(top), excluded, follow_outside)
    while walk.pending:
        walk.enter(*walk.pending.pop())
    walk.check_targets()
    return sorted(walk.entries, key=lambda entry: os.fsencode(entry.path)), walk.problems


class _Walk:
    def __init__(self, top: str, excluded: Excluded, follow_outside: bool) -> None:
        self.top = top
        self.excluded = excluded
        self.follow_outside = follow_outside
        self.entries: list[Entry] = []
        self.problems: list[WorkerError] = []
        # path below the top, directory to read, the real directories that were entered on the way to it
        self.pending: list[tuple[str, str, tuple[str, ...]]] = [("", top, (top,))]

    def enter(self, path: str, directory: str, above: tuple[str, ...]) -> None:
        try:
            with os.scandir(directory) as found:
                items = list(found)
        except OSError as error:
            self.problem("unreadable", f"The directory {directory} cannot be read: {error.strerror}.", f"Make it readable, or leave it out: {path}")
            return
        taken = [self.take(f"{path}/{item.name}" if path else item.name, item, above) for item in items]
        if path and not any(taken):
            self.entries.append(Entry(path, DIRECTORY))

    def take(self, path: str, item: os.DirEntry[str], above: tuple[str, ...]) -> bool:
        """Record the item or put it off; False where it is left out."""
        if item.is_symlink():
            return self.take_link(path, item.path, above)
        directory = item.is_dir(follow_symlinks=False)
        if self.excluded(path, directory, item.path):
            return False
        if directory:
            self.pending.append((path, item.path, (*above, item.path)))
        else:
            self.take_file(path, item.path, item.path, item.stat(follow_symlinks=False))
        return True

    def take_file(self, path: str, source: str, full: str, status: os.stat_result) -> None:
        """source: where the content is; full: the same, or the link that leads there."""
        name = source if source == full else f"{source}, to which the link {full} leads,"
        if not stat.S_ISREG(status.st_mode):
            text = f"{name} is a {_kind_in_words(status.st_mode)}, which cannot be part of a release."
            self.problem("special_file", text, f"Remove it, or leave it out: {path}")
        elif not os.access(source, os.R_OK):
            self.problem("unreadable", f"The file {name} cannot be read.", f"Make it readable, or leave it out: {path}")
        else:
            signature = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            self.entries.append(Entry(path, FILE, bool(status.st_mode & stat.S_IXUSR), source=source, signature=signature))

    def take_link(self, path: str, full: str, above: tuple[str, ...]) -> bool:
        if self.excluded(path, False, full):
            return False
        try:
            status = os.stat(full)
        except OSError as error:
            self.broken_link(path, full, error)
            return True
        real = os.path.realpath(full)
        if real == self.top or real.startswith(self.top + os.sep):
            target = os.path.relpath(os.path.relpath(real, self.top), os.path.dirname(path) or ".")
            self.entries.append(Entry(path, LINK, target=target))
        elif not self.follow_outside:
            self.problem("link_outside", f"The link {full} leads out of the release, to {real}.", "Replace it by what it points to.")
        elif not stat.S_ISDIR(status.st_mode):
            self.take_file(path, real, full, status)
        elif real in above or self.top.startswith(os.path.join(real, "")):
            self.problem("cyclic_link", f"The link {full} leads to {real}, which contains it.", f"Remove it, or leave it out: {path}")
        elif self.excluded(path, True, real):
            return False
        else:
            self.pending.append((path, real, (*above, real)))
        return True

    def broken_link(self, path: str, full: str, error: OSError) -> None:
        target = os.readlink(full)
        remedy = f"Repair or remove it, or leave it out: {path}"
        if error.errno == errno.ELOOP:
            self.problem("cyclic_link", f"The link {full} (to {target}) leads to itself.", remedy)
        elif isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self.problem("broken_link", f"The link {full} leads to {target}, which does not exist.", remedy)
        else:
            self.problem("unreadable", f"The link {full} (to {target}) cannot be followed: {error.strerror}.", remedy)

    def check_targets(self) -> None:
        """A link to something that is left out would arrive broken."""
        present = {""}
        for entry in self.entries:
            path = entry.path
            while path not in present:
                present.add(path)
                path = os.path.dirname(path)
        for entry in self.entries:
            if entry.kind == LINK and target_path(entry) not in present:
                text = f"The link {os.path.join(self.top, entry.path)} leads to {target_path(entry)}, which is left out of the release or cannot be read."
                self.problem("link_excluded", text, f"Leave the link out too ({entry.path}), or take its target in: !{target_path(entry)}")

    def problem(self, code: str, message: str, remedy: str) -> None:
        self.problems.append(WorkerError(code, message, remedy))


def target_path(link: Entry) -> str:
    """Where the link leads, below the top; empty for the top itself."""
    path = os.path.normpath(os.path.join(os.path.dirname(link.path), link.target))
    return "" if path == "." else path


def tree_id(entries: t.Iterable[Entry], digest: t.Callable[[Entry], str]) -> str:
    """The id of the sorted entries: kind, executable or not, path, and content; never times, owners or other mode bits.

    digest: the sha256 (hex) of a file's content.
    """
    total = hashlib.sha256(b"ew_ai.worker release 1\0")
    for entry in entries:
        content = digest(entry) if entry.kind == FILE else entry.target
        for field in (entry.kind, "x" if entry.executable else "-", entry.path, content):
            total.update(os.fsencode(field) + b"\0")
    return total.hexdigest()[:ID_LENGTH]


def digest_of(path: str) -> str:
    """The sha256 (hex) of the file's content, read block by block. Raises OSError."""
    total = hashlib.sha256()
    with open(path, "rb", buffering=0) as handle:
        block = memoryview(bytearray(_BLOCK))
        while True:
            count = handle.readinto(block)
            if not count:
                return total.hexdigest()
            total.update(block[:count])


def _kind_in_words(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "named pipe", stat.S_IFBLK: "block device", stat.S_IFCHR: "character device"}
    return kinds.get(stat.S_IFMT(mode), "special file")
