# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tar file that carries a release to a host: plain, the same bytes for the same content, made once a run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import tarfile
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import DIRECTORY, FILE, LINK, Entry

LOCK_TIMEOUT = 600.0


def package_of(release: str, entries: t.Sequence[Entry], digests: t.Mapping[str, str], scratch: str) -> str:
    """The path of the release's tar file below ``scratch``, made unless another process of this run made it.

    Raises WorkerError ``source_changed`` where a file is not any more what was hashed; OSError.
    """
    path = os.path.join(scratch, f"release-{release}.tar")
    with locked(f"{path}.lock", LOCK_TIMEOUT, "the release is being packed"):
        if not os.path.exists(path):
            partial = f"{path}.{os.getpid()}"
            try:
                with open(partial, "wb") as handle:
                    pack(entries, digests, handle)
                os.rename(partial, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(partial)
                raise
    return path


def pack(entries: t.Sequence[Entry], digests: t.Mapping[str, str], output: t.IO[bytes]) -> None:
    """Write the entries as a tar archive; memory does not grow with their size."""
    with tarfile.open(fileobj=output, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as archive:
        for entry in entries:
            if entry.kind == FILE:
                _pack_file(archive, entry, digests[entry.source])
            else:
                archive.addfile(_member(entry))
            # tarfile remembers every member
            t.cast("t.Any", archive).members.clear()


def _member(entry: Entry) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.path)
    member.type = {FILE: tarfile.REGTYPE, LINK: tarfile.SYMTYPE, DIRECTORY: tarfile.DIRTYPE}[entry.kind]
    member.mode = 0o755 if entry.executable or entry.kind == DIRECTORY else 0o644
    member.size = entry.size
    member.linkname = entry.target
    return member


def _pack_file(archive: tarfile.TarFile, entry: Entry, digest: str) -> None:
    try:
        with open(entry.source, "rb", buffering=0) as handle:
            reader = _HashingReader(handle)
            archive.addfile(_member(entry), t.cast("t.IO[bytes]", reader))
            whole = reader.digest.hexdigest() == digest and not handle.read(1)
    except OSError as error:
        # tarfile says so where the file became shorter
        if error.errno is not None:
            raise
        whole = False
    if not whole:
        raise WorkerError("source_changed", f"The file {entry.source} changed while the release was packed.", "Run the same command again.")


@dataclasses.dataclass
class _HashingReader:
    """Hashes what is read through it: what is sent is what was looked at, or an error."""

    handle: io.FileIO
    digest: hashlib._Hash = dataclasses.field(default_factory=hashlib.sha256)

    def read(self, size: int = -1) -> bytes:
        block = self.handle.read(size) or b""
        self.digest.update(block)
        return block
