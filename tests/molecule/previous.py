# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The version of the collection that users have before they install this one, out of this repository's history."""

from __future__ import annotations

import functools
import io
import pathlib
import shutil
import subprocess
import tarfile

from tools.checkout import CACHE, CHECKOUT

# What landed last before the changes at hand. Move it to the newest commit that users were given whenever a version lands,
# so that the scenario `upgrade` goes from what is out there to what is here.
COMMIT = "40f618a873def6a25ed2cb4e997abd89fe051bd3"
TOOLCHAIN = "roles/worker/files/toolchain.txt"


@functools.cache
def obstacle() -> str:
    """Why that version is not to be had, or an empty text."""
    done = subprocess.run(["git", "cat-file", "-e", f"{COMMIT}^{{commit}}"], cwd=CHECKOUT, capture_output=True, check=False)
    return f"the history here has no commit {COMMIT[:12]}, the previous version: a shallow clone has not (git fetch --unshallow)" if done.returncode else ""


def toolchain() -> str:
    """What that version's toolchain is made of."""
    return subprocess.run(["git", "show", f"{COMMIT}:{TOOLCHAIN}"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def collections() -> pathlib.Path:
    """A directory for ANSIBLE_COLLECTIONS_PATH with that version in it; made anew."""
    root = CACHE / "previous"
    shutil.rmtree(root, ignore_errors=True)
    target = root / "ansible_collections" / "ew_ai" / "worker"
    target.mkdir(parents=True)
    packed = subprocess.run(["git", "archive", "--format=tar", COMMIT], cwd=CHECKOUT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        tar.extractall(target, filter="data")
    return root
