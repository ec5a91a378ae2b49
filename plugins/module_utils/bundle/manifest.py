# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The bundle's own table of contents: what is in it, for whom, and its id. Pure functions. Needs nothing of Ansible."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import typing as t

from ..errors import WorkerError

NAME = "manifest.json"
FORMAT = 1
# What `uname -m` says on a platform.
MACHINES = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}
CHANNEL, WHEELS, TOOLCHAIN = "channel", "wheels", "toolchain"
_PATH = re.compile(rf"(?:{CHANNEL}/(?:noarch|linux-64|linux-aarch64)|{WHEELS}|{TOOLCHAIN})/[A-Za-z0-9_][A-Za-z0-9_.+!-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Bundle:
    """id: 16 hexadecimal digits over the manifest, and so over every file. files: (sha256, size) by path in the archive.

    python_version: of the environment, as it was asked for. host_pythons: the versions (``3.11``) that its toolchain is for. glibc: the
    oldest C library (``2.28``) that its packages run with. made_from: what decided the contents.
    """

    id: str
    platform: str
    glibc: str
    python_version: str
    host_pythons: tuple[str, ...]
    files: dict[str, tuple[str, int]]
    made_from: dict[str, t.Any]

    @property
    def machine(self) -> str:
        return MACHINES[self.platform]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _digest, size in self.files.values())


def render(
    platform: str, glibc: str, python_version: str, host_pythons: t.Sequence[str], files: t.Mapping[str, tuple[str, int]], made_from: t.Mapping[str, t.Any]
) -> str:
    """The manifest's text: the same contents, the same text."""
    data = {
        "format": FORMAT,
        "platform": platform,
        "glibc": glibc,
        "python_version": python_version,
        "host_pythons": list(host_pythons),
        "files": {path: {"sha256": digest, "size": size} for path, (digest, size) in files.items()},
        "made_from": dict(made_from),
    }
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=True) + "\n"


def parse(text: bytes, where: str) -> Bundle:
    """The bundle that the manifest describes. where: the archive, for the error. Raises WorkerError ``bad_bundle``."""
    try:
        data = json.loads(text)
        form = data["format"]
        if form == FORMAT:
            return _bundle(data, hashlib.sha256(text).hexdigest()[:16])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise damaged(where, f"its {NAME} is none") from None
    raise WorkerError(
        "bad_bundle",
        f"{where} has the format {form!r}; this version of the collection reads format {FORMAT}.",
        "Use the version of the collection that made it, or make the bundle again: ansible-playbook ew_ai.worker.bundle",
    )


def _bundle(data: t.Mapping[str, t.Any], identifier: str) -> Bundle:
    files = {str(path): (str(each["sha256"]), int(each["size"])) for path, each in data["files"].items()}
    for path, (digest, size) in files.items():
        if not _PATH.fullmatch(path) or not _SHA256.fullmatch(digest) or size < 0:
            raise ValueError(path)
    if data["platform"] not in MACHINES or not re.fullmatch(r"\d+\.\d+", data["glibc"]):
        raise ValueError(data["platform"])
    return Bundle(
        identifier,
        data["platform"],
        data["glibc"],
        str(data["python_version"]),
        tuple(str(each) for each in data["host_pythons"]),
        files,
        dict(data["made_from"]),
    )


def damaged(where: str, why: str) -> WorkerError:
    """The error for an archive that is not, or no longer, what was made."""
    return WorkerError(
        "bad_bundle",
        f"The bundle {where} cannot be used: {why}.",
        f"Copy it anew and compare (sha256sum {where}), or make it again: ansible-playbook ew_ai.worker.bundle",
    )
