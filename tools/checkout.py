# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are in a checkout, and the link by which Ansible and Python find the collection in it."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import typing as t

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
CACHE = CHECKOUT / ".cache"
COLLECTIONS = CACHE / "collections"
COLLECTION = COLLECTIONS / "ansible_collections" / "ew_ai" / "worker"


def link_collection() -> pathlib.Path:
    """Make ``.cache/collections/ansible_collections/ew_ai/worker`` lead to the checkout; safe in several processes at once."""
    COLLECTION.parent.mkdir(parents=True, exist_ok=True)
    if COLLECTION.is_symlink() and not COLLECTION.exists():
        COLLECTION.unlink(missing_ok=True)
    with contextlib.suppress(FileExistsError):
        COLLECTION.symlink_to(os.path.relpath(CHECKOUT, COLLECTION.parent), target_is_directory=True)
    # This process may have looked there before and remember that there was no such directory.
    importlib.invalidate_caches()
    return COLLECTION


def unmeasured(environ: t.Mapping[str, str]) -> dict[str, str]:
    """An environment without coverage's variables: measuring a tool's own children costs time and tells nothing."""
    return {name: value for name, value in environ.items() if not name.startswith(("COVERAGE_", "COV_CORE_"))}


def environment(overrides: t.Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for Ansible's tools run from the checkout, whatever directory they are started in."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        **(overrides or {}),
    }
