# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing one ``.conda`` file, the same bytes for the same contents."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .relocate import PLACEHOLDER

# 2020-01-01 00:00:00 UTC. Not 0: tools that compare times with "newer than" stumble over the epoch, zip has none.
FIXED_TIME = 1_577_836_800
ZIP_TIME = (2020, 1, 1, 0, 0, 0)
# An interpreter takes 1.3 s and 22.7 MB at level 6, 2.2 s and 22.3 MB at 9, 4.3 s and 22.1 MB at 12.
LEVEL = 6


@dataclass(frozen=True)
class Package:
    """What a package says about itself."""

    name: str
    version: str
    subdir: str
    """``noarch`` or a platform such as ``linux-64``."""
    noarch: str = ""
    """``python``, ``generic``, or empty for a package of one platform."""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    entry_points: tuple[str, ...] = ()
    """Console scripts of a noarch Python package, ``name = module:function``."""
    license: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Written:
    """A package that lies in the channel."""

    name: str
    version: str
    build: str
    file: str
    """Its path below the channel."""
    size: int
    """Bytes, compressed."""
    sha256: str


def paths_of(tree: Path, placeholders: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of ``info/paths.json`` for every file and link below ``tree``, sorted.

    ``placeholders`` names the files that hold the placeholder: path below ``tree`` to ``text`` or ``binary``.
    """
    entries = []
    for path in sorted(_walk(tree)):
        name = path.relative_to(tree).as_posix()
        content = path.read_bytes()
        entry: dict[str, Any] = {
            "_path": name,
            "path_type": "softlink" if path.is_symlink() else "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        if name in placeholders and not path.is_symlink():
            entry |= {"prefix_placeholder": PLACEHOLDER, "file_mode": placeholders[name]}
        entries.append(entry)
    return entries


def _walk(tree: Path) -> Iterable[Path]:
    for directory, _directories, names in os.walk(tree):
        yield from (Path(directory) / name for name in names)


def index_of(package: Package, build: str) -> dict[str, Any]:
    """The contents of ``info/index.json``."""
    index: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "build": build,
        "build_number": 0,
        "depends": list(package.depends),
        "constrains": list(package.constrains),
        "license": package.license,
        "subdir": package.subdir,
    }
    if package.noarch:
        return index | {"noarch": package.noarch, "arch": None, "platform": None}
    platform, _dash, arch = package.subdir.partition("-")
    return index | {"platform": platform, "arch": {"64": "x86_64"}.get(arch, arch)}


def build_of(package: Package, paths: list[dict[str, Any]], modes: list[int]) -> str:
    """A build string made from the contents: package caches never take one build for another."""
    facts = json.dumps([index_of(package, ""), package.entry_points, paths, modes], sort_keys=True)
    return f"h{hashlib.sha256(facts.encode()).hexdigest()[:12]}_0"


def _info(package: Package, build: str, paths: list[dict[str, Any]]) -> dict[str, bytes]:
    """The files of the package's info part by path."""
    documents: dict[str, Any] = {
        "info/index.json": index_of(package, build),
        "info/paths.json": {"paths": paths, "paths_version": 1},
        "info/about.json": {"summary": package.summary, "license": package.license},
    }
    if package.noarch == "python":
        link = {"type": "python", "entry_points": list(package.entry_points)}
        documents["info/link.json"] = {"noarch": link, "package_metadata_version": 1}
    files = {name: json.dumps(document, indent=2, sort_keys=True).encode() for name, document in documents.items()}
    files["info/files"] = "".join(f"{entry['_path']}\n" for entry in paths).encode()
    return files


def _header(name: str, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode, header.mtime = mode, FIXED_TIME
    return header


def _compressed_tar(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    # Not at the top: a channel that is packed already is found without it.
    import zstandard

    buffer = io.BytesIO()
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    with compressor.stream_writer(buffer, closefd=False) as stream:
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            fill(tar)
    return buffer.getvalue()


def _mode(path: Path) -> int:
    return 0o755 if path.is_symlink() or path.stat().st_mode & 0o100 else 0o644


def write(package: Package, tree: Path, channel: Path, placeholders: Mapping[str, str] | None = None) -> Written:
    """Pack everything below ``tree`` into ``channel``; the file appears under its name only when it is whole."""
    paths = paths_of(tree, placeholders or {})
    build = build_of(package, paths, [_mode(tree / entry["_path"]) for entry in paths])
    stem = f"{package.name}-{package.version}-{build}"

    def add_tree(tar: tarfile.TarFile) -> None:
        for entry in paths:
            path = tree / entry["_path"]
            header = _header(entry["_path"], _mode(path))
            if path.is_symlink():
                header.type, header.linkname = tarfile.SYMTYPE, os.readlink(path)
                tar.addfile(header)
            else:
                header.size = entry["size_in_bytes"]
                with path.open("rb") as file:
                    tar.addfile(header, file)

    def add_info(tar: tarfile.TarFile) -> None:
        for name, content in sorted(_info(package, build, paths).items()):
            header = _header(name, 0o644)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))

    parts = {
        "metadata.json": json.dumps({"conda_pkg_format_version": 2}).encode(),
        f"pkg-{stem}.tar.zst": _compressed_tar(add_tree),
        f"info-{stem}.tar.zst": _compressed_tar(add_info),
    }
    target = channel / package.subdir / f"{stem}.conda"
    _write_zip(target, parts)
    data = target.read_bytes()
    name = target.relative_to(channel).as_posix()
    return Written(package.name, package.version, build, name, len(data), hashlib.sha256(data).hexdigest())


def _write_zip(target: Path, parts: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content)
    unfinished.replace(target)
