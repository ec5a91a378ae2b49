# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Noarch conda packages made from pure Python wheels."""

from __future__ import annotations

import configparser
import email
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .errors import ChannelError
from .interpreter import Interpreter
from .package import Package, Written, write

# Fixed versions: two machines pack the same.
DOWNLOADS = {"pip": "24.3.1", "setuptools": "80.9.0", "wheel": "0.45.1"}
# The pip that came with an interpreter works offline and on that interpreter; a bundled setuptools is merely old.
BUNDLED_FIRST = ("pip",)
DOWNLOAD_TIMEOUT = 60
"""Seconds."""

_PURE_WHEEL = re.compile(r"^(?P<name>[\w.]+)-(?P<version>[^-]+)-(py2\.)?py3-none-any\.whl$")


@dataclass(frozen=True)
class Wheel:
    """A pure Python wheel on disk."""

    name: str
    version: str
    path: Path
    bundled: bool = False
    """Whether it came with the interpreter instead of from the package index."""


def parse_name(path: Path) -> Wheel | None:
    """Read a wheel's file name; None if it is not a pure Python wheel."""
    match = _PURE_WHEEL.match(path.name)
    return Wheel(match["name"].replace("_", "-").lower(), match["version"], path) if match else None


def newest(wheels: Iterable[Wheel]) -> Wheel | None:
    """The wheel with the highest version, compared number by number."""
    return max(wheels, key=lambda wheel: [int(part) for part in re.findall(r"\d+", wheel.version)], default=None)


def bundled(name: str, pythons: Iterable[Interpreter]) -> Wheel | None:
    """The newest wheel of that name that came with one of the interpreters."""
    files = {path for python in pythons for directory in python.wheel_dirs for path in directory.glob("*.whl")}
    found = (wheel for wheel in map(parse_name, sorted(files)) if wheel and wheel.name == name)
    wheel = newest(found)
    return Wheel(wheel.name, wheel.version, wheel.path, bundled=True) if wheel else None


def download(name: str, directory: Path) -> Wheel:
    """Fetch the fixed version from the package index that pip is configured for. Raises ChannelError with the reason."""
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--retries=1"]
    argv += ["--only-binary=:all:", f"--dest={directory}", f"{name}=={DOWNLOADS[name]}"]
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise ChannelError(f"pip download took more than {DOWNLOAD_TIMEOUT} s") from error
    if done.returncode:
        raise ChannelError((done.stderr.strip().splitlines() or ["pip download failed"])[-1].removeprefix("ERROR: "))
    for path in sorted(directory.glob("*.whl")):
        wheel = parse_name(path)
        if wheel and wheel.name == name:
            return wheel
    raise ChannelError(f"pip download brought no pure wheel of {name}")


def entry_points(text: str) -> tuple[str, ...]:
    """The console scripts in an ``entry_points.txt``, without those for one Python version such as ``pip3.11``."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    if not parser.has_section("console_scripts"):
        return ()
    scripts = sorted(parser.items("console_scripts"))
    return tuple(f"{name} = {target.strip()}" for name, target in scripts if not re.search(r"\d\.\d+$", name))


def python_range(wheel: Wheel, requires: str) -> str:
    """The conda dependency on python for a wheel's ``Requires-Python``."""
    bounds = [bound.strip() for bound in requires.split(",") if bound.strip()] or [">=3"]
    if wheel.name == "setuptools" and wheel.bundled:
        # ensurepip brought setuptools along only before 3.12, and those versions do not work on newer ones.
        bounds.append("<3.12.0a0")
    return f"python {','.join(bounds)}"


def pack(wheel: Wheel, channel: Path, work: Path) -> Written:
    """Write the wheel as a noarch Python package."""
    tree = work / f"{wheel.name}-{wheel.version}"
    packages = tree / "site-packages"
    with zipfile.ZipFile(wheel.path) as archive:
        archive.extractall(packages)
    info = next(packages.glob("*.dist-info"))
    (info / "INSTALLER").write_text("conda\n")
    with (info / "RECORD").open("a", encoding="utf-8") as record:
        record.write(f"{info.name}/INSTALLER,,\n")
    metadata = email.message_from_string((info / "METADATA").read_text(encoding="utf-8"))
    points = info / "entry_points.txt"
    package = Package(
        name=wheel.name,
        version=wheel.version,
        subdir="noarch",
        noarch="python",
        depends=(python_range(wheel, metadata.get("Requires-Python") or ""),),
        entry_points=entry_points(points.read_text(encoding="utf-8")) if points.is_file() else (),
        license="MIT",
        summary=metadata.get("Summary") or "",
    )
    return write(package, tree, channel)


def obtain(name: str, pythons: Iterable[Interpreter], directory: Path) -> Wheel:
    """The wheel from the interpreters or from the package index. Raises ChannelError when neither has it."""
    own = bundled(name, pythons)
    if own and name in BUNDLED_FIRST:
        return own
    try:
        return download(name, directory)
    except ChannelError:
        if own:
            return own
        raise


def pack_all(pythons: list[Interpreter], channel: Path, work: Path) -> tuple[list[Written], dict[str, str]]:
    """Pack pip, setuptools and wheel as far as they can be had: what was written, and what is missing and why."""
    written: list[Written] = []
    missing: dict[str, str] = {}
    for name in DOWNLOADS:
        directory = work / f"download-{name}"
        directory.mkdir()
        try:
            written.append(pack(obtain(name, pythons, directory), channel, work))
        except ChannelError as error:
            missing[name] = str(error)
    return written, missing
