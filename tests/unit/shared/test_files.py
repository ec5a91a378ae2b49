# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks keep others out, also when their file is taken away while others wait for it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pathlib
import threading
import time

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked


def opened(path: pathlib.Path) -> int:
    """How many descriptors of this process lead to the file."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}") == str(path)
    return count


def test_a_held_lock_is_told(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "locks" / "a.lock")
    with locked(path, 0, "a test"):
        with pytest.raises(WorkerError, match=r"a\.lock \(a test\)") as caught, locked(path, 0, "a test"):
            raise AssertionError("both hold it")
    assert caught.value.code == "locked"
    with locked(path, 0, "a test"):
        pass


def test_who_waited_for_a_lock_file_that_was_removed_begins_anew(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    end = threading.Event()

    def wait() -> None:
        with locked(str(path), 60, "a test"):
            # Nobody else may get it: neither by the old file nor by a new one.
            with pytest.raises(WorkerError), locked(str(path), 0, "a test"):
                raise AssertionError("both hold it")
            end.wait(60)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with locked(str(path), 0, "a test"):
            waiting = pool.submit(wait)
            deadline = time.monotonic() + 60
            while opened(path) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            path.unlink()
            path.parent.rmdir()
        end.set()
        waiting.result(60)
    assert path.exists()
