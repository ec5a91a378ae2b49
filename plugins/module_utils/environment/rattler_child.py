# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The program that the rattler backend runs: one JSON line in, JSON lines out, and out by ``os._exit``.

py-rattler may crash while an interpreter that used it shuts down, after all its work is done: so it gets a process of
its own, which never shuts down. The file's text is handed to ``python -c``, hence it imports nothing of the collection.

``fetch`` solves (or takes what a lock names) and fills the package cache, ``link`` makes the prefix out of it. Without an account one process
does both; with one the package cache changes hands between them, and each is a process of its own. ``archive`` solves (or takes what a lock
names), for another machine too, and keeps the packages' files as they are.

In: ``{"steps", "account", "prefix", "specs", "locked", "channels", "platform", "cache", "work", "offline", "timeout", "records",
"virtual_packages", "archives"}``.
locked: ``[{"url", "sha256", "md5"}]``, exactly these packages; then specs are empty.
account: ``[uid, gid, group]`` to become (group: a further one), or null. work: a directory for what only this build needs. records: what ``fetch`` gave.
Out: ``{"progress": line}`` …, then ``{"records": [...], "packages": [...]}`` or ``{"error": kind, "message": text}``.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import importlib
import json
import os
import pathlib
import re
import shutil
import sys
import typing as t
import urllib.parse

# asyncio loads it late, when the account may not be able to read it any more.
importlib.import_module("concurrent.futures.thread")

T = t.TypeVar("T")
Emit = t.Callable[[t.Dict[str, t.Any]], None]
AT_ONCE = 8
ATTEMPTS = 3
# What another attempt will not change: wrong contents, what the machine refuses, and what the library has tried again itself.
_FINAL = re.compile(r"hash mismatch|mismatch.*sha256|os error (2|13|28|30|122)\b|\b40[1347]\b|after \d+ retries", re.IGNORECASE)
# The number of a cache entry's revision, in front of its sha256: 8 bytes, big-endian.
_REVISION = (1).to_bytes(8, "big")


class HashMismatch(Exception):
    """A package file that is not the one that the channel's index names."""


class UnsafePackage(Exception):
    """A package that names a place outside of where it is put."""


class NotCached(Exception):
    """A package that would have to be fetched, which must not be."""


class NotFetched(Exception):
    """A package that the library could not fetch, for the reason that it gives."""


class Unreachable(Exception):
    """A directory that the account cannot get into."""


def protocol() -> Emit:
    """A writer to what was standard output; from now on anything else that is printed goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(message: t.Dict[str, t.Any]) -> None:
        # One write a line: the callbacks come from several threads.
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return emit


class Locked:
    """A package that a lock names: with what of a record is needed to fetch it. Both hashes are None where the lock has none."""

    def __init__(self, row: t.Dict[str, str]) -> None:
        self.url = row["url"]
        self.sha256 = bytes.fromhex(row["sha256"]) or None
        self.md5 = bytes.fromhex(row["md5"]) or None
        _directory, self.file = urllib.parse.unquote(urllib.parse.urlsplit(self.url).path).rsplit("/", 1)
        self.stem = re.sub(r"(\.conda|\.tar\.bz2)$", "", self.file)
        self.channel, self.subdir, _file = self.url.rsplit("/", 2)


class Counter:
    """The part of rattler's reporter that we listen to: what is linked."""

    def __init__(self, emit: Emit, total: int) -> None:
        self.emit = emit
        self.total = total
        self.linked = 0

    def on_link_complete(self, index: int) -> None:
        self.linked += 1
        self.emit({"progress": f"link {self.linked}/{self.total}"})


def make_reporter(library: t.Any, emit: Emit, total: int) -> t.Any:
    """A counter with the methods that the library wants beside ours."""
    return type("Reporter", (Counter, library.InstallerReporter), {})(emit, total)


def become(account: t.Optional[t.Sequence[int]]) -> None:
    """Give up root for good: called before anything that comes from elsewhere is read.

    Only now, and not when the process is started: interpreter and library may lie where the account cannot read them.
    """
    if account is not None:
        uid, gid, group = account
        os.setgroups([group])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def as_package(record: t.Any) -> t.Dict[str, str]:
    """Everything as text: the library's own types are not all strings."""
    return {"name": record.name.normalized, **{key: str(getattr(record, key)) for key in ("version", "build", "channel")}}


def entry_name(record: t.Any) -> str:
    """The name of the package's directory in the cache, as the library itself would choose it. Raises UnsafePackage."""
    if isinstance(record, Locked):
        return record.stem
    name = "{name}-{version}-{build}".format_map(as_package(record))
    if "/" in name or "\0" in name or name.startswith("."):
        raise UnsafePackage(f"The channel {record.channel} has a package of the name {name!r}")
    return name


def is_cached(entry: str, record: t.Any) -> bool:
    """Whether the cache's entry is this very package, by its sha256 or, where only that is known, its md5. Without a hash nothing is."""
    sha256, md5 = digests_of(entry)
    same = sha256 == bytes(record.sha256) if record.sha256 is not None else record.md5 is not None and md5 == bytes(record.md5)
    return same and is_whole(entry)


def is_whole(entry: str) -> bool:
    """Whether what the package says of itself can be read, and each file that it lists has its size: a crash may have cut some short."""
    info = os.path.join(entry, "info")
    try:
        texts = {name: pathlib.Path(info, name).read_bytes() for name in os.listdir(info) if name.endswith(".json")}
        told = {name: json.loads(text) for name, text in texts.items()}
        for row in told["paths.json"]["paths"] if "paths.json" in told else ():
            size = os.lstat(os.path.join(entry, row["_path"])).st_size
            if row.get("path_type") == "hardlink" and row.get("size_in_bytes") not in (None, size):
                return False
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    return "index.json" in told


def digests_of(entry: str) -> t.Tuple[bytes, bytes]:
    """(sha256, md5) of the file that the entry came from, empty where unknown.

    The library keeps the former beside the entry. The latter is our own, and counts only for the entry that has that sha256.
    """
    found = []
    for suffix in ("lock", "md5"):
        try:
            with open(f"{entry}.{suffix}", "rb") as handle:
                found.append(handle.read())
        except OSError:
            found.append(b"")
    sha256 = found[0][len(_REVISION) :]
    return sha256, found[1][:16] if sha256 and found[1][16:] == sha256 else b""


def check_local_file(path: str, record: t.Any) -> None:
    """Hash a package that lies in a directory before anything reads it: rattler checks what it downloads, but not ``file://``."""
    digests = {"sha256": hashlib.sha256(), "md5": hashlib.new("md5", usedforsecurity=False)}
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            for digest in digests.values():
                digest.update(block)
    compare(path, record, tuple(digest.digest() for digest in digests.values()))


def compare(place: str, record: t.Any, digests: t.Sequence[bytes]) -> None:
    """digests: sha256 and md5 of the file. Raises HashMismatch for one that the record names and that differs."""
    for name, found in zip(("sha256", "md5"), digests):
        wanted = getattr(record, name)
        if wanted is not None and bytes(found) != bytes(wanted):
            says = "the lock" if isinstance(record, Locked) else "its channel"
            raise HashMismatch(f"{place} has the {name} {bytes(found).hex()}, but {says} says {bytes(wanted).hex()}")


async def unpack(library: t.Any, client: t.Any, record: t.Any, place: str) -> t.Tuple[bytes, bytes]:
    """Put the package's contents into ``place``, which does not exist. Returns its file's sha256 and md5.

    Raises HashMismatch, or what the library raises.
    """
    url = str(record.url)
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        path = urllib.parse.unquote(parts.path)
        check_local_file(path, record)
        extract = library.package_streaming.extract
        digests = await asyncio.get_running_loop().run_in_executor(None, extract, pathlib.Path(path), pathlib.Path(place))
    else:
        expected = bytes(record.sha256) if record.sha256 is not None else None
        digests = await library.package_streaming.download_and_extract(client, url, pathlib.Path(place), expected)
    compare(url, record, digests)
    return bytes(digests[0]), bytes(digests[1])


async def insist(url: str, step: t.Callable[[int], t.Awaitable[T]]) -> T:
    """What the step gives, which gets the number of the attempt: a stream that breaks is begun anew.

    Raises NotFetched, or what another attempt will not change.
    """
    attempt = 1
    while True:
        try:
            return await step(attempt)
        except Exception as error:
            if isinstance(error, HashMismatch) or getattr(error, "errno", None) is not None:
                raise
            if attempt == ATTEMPTS or _FINAL.search(str(error)):
                # The library does not always say what it was that failed.
                raise NotFetched(f"{url}: {error}") from None
        attempt += 1
        await asyncio.sleep(1)


async def add(library: t.Any, client: t.Any, record: t.Any, entry: str) -> None:
    """Make the cache's entry, complete or not at all."""
    directory, name = os.path.split(entry)

    async def fetched(attempt: int) -> t.Tuple[str, t.Tuple[bytes, bytes]]:
        place = os.path.join(directory, f".{name}.{os.getpid()}.{attempt}")
        return place, await unpack(library, client, record, place)

    place, digests = await insist(str(record.url), fetched)
    for suffix in ("lock", "md5"):
        if os.path.lexists(f"{entry}.{suffix}"):
            os.unlink(f"{entry}.{suffix}")
    if os.path.lexists(entry):
        # Not ours to remove where it is root's; whoever takes the cache back does.
        os.rename(entry, os.path.join(directory, f".{name}.{os.getpid()}.old"))
    os.rename(place, entry)
    with open(f"{entry}.md5", "xb") as handle:
        handle.write(digests[1] + digests[0])
    with open(f"{entry}.lock", "xb") as handle:
        handle.write(_REVISION + digests[0])


def refuse_offline(request: t.Dict[str, t.Any], missing: t.Sequence[t.Tuple[t.Any, str]]) -> None:
    """Raises NotCached for one that would have to be fetched, which must not be. missing: each with the place where it should be."""
    for record, place in missing:
        if request["offline"] and not str(record.url).startswith("file:"):
            has = f"what is in {place} is damaged" if os.path.lexists(place) else f"the package cache has no {entry_name(record)}"
            raise NotCached(f"offline is set, and {has}")


async def populate(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], records: t.Sequence[t.Any], emit: Emit) -> None:
    """Fetch what the package cache has not got. Raises NotCached where that is not allowed."""
    packages = os.path.join(request["cache"], "pkgs")
    os.makedirs(packages, exist_ok=True)
    missing = [(record, os.path.join(packages, entry_name(record))) for record in records]
    missing = [(record, entry) for record, entry in missing if not is_cached(entry, record)]
    refuse_offline(request, missing)
    gate = asyncio.Semaphore(AT_ONCE)
    done = 0

    async def one(record: t.Any, entry: str) -> None:
        nonlocal done
        async with gate:
            await add(library, client, record, entry)
            done += 1
            emit({"progress": f"download {done}/{len(missing)}"})

    await asyncio.gather(*(one(record, entry) for record, entry in missing))
    for record in records:
        # From here on each has the hash by which the cache knows it.
        if record.sha256 is None:
            record.sha256 = digests_of(os.path.join(packages, entry_name(record)))[0]


def virtual_packages(library: t.Any, request: t.Dict[str, t.Any]) -> t.List[t.Any]:
    """What the machine is taken for: what was given, else this one."""
    if not request["virtual_packages"]:
        return list(library.VirtualPackage.detect())
    # The last version for Python 3.9 takes a text.
    build = getattr(library, "BuildString", str)("0")
    return [library.GenericVirtualPackage(library.PackageName(name), library.Version(version), build) for name, version in request["virtual_packages"]]


def archive_of(request: t.Dict[str, t.Any], record: t.Any) -> str:
    """Where the package's file is kept as it is. Raises UnsafePackage."""
    entry_name(record)
    name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(str(record.url)).path))
    return os.path.join(request["archives"], os.path.basename(str(record.subdir)), name)


async def save(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], records: t.Sequence[t.Any], emit: Emit) -> None:
    """Put the packages' files as they are into ``archives/<subdir>/``, but for those that are there."""
    places = [(record, archive_of(request, record)) for record in records]
    missing = [(record, place) for record, place in places if not is_file_of(place, record)]
    refuse_offline(request, missing)
    gate = asyncio.Semaphore(AT_ONCE)
    done = len(records) - len(missing)

    async def one(record: t.Any, place: str) -> None:
        nonlocal done
        os.makedirs(os.path.dirname(place), exist_ok=True)
        async with gate:
            await insist(str(record.url), lambda attempt: copy(library, client, record, f"{place}.{os.getpid()}.part"))
            os.replace(f"{place}.{os.getpid()}.part", place)
            done += 1
            emit({"progress": f"download {done}/{len(records)}"})

    await asyncio.gather(*(one(record, place) for record, place in missing))


async def copy(library: t.Any, client: t.Any, record: t.Any, place: str) -> None:
    """The package's file as it is. Raises HashMismatch, or what the library raises."""
    if os.path.lexists(place):
        os.unlink(place)
    parts = urllib.parse.urlsplit(str(record.url))
    if parts.scheme == "file":
        shutil.copyfile(urllib.parse.unquote(parts.path), place)
    else:
        await library.package_streaming.download_to_path(client, str(record.url), place)
    check_local_file(place, record)


def is_file_of(path: str, record: t.Any) -> bool:
    """Whether the file is there and is the package's, which without a hash nobody can tell."""
    if record.sha256 is None and record.md5 is None:
        return False
    try:
        check_local_file(path, record)
    except (OSError, HashMismatch):
        return False
    return True


async def solve(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], emit: Emit) -> t.List[t.Any]:
    """The records of the packages that fit."""
    source = library.SourceConfig(cache_action="force-cache-only" if request["offline"] else "cache-or-fetch")
    gateway = library.Gateway(cache_dir=os.path.join(request["cache"], "repodata"), default_config=source, client=client)
    specs = [library.MatchSpec(spec, strict=False) for spec in request["specs"]]
    emit({"progress": f"solve {len(specs)} specs over {len(request['channels'])} channels"})
    return await library.solve(  # type: ignore[no-any-return]
        sources=[library.Channel(channel) for channel in request["channels"]],
        specs=specs,
        gateway=gateway,
        platforms=[request["platform"], "noarch"],
        virtual_packages=virtual_packages(library, request),
        timeout=datetime.timedelta(seconds=request["timeout"]),
    )


async def fetch(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], emit: Emit) -> t.List[t.Any]:
    """Solve, and fill the package cache. Returns the records."""
    records = await solve(library, client, request, emit)
    await populate(library, client, request, records, emit)
    return records


async def fetch_locked(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], emit: Emit) -> t.List[t.Any]:
    """Fill the package cache with what the lock names. Returns the records, made from what the packages say of themselves."""
    packages = [Locked(row) for row in request["locked"]]
    emit({"progress": f"take {len(packages)} packages from the lock"})
    await populate(library, client, request, packages, emit)
    return [record_of(library, os.path.join(request["cache"], "pkgs", each.stem), each) for each in packages]


def record_of(library: t.Any, entry: str, package: Locked) -> t.Any:
    """Raises UnsafePackage for one that is another package than its file's name says: the cache would take it for that one."""
    index = pathlib.Path(entry, "info", "index.json")
    sha256, md5 = digests_of(entry)
    inner = library.PackageRecord.from_index_json(index, None, sha256.hex(), md5.hex() or None)
    record = library.RepoDataRecord(inner, package.file, package.url, package.channel)
    if entry_name(record) != package.stem:
        raise UnsafePackage(f"{package.url} holds the package {entry_name(record)}")
    return record


def check_paths(entry: str, name: str) -> None:
    """Raises UnsafePackage for a package that lists files outside of the prefix: the library would write them there."""
    listed = os.path.join(entry, "info", "paths.json")
    if os.path.isfile(listed):
        with open(listed, encoding="utf-8") as handle:
            paths = [str(each["_path"]) for each in json.load(handle)["paths"]]
    else:
        with open(os.path.join(entry, "info", "files"), encoding="utf-8") as handle:
            paths = handle.read().splitlines()
    for path in paths:
        if path.startswith("/") or ".." in path.split("/"):
            raise UnsafePackage(f"The package {name} lists the file {path!r}, which leads out of the environment")


def view_of(cache: str, work: str, records: t.Sequence[t.Any]) -> str:
    """A package cache of this build's own, for the library writes into each that it reads: links to entries of the one that is root's."""
    view = os.path.join(work, "pkgs")
    os.mkdir(view)
    for record in records:
        name = entry_name(record)
        os.symlink(os.path.join(cache, "pkgs", name), os.path.join(view, name))
        with open(os.path.join(view, f"{name}.lock"), "xb") as handle:
            handle.write(_REVISION + bytes(record.sha256 or b""))
    return view


async def link(library: t.Any, client: t.Any, request: t.Dict[str, t.Any], records: t.Sequence[t.Any], emit: Emit) -> None:
    """Make the prefix out of the package cache."""
    packages = os.path.join(request["cache"], "pkgs")
    for record in records:
        check_paths(os.path.join(packages, entry_name(record)), entry_name(record))
    await library.install(
        records,
        target_prefix=request["prefix"],
        cache_dir=packages if request["account"] is None else view_of(request["cache"], request["work"], records),
        client=client,
        requested_specs=[library.MatchSpec(spec, strict=False)._match_spec for spec in request["specs"]],
        # Link scripts are code from the channel: the caller runs them, as the build user.
        execute_link_scripts=False,
        show_progress=False,
        reporter=make_reporter(library, emit, len(records)),
    )


def dump(library: t.Any, records: t.Sequence[t.Any], work: str) -> t.List[str]:
    """The records as JSON text, by way of a file, which is the only way that the library has."""
    texts = []
    for number, record in enumerate(records):
        path = pathlib.Path(work, f"record-{number}.json")
        library.PrefixRecord(record, library.PrefixPaths()).write_to_path(path, False)
        texts.append(path.read_text(encoding="utf-8"))
    return texts


def load(library: t.Any, texts: t.Sequence[str], work: str) -> t.List[t.Any]:
    """What ``dump`` gave, as records again."""
    records = []
    for number, text in enumerate(texts):
        path = pathlib.Path(work, f"record-{number}.json")
        path.write_text(text, encoding="utf-8")
        records.append(library.PrefixRecord.from_path(path))
    return records


def check_reach(request: t.Dict[str, t.Any]) -> None:
    """Raises Unreachable for a directory that is closed to the account, which would show as a failure of something else."""
    for path in (request["prefix"], request["cache"], request["work"]):
        if not os.access(path, os.X_OK):
            raise Unreachable(f"The account with the uid {os.geteuid()} cannot get into {path}")


def make_client(library: t.Any) -> t.Any:
    """One that believes the system's certificates, so that a company's own authority is believed here as everywhere on the host."""
    # The last version for Python 3.9 has only its own.
    if not hasattr(library.Client, "from_config"):
        return library.Client.default_client()
    return library.Client.from_config(library.Config.from_toml('tls-root-certs = "system"'))


async def work(library: t.Any, request: t.Dict[str, t.Any], emit: Emit) -> t.Dict[str, t.Any]:
    """Do the steps. Returns the last message."""
    client = make_client(library)
    records = load(library, request["records"], request["work"])
    if "archive" in request["steps"]:
        locked = [Locked(row) for row in request["locked"]]
        records = [] if locked else await solve(library, client, request, emit)
        await save(library, client, request, locked or records, emit)
    if "fetch" in request["steps"]:
        records = await (fetch_locked if request["locked"] else fetch)(library, client, request, emit)
    if "link" in request["steps"]:
        await link(library, client, request, records, emit)
    return {
        "records": dump(library, records, request["work"]) if request["account"] is not None or "archive" in request["steps"] else [],
        "packages": sorted((as_package(record) for record in records), key=lambda each: each["name"]),
    }


def main() -> None:
    emit = protocol()
    status = 1
    try:
        os.umask(0o022)
        library: t.Any = importlib.import_module("rattler")
        importlib.import_module("rattler.package_streaming")
        request = json.loads(sys.stdin.readline())
        become(request["account"])
        check_reach(request)
        emit(asyncio.run(work(library, request, emit)))
        status = 0
    except BaseException as error:
        emit({"error": type(error).__name__, "message": str(error)})
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
