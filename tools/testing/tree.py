# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A copy of the project at a path that ends in ``ansible_collections/ew_ai/worker``.

Several tools insist on such a path, follow no link to it, and look at every file they find. The copy has only what git
tracks or would track, so nothing that lies about in a checkout changes their verdict.
"""

from __future__ import annotations

import fcntl
import filecmp
import pathlib
import shutil
import subprocess

from tools.checkout import CACHE, CHECKOUT

COPY = CACHE / "tree" / "ansible_collections" / "ew_ai" / "worker"


def project_files() -> list[pathlib.PurePosixPath]:
    """Every file of the project, relative to the checkout: tracked ones, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    names = sorted(set(filter(None, listing.split("\0"))))
    return [pathlib.PurePosixPath(name) for name in names if (CHECKOUT / name).is_symlink() or (CHECKOUT / name).is_file()]


def copy_tree(target: pathlib.Path = COPY) -> pathlib.Path:
    """Bring the copy up to date and return it. Files that are equal keep their times; safe in several processes at once."""
    target.mkdir(parents=True, exist_ok=True)
    with open(target.parent / f".{target.name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = project_files()
        _remove_others(target, {str(name) for name in wanted})
        for name in wanted:
            _copy(CHECKOUT / name, target / name)
        _index(target)
    return target


def _index(target: pathlib.Path) -> None:
    """Make the copy a repository of its own: tools that ask git would find the checkout's, which ignores the copy."""
    for command in (["init", "--quiet"], ["add", "--all", "--force", "."]):
        subprocess.run(["git", *command], cwd=target, check=True, stdin=subprocess.DEVNULL)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    if not target.is_symlink() and target.is_file() and not source.is_symlink() and filecmp.cmp(source, target, shallow=False):
        shutil.copymode(source, target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


def _remove_others(root: pathlib.Path, wanted: set[str]) -> None:
    """Remove what is no longer in the project, but not what the tools keep for themselves between runs."""
    for path in sorted(root.rglob("*"), reverse=True):
        name = path.relative_to(root).as_posix()
        if name.startswith((".git/", ".ansible/", "tests/output/")) or name in wanted:
            continue
        if path.is_symlink() or not path.is_dir():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
