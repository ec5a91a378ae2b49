# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at other users' processes where root may not, as in a container: as they themselves, and in one thread alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tools.checkout import COLLECTIONS

CHILD = "import os, socket, time; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(600)"
# Without CAP_SYS_PTRACE: one thread looks again and again who listens, another one sees as whom it reaches for files meanwhile
# (effective and file system's user id).
LOOK = """
import json, os, sys, threading
from ansible_collections.ew_ai.worker.plugins.module_utils import processes, sockets

pid, port = int(sys.argv[1]), int(sys.argv[2])
ended = threading.Event()
others = set()

def watch():
    while not ended.is_set():
        with open(f"/proc/self/task/{threading.get_native_id()}/status") as handle:
            rows = dict(line.split(":", 1) for line in handle)
        others.add((rows["Uid"].split()[1], rows["Uid"].split()[3]))

watcher = threading.Thread(target=watch)
watcher.start()
try:
    os.readlink(f"/proc/{pid}/fd/0")
    refused = False
except PermissionError:
    refused = True
found = [sockets.listeners([port]) for _ in range(20)]
ended.set()
watcher.join()
print(json.dumps({
    "refused": refused,
    "holders": sorted({row.pid for rows in found for row in rows}, key=str),
    "mark": (processes.environ(pid) or {}).get("MARK"),
    "others": sorted(others),
    "euid": os.geteuid(),
}))
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="dropping a right of root needs root and setpriv")
def test_root_without_the_right_to_trace_sees_who_listens_and_no_other_thread_changes_its_user() -> None:
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    child = subprocess.Popen(
        [*as_nobody, shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable, "-c", CHILD],
        env={"MARK": "here"},
        cwd="/",
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        port = child.stdout.readline().strip()
        done = subprocess.run(
            ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", sys.executable, "-c", LOOK, str(child.pid), port],
            env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
            text=True,
            capture_output=True,
            check=True,
        )
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    assert json.loads(done.stdout) == {"refused": True, "holders": [child.pid], "mark": "here", "others": [["0", "0"]], "euid": 0}
