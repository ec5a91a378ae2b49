# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hashes of a source's files, remembered between runs and shared by the processes of one run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked, write_text
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import FILE, Entry, digest_of

LOCK_TIMEOUT = 120.0
# A file that changed a moment ago may change again without a new time stamp.
_SETTLED_NS = 2_000_000_000
Known = dict[str, tuple[list[int], str]]


def cache_directory(environ: t.Mapping[str, str]) -> str:
    """This user's own, below XDG_CACHE_HOME."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "ew_ai_worker", "hashes")


def hash_files(entries: t.Sequence[Entry], directory: str, cache: str) -> dict[str, str]:
    """``{path read: sha256}`` of every file among the entries.

    directory: names the source. cache: where the hashes are kept; only files whose stat signature is a new one are read. A cache
    that cannot be used costs time and nothing else. Raises WorkerError ``unreadable``.
    """
    path = os.path.join(cache, hashlib.sha256(os.fsencode(directory)).hexdigest()[:16] + ".json")
    files = [entry for entry in entries if entry.kind == FILE]
    known = _load(path)
    if not all(_is_known(entry, known) for entry in files):
        with _locked_if_possible(path):
            known = _hash_unknown(files, _load(path))
            _store(path, files, known)
    return {entry.source: known[entry.source][1] for entry in files}


def _is_known(entry: Entry, known: Known) -> bool:
    return entry.source in known and known[entry.source][0] == list(entry.signature)


def _hash_unknown(files: t.Sequence[Entry], known: Known) -> Known:
    return {entry.source: known[entry.source] if _is_known(entry, known) else (list(entry.signature), _digest(entry.source)) for entry in files}


def _digest(path: str) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise WorkerError("unreadable", f"The file {path} cannot be read: {error.strerror}.", "Make it readable, or leave it out.") from None


def _load(path: str) -> Known:
    try:
        with open(path, encoding="utf-8") as handle:
            return {str(name): ([int(number) for number in signature], str(digest)) for name, (signature, digest) in json.load(handle).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _store(path: str, files: t.Sequence[Entry], known: Known) -> None:
    newest = time.time_ns() - _SETTLED_NS
    settled = {entry.source: known[entry.source] for entry in files if max(entry.signature[3:]) < newest}
    with contextlib.suppress(OSError, UnicodeError):
        write_text(path, json.dumps(settled), 0o600)


@contextlib.contextmanager
def _locked_if_possible(path: str) -> t.Iterator[None]:
    """One process hashes, the others wait and find its hashes; where that is not possible each hashes for itself."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, WorkerError):
            stack.enter_context(locked(f"{path}.lock", LOCK_TIMEOUT, "the files are being hashed"))
        yield
