# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a tool left in a prefix: whether it is all of what was wanted, and of it what may not stay."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import typing as t
import urllib.parse

from ..errors import WorkerError
from ..files import write_text
from .backends import CreateRequest
from .locked import LockedPackage
from .specs import spec_name, strip_credentials

Record = t.Dict[str, t.Any]
_EXTENSIONS = re.compile(r"\.(?:conda|tar\.bz2)$")


def read_records(prefix: str) -> dict[str, Record]:
    """The records of its packages by the names of their files; one that cannot be read has no name in it."""
    meta = os.path.join(prefix, "conda-meta")
    if os.path.islink(meta) or os.path.islink(prefix):
        raise WorkerError("unsafe_package", f"A package put a link to another place at {meta}.", "Find the package that does this, and leave it out.")
    names = sorted(name for name in (os.listdir(meta) if os.path.isdir(meta) else ()) if name.endswith(".json"))
    return {name: _read(os.path.join(meta, name)) for name in names}


def _read(path: str) -> Record:
    try:
        with _regular(path, os.O_NOFOLLOW) as handle:
            record = json.load(handle)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and isinstance(record.get("name"), str) else {}


def _regular(path: str, flags: int = 0) -> t.BinaryIO:
    """The file opened, which packages may have chosen: no pipe or device keeps us waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", path)


def check_complete(request: CreateRequest, records: t.Mapping[str, Record], linked: t.Set[str]) -> str:
    """What is wrong with the prefix, or an empty text. linked: names of packages that the tool says it linked."""
    if request.locked:
        return check_records(request.prefix, records, set(), {_stem(each.url) for each in request.locked})
    wanted = {spec_name(spec) for spec in request.specs} | linked
    wanted |= {_needed(need) for record in records.values() for need in record.get("depends") or ()}
    return check_records(request.prefix, records, {name for name in wanted if name and not name.startswith("__")})


def check_records(prefix: str, records: t.Mapping[str, Record], names: t.Set[str], stems: t.AbstractSet[str] = frozenset()) -> str:
    """The same for what must be there: packages by their names in lower case, or by the names of their files."""
    broken = [name for name, record in records.items() if not record]
    if broken:
        return f"conda-meta/{broken[0]} cannot be read"
    there = {str(record["name"]).lower() for record in records.values()}
    missing = sorted(names - there) + sorted(stems - {name[: -len(".json")] for name in records})
    if missing:
        return f"{prefix} lacks {', '.join(missing[:10])}"
    if os.path.lexists(os.path.join(prefix, ".condatmp")):
        return f"{prefix} was left half made"
    if "python" in there and not os.access(os.path.join(prefix, "bin", "python"), os.X_OK):
        return f"{prefix} has no bin/python that can be run"
    return ""


def _needed(need: t.Any) -> str:
    return spec_name(str(need).split(None, 1)[0].split("[")[0]) if str(need).split() else ""


def _stem(url: str) -> str:
    return _EXTENSIONS.sub("", urllib.parse.unquote(urllib.parse.urlsplit(url).path.rsplit("/", 1)[-1]))


def packages_of(records: t.Mapping[str, Record]) -> list[dict[str, str]]:
    """As ``Backend.create`` returns them."""
    packages = [
        {"name": str(record["name"]), "version": str(record.get("version", "")), "build": _build(record), "channel": _channel(record)}
        for record in records.values()
    ]
    return sorted(packages, key=lambda each: each["name"])


def _build(record: Record) -> str:
    return str(record.get("build") or record.get("build_string") or "")


def _channel(record: Record) -> str:
    """The address above the directories of platforms, with the slash that rattler gives it: conda records one of those, mamba does not."""
    url = str(record.get("url") or "")
    return strip_credentials(url.rsplit("/", 2)[0] + "/" if url.count("/") > 2 else str(record.get("channel", "")))


def check_hashes(records: t.Mapping[str, Record], channels: t.Sequence[str]) -> None:
    """Hash what came out of channels that are directories: conda does so for what it downloads, but not for ``file://``.

    Nothing that was downloaded has run by now. Raises WorkerError ``hash_mismatch``.
    """
    for record in records.values():
        url = str(record.get("url") or "")
        if url.startswith(tuple(f"{channel}/" for channel in channels)):
            check_file(url, str(record.get("sha256") or ""), str(record.get("md5") or ""))


def check_locked_files(locked: t.Sequence[LockedPackage]) -> None:
    """The same for packages that a lock file names, before anything reads them."""
    for each in locked:
        check_file(each.url, each.sha256, each.md5)


def check_file(url: str, sha256: str, md5: str) -> None:
    """One ``file://`` address against the stronger hash that there is. Raises WorkerError ``hash_mismatch`` or ``channel_unreachable``."""
    if not url.startswith("file:") or not (sha256 or md5):
        return
    path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
    name, wanted = ("sha256", sha256) if sha256 else ("md5", md5)
    try:
        found = _digest(path, name)
    except OSError as error:
        raise WorkerError("channel_unreachable", f"The package {path} cannot be read: {error.strerror}.", "Put it there, or correct the address.") from None
    if found != wanted.lower():
        remedy = "Fetch or index the channel anew; do not install this file."
        message = f"A package is not what its channel says it is: {path} has the {name} {found}, and {wanted.lower()} is expected."
        raise WorkerError("hash_mismatch", message, remedy, url=url)


def _digest(path: str, name: str) -> str:
    # FIPS machines have no md5 for anything else.
    digest = hashlib.sha256() if name == "sha256" else hashlib.md5(usedforsecurity=False)
    with _regular(path) as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def forget_credentials(prefix: str) -> None:
    """Take what is left of credentials out of the addresses in records and history. The tools are given addresses without: this holds if one adds them."""
    meta = os.path.join(prefix, "conda-meta")
    for name in os.listdir(meta):
        path = os.path.join(meta, name)
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or not (name.endswith(".json") or name == "history"):
            continue
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            text = handle.read()
        bare = strip_credentials(text)
        if bare != text:
            # A new file: the old one may have a second name in the cache.
            write_text(path, bare, owner=(status.st_uid, status.st_gid))
