# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Orders the death of a module at a boundary, and compares what stands on disk with what an undisturbed run leaves."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import tempfile
import typing as t

from ansible_collections.ew_ai.worker.plugins.module_utils.boundaries import VARIABLE
from tests.integration.module_driver import collections_path

Tree = dict[str, tuple[t.Any, ...]]
# Values by the keys of JSON files under which each run writes other ones: times, pids, the id of the run, random bytes.
OF_THE_RUN = ("at", "created", "created_at", "activated_at", "expires_at", "pid", "run", "start_ticks", "secrets_digest", "EW_EFFECTIVE", "starts")
# Held by whoever works, logs of what happened, and random bytes: nothing that a run converges.
NOT_CONVERGED = re.compile(r"(^|/)(locks|logs|jobs|cache)(/|$)|/deploy\.log$|/supervisord/[^/]+\.(log|pid|sock|lock)$|/salt$|/data/.*/(state|cache)/")


class Fault:
    """One order, in a file that the hook accepts (see plugins/module_utils/boundaries.py)."""

    def __init__(self, boundary: str, directory: pathlib.Path) -> None:
        self.path = directory / f"fault-{hashlib.sha256(boundary.encode()).hexdigest()[:8]}"
        self.environ = {VARIABLE: str(self.path)}
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, boundary.encode())
        os.close(descriptor)

    @property
    def reached(self) -> bool:
        """Whether a process has been killed for it."""
        return not self.path.exists()


def run_and_die(name: str, args: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> t.Optional[dict[str, t.Any]]:
    """The module's result as ``module_driver.run_module`` gives it; None where it was killed."""
    module = collections_path() / "ansible_collections/ew_ai/worker/plugins/modules" / f"{name}.py"
    arguments = {**args, "_ansible_remote_tmp": tempfile.gettempdir()}
    done = subprocess.run(
        [sys.executable, str(module)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(collections_path()), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        assert done.stdout == ""
        return None
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


def tree(root: pathlib.Path) -> Tree:
    """Kind, mode, owner and content of everything below the root that a run converges, without what each run writes anew.

    Times and pids in JSON files are left out (OF_THE_RUN), and so is the time of the source in compiled Python; numbers of builds and
    generations are not.
    """
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if NOT_CONVERGED.search(name):
            continue
        status = path.lstat()
        told: tuple[t.Any, ...] = (stat.filemode(status.st_mode), status.st_uid, status.st_gid)
        if stat.S_ISLNK(status.st_mode):
            told += (os.readlink(path),)
        elif stat.S_ISREG(status.st_mode):
            told += (hashlib.sha256(_content(path)).hexdigest(),)
        found[name] = told
    return found


def _content(path: pathlib.Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".pyc":
        return content[:8] + content[12:]
    if path.suffix not in (".json", ".building") and path.name != "ew-worker-record":
        return content
    return json.dumps(_without(json.loads(content)), sort_keys=True).encode()


def _without(data: t.Any) -> t.Any:
    if isinstance(data, dict):
        return {key: _without(value) for key, value in data.items() if key not in OF_THE_RUN}
    return [_without(each) for each in data] if isinstance(data, list) else data


def differing(one: Tree, other: Tree) -> list[str]:
    """The paths in which two trees differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
