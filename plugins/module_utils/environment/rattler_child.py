# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The program that the rattler backend runs: one JSON line in, JSON lines out, and out by ``os._exit``.

py-rattler may crash while an interpreter that used it shuts down, after all its work is done: so it gets a process of
its own, which never shuts down. The file's text is handed to ``python -c``, hence it imports nothing of the collection.

In: ``{"prefix", "specs", "explicit", "channels", "platform", "cache", "offline", "timeout"}``.
Out: ``{"progress": line}`` …, then ``{"packages": [...]}`` or ``{"error": kind, "message": text}``.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import importlib
import json
import os
import sys
import typing as t
import urllib.parse

Emit = t.Callable[[t.Dict[str, t.Any]], None]


class HashMismatch(Exception):
    """A package file that is not the one that the channel's index names."""


def protocol() -> Emit:
    """A writer to what was standard output; from now on anything else that is printed goes to standard error."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(message: t.Dict[str, t.Any]) -> None:
        # One write a line: the callbacks come from several threads.
        stream.write(json.dumps(message) + "\n")
        stream.flush()

    return emit


class Counter:
    """The part of rattler's reporter that we listen to: what is fetched and linked."""

    def __init__(self, emit: Emit, total: int) -> None:
        self.emit = emit
        self.total = total
        self.fetched = 0
        self.linked = 0

    def on_populate_cache_complete(self, cache_entry: int) -> None:
        self.fetched += 1
        self.emit({"progress": f"download {self.fetched}/{self.total}"})

    def on_link_complete(self, index: int) -> None:
        self.linked += 1
        self.emit({"progress": f"link {self.linked}/{self.total}"})


def make_reporter(library: t.Any, emit: Emit, total: int) -> t.Any:
    """A counter with the methods that the library wants beside ours."""
    return type("Reporter", (Counter, library.InstallerReporter), {})(emit, total)


def as_package(record: t.Any) -> t.Dict[str, str]:
    """Everything as text: the library's own types are not all strings."""
    return {"name": record.name.normalized, **{key: str(getattr(record, key)) for key in ("version", "build", "channel")}}


def check_local_files(records: t.Sequence[t.Any]) -> None:
    """Hash packages that lie in a directory: rattler checks what it downloads, but not ``file://``. Raises HashMismatch."""
    for record in records:
        parts = urllib.parse.urlsplit(str(record.url))
        if parts.scheme != "file" or record.sha256 is None:
            continue
        path = urllib.parse.unquote(parts.path)
        digest = hashlib.sha256()
        with open(path, "rb") as handle:
            for block in iter(lambda: handle.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != bytes(record.sha256).hex():
            raise HashMismatch(f"{path} has the sha256 {digest.hexdigest()}, but its channel says {bytes(record.sha256).hex()}")


async def create(request: t.Dict[str, t.Any], emit: Emit) -> t.List[t.Dict[str, str]]:
    """Solve, check, install. Returns the packages."""
    rattler: t.Any = importlib.import_module("rattler")
    # The system's certificates, so that a company's own authority is believed here as everywhere on the host.
    client = rattler.Client.from_config(rattler.Config.from_toml('tls-root-certs = "system"'))
    source = rattler.SourceConfig(cache_action="force-cache-only" if request["offline"] else "cache-or-fetch")
    gateway = rattler.Gateway(cache_dir=os.path.join(request["cache"], "repodata"), default_config=source, client=client)
    specs = [rattler.MatchSpec(spec, strict=False) for spec in request["specs"]]
    emit({"progress": f"solve {len(specs)} specs over {len(request['channels'])} channels"})
    records = await rattler.solve(
        sources=[rattler.Channel(channel) for channel in request["channels"]],
        specs=specs,
        gateway=gateway,
        platforms=[request["platform"], "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(),
        timeout=datetime.timedelta(seconds=request["timeout"]),
    )
    emit({"progress": f"verify {len(records)} packages"})
    check_local_files(records)
    await rattler.install(
        records,
        target_prefix=request["prefix"],
        cache_dir=os.path.join(request["cache"], "pkgs"),
        client=client,
        requested_specs=[spec._match_spec for spec in specs],
        # Link scripts are code from the channel: the caller runs them, as the build user.
        execute_link_scripts=False,
        show_progress=False,
        reporter=make_reporter(rattler, emit, len(records)),
    )
    return sorted((as_package(record) for record in records), key=lambda each: each["name"])


def main() -> None:
    emit = protocol()
    status = 1
    try:
        os.umask(0o022)
        request = json.loads(sys.stdin.readline())
        emit({"packages": asyncio.run(create(request, emit))})
        status = 0
    except BaseException as error:
        emit({"error": type(error).__name__, "message": str(error)})
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
