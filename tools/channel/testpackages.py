# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tiny real packages for tests: one for each thing that an installer can get wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .package import Package, Written, write
from .relocate import PLACEHOLDER

# The magic number makes it no text; the padding is what installers shorten the prefix into.
BINARY = b"\x00\x01EWBIN\x00" + f"{PLACEHOLDER}/share/ew".encode() + b"\x00" * 16 + b"END\x00"


def _library(version: str) -> Callable[[Path], None]:
    def fill(tree: Path) -> None:
        _text(tree / "share" / "ew-lib" / "version", f"{version}\n")

    return fill


def _tool(tree: Path) -> None:
    packages = tree / "site-packages"
    _text(
        packages / "ew_tool.py",
        'import pathlib\nimport sys\n\n\ndef main():\n    print("ew-lib", (pathlib.Path(sys.prefix) / "share" / "ew-lib" / "version").read_text().strip())\n',
    )
    info = packages / "ew_tool-1.0.dist-info"
    _text(info / "METADATA", "Metadata-Version: 2.1\nName: ew-tool\nVersion: 1.0\n")
    _text(info / "INSTALLER", "conda\n")
    _text(info / "RECORD", f"ew_tool.py,,\n{info.name}/METADATA,,\n{info.name}/INSTALLER,,\n{info.name}/RECORD,,\n")


def _prefix_text(tree: Path) -> None:
    _text(tree / "etc" / "ew-prefix.conf", f"prefix = {PLACEHOLDER}\ndata = {PLACEHOLDER}/share/ew\n")
    _text(tree / "bin" / "ew-prefix", f"#!/bin/sh\ncat '{PLACEHOLDER}/etc/ew-prefix.conf'\n", 0o755)


def _prefix_binary(tree: Path) -> None:
    target = tree / "lib" / "ew-prefix.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(BINARY)


def _post_link(tree: Path) -> None:
    _text(tree / "share" / "ew-post-link" / "readme", "The post-link script writes etc/ew-post-link.\n")
    script = '#!/bin/sh\nmkdir -p "$PREFIX/etc"\nid -un > "$PREFIX/etc/ew-post-link"\n'
    _text(tree / "bin" / ".ew-post-link-post-link.sh", script, 0o755)


def _empty(tree: Path) -> None:
    _text(tree / "share" / "ew-unsatisfiable", "Nothing can install this.\n")


def _text(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def catalogue(subdir: str) -> list[tuple[Package, Callable[[Path], None], dict[str, str]]]:
    """Every test package: what it says, what fills it, and which of its files hold the placeholder and how."""
    text, binary = {"etc/ew-prefix.conf": "text", "bin/ew-prefix": "text"}, {"lib/ew-prefix.bin": "binary"}
    tool = Package("ew-tool", "1.0", "noarch", "python", ("ew-lib >=1.0", "python"), entry_points=("ew-tool = ew_tool:main",))
    return [
        (Package("ew-lib", "1.0", "noarch", "generic"), _library("1.0"), {}),
        (Package("ew-lib", "1.1", "noarch", "generic"), _library("1.1"), {}),
        (tool, _tool, {}),
        (Package("ew-prefix-text", "1.0", subdir), _prefix_text, text),
        (Package("ew-prefix-binary", "1.0", subdir), _prefix_binary, binary),
        (Package("ew-post-link", "1.0", subdir), _post_link, {}),
        (Package("ew-unsatisfiable", "1.0", "noarch", "generic", ("ew-lib >=9",)), _empty, {}),
    ]


def pack_all(subdir: str, channel: Path, work: Path) -> list[Written]:
    """Write every test package."""
    written = []
    for package, fill, placeholders in catalogue(subdir):
        tree = work / f"{package.name}-{package.version}"
        fill(tree)
        written.append(write(package, tree, channel, placeholders))
    return written
