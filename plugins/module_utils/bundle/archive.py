# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The archive that a bundle travels as: a plain tar whose bytes follow from its contents alone. Needs nothing of Ansible."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tarfile
import tempfile
import typing as t

from ..files import flush_directory
from . import manifest
from .manifest import Bundle, damaged

_BLOCK = 1 << 20
# A manifest has a few hundred bytes for each file.
_LONGEST_MANIFEST = 50_000_000


def table_of(directory: str) -> dict[str, tuple[str, int]]:
    """(sha256, size) of every file below the directory by its path there."""
    found = {}
    for name in names_below(directory):
        path = os.path.join(directory, name)
        with open(path, "rb") as handle:
            found[name] = (_copy(handle, None), os.path.getsize(path))
    return found


def write(path: str, directory: str, text: str) -> None:
    """Make the archive of the files below the directory and the manifest's text: complete under its name, or not there. Raises OSError."""
    parent = os.path.dirname(path)
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                tar.addfile(_member(manifest.NAME, len(text.encode())), io.BytesIO(text.encode()))
                for name in sorted(names_below(directory)):
                    full = os.path.join(directory, name)
                    with open(full, "rb") as content:
                        tar.addfile(_member(name, os.path.getsize(full)), content)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
    flush_directory(parent)


def names_below(directory: str) -> list[str]:
    """The paths of all files below the directory."""
    return [os.path.relpath(os.path.join(parent, name), directory) for parent, _directories, names in os.walk(directory) for name in names]


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def read(path: str) -> Bundle:
    """What the archive says of itself; nothing else is read. Raises WorkerError ``bad_bundle``."""
    with _opened(path) as tar:
        return _first(tar, path)[0]


def examine(path: str, destination: t.Optional[str] = None) -> Bundle:
    """Read the whole archive and compare every file with the manifest. destination: an empty directory to unpack it into.

    Raises WorkerError ``bad_bundle`` that names the file, and OSError.
    """
    with _opened(path) as tar:
        bundle, text = _first(tar, path)
        left = dict(bundle.files)
        if destination is not None:
            _write(os.path.join(destination, manifest.NAME), io.BytesIO(text))
        for member in tar:
            if member.name not in left or not member.isreg():
                raise damaged(path, f"it holds {member.name!r}, which its {manifest.NAME} does not name, or twice")
            digest, size = left.pop(member.name)
            content = t.cast("t.IO[bytes]", tar.extractfile(member))
            found = _copy(content, None) if destination is None else _write(os.path.join(destination, member.name), content)
            if (found, member.size) != (digest, size):
                raise damaged(path, f"{member.name} in it has the sha256 {found}, and {digest} was recorded")
            # tarfile remembers every member, also in a stream
            t.cast("t.Any", tar).members.clear()
    if left:
        raise damaged(path, f"it ends before {min(left)}")
    return bundle


@contextlib.contextmanager
def _opened(path: str) -> t.Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r|") as tar:
            yield tar
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise damaged(path, f"it is not a whole tar archive ({error})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise damaged(path, f"it is not a whole tar archive ({error})") from None


def _first(tar: tarfile.TarFile, path: str) -> tuple[Bundle, bytes]:
    member = tar.next()
    if member is None or member.name != manifest.NAME or not member.isreg() or member.size > _LONGEST_MANIFEST:
        raise damaged(path, f"it does not begin with a {manifest.NAME}")
    text = t.cast("t.IO[bytes]", tar.extractfile(member)).read()
    t.cast("t.Any", tar).members.clear()
    return manifest.parse(text, path), text


def _write(path: str, content: t.IO[bytes]) -> str:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "xb") as handle:
        os.fchmod(handle.fileno(), 0o644)
        return _copy(content, handle)


def _copy(content: t.IO[bytes], target: t.Optional[t.IO[bytes]]) -> str:
    digest = hashlib.sha256()
    for block in iter(lambda: content.read(_BLOCK), b""):
        digest.update(block)
        if target is not None:
            target.write(block)
    return digest.hexdigest()
