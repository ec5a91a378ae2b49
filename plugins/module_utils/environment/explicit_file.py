# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""``@EXPLICIT`` lists, as ``conda list --explicit --sha256`` writes them, read strictly. Pure functions."""

from __future__ import annotations

import typing as t

from ..errors import WorkerError
from .locked import LockedPackage, hexadecimal, is_for, package_url
from .specs import for_message

MARK = "@EXPLICIT"


def parse_explicit(text: str, path: str, platform: t.Optional[str]) -> tuple[LockedPackage, ...]:
    """The packages in their order. platform: of the host, None where it is not known.

    Raises WorkerError ``broken_file`` or ``wrong_platform`` with path and line.
    """
    begun = False
    found: dict[str, tuple[int, LockedPackage]] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == MARK and not begun:
            begun = True
            continue
        try:
            package = _package(line, begun)
            if package.name in found:
                raise ValueError(f"names {package.name} again, which line {found[package.name][0]} has")
        except ValueError as error:
            raise _broken(path, number, line, str(error)) from None
        if not is_for(package.subdir, platform):
            raise _wrong_platform(path, number, package, platform)
        found[package.name] = (number, package)
    if not found:
        raise WorkerError("broken_file", f"{path} names no package, so the environment would be empty.", "Write it anew: conda list --explicit --sha256")
    return tuple(package for _number, package in found.values())


def _package(line: str, begun: bool) -> LockedPackage:
    """Raises ValueError."""
    if line == MARK:
        raise ValueError("repeats @EXPLICIT")
    if not begun:
        raise ValueError("comes before the line @EXPLICIT, which tells that this is a complete list of packages")
    address, mark, fragment = line.partition("#")
    url = package_url(address)
    if not mark:
        return LockedPackage(url)
    kind, colon, digits = fragment.partition(":")
    if colon and kind != "sha256":
        raise ValueError("has something else than an md5 or sha256:<digits> behind its '#'")
    return LockedPackage(url, sha256=hexadecimal("sha256", digits)) if colon else LockedPackage(url, md5=hexadecimal("md5", fragment))


def _broken(path: str, number: int, line: str, problem: str) -> WorkerError:
    remedy = "Correct that line, or write the list anew: conda list --explicit --sha256"
    return WorkerError("broken_file", f"{path}, line {number}{for_message(line, 120)} {problem}.", remedy, path=path, line=number)


def _wrong_platform(path: str, number: int, package: LockedPackage, platform: t.Optional[str]) -> WorkerError:
    return WorkerError(
        "wrong_platform",
        f"{path}, line {number} ({package.address}) is a package for {package.subdir}, and this host is {platform}.",
        f"Write the list on a machine of the platform {platform}, or give a conda-lock file that covers several platforms.",
        path=path,
        line=number,
    )
