# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A place for the tests of conda_env: a root, wheels, a channel, and the module on top."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from tests.integration.local_packages import local_channel
from tests.integration.module_driver import run_module

Result = dict[str, t.Any]
# Hides what only a toolchain has, and writes down every program that is started; beside that, what is read below WATCHED.
WATCH = """
import importlib.machinery
import os
import sys

find = importlib.machinery.PathFinder.find_spec
hidden = ("rattler", "uv", "grpc")
importlib.machinery.PathFinder.find_spec = lambda name, *more: None if name.split(".")[0] in hidden else find(name, *more)

def hook(event, args):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.system", "socket.connect"):
        with open({log!r}, "a") as log:
            log.write(event + " " + repr(args)[:200] + chr(10))
    elif event in ("open", "os.listdir", "os.scandir") and str(args[0]).startswith(os.environ.get("WATCHED", chr(0))):
        with open({log!r} + ".reads", "a") as log:
            log.write(str(args[0]) + chr(10))

sys.addaudithook(hook)
"""


class Room:
    """A root that any user may read, wheels beside it, and the module on top. One package cache serves all tests."""

    def __init__(self, top: pathlib.Path, cache: pathlib.Path) -> None:
        self.top = top
        self.root = top / "root"
        self.wheels = top / "wheels"
        self.requirements = top / "requirements.txt"
        configuration = top / "pip.conf"
        configuration.write_text(f"[global]\nno-index = true\nfind-links = {self.wheels}\n")
        self.environ = {"PIP_CONFIG_FILE": str(configuration)}
        self.options: dict[str, t.Any] = {"root": str(self.root), "cache": str(cache), "name": "w", "channels": [str(local_channel())]}

    def run(self, check: bool = False, environ: t.Optional[t.Mapping[str, str]] = None, **options: t.Any) -> Result:
        """``conda_env`` with our root and channel, unless told otherwise; an option that is None is left out."""
        wanted = {name: value for name, value in {**self.options, **options}.items() if value is not None}
        return run_module("conda_env", wanted, check=check, environ={**self.environ, **(environ or {})})

    def good(self, **options: t.Any) -> Result:
        """The same, which must not fail."""
        result = self.run(**options)
        assert not result.get("failed"), result.get("msg")
        return result

    def bad(self, code: str, **options: t.Any) -> Result:
        """The same, which must fail with that code, a remedy, and the usual keys."""
        result = self.run(**options)
        assert (result.get("failed"), result.get("code")) == (True, code), result.get("msg")
        assert result["remedy"]
        assert {"prefix", "python", "fingerprint", "packages", "activation", "link", "changed", "actions", "diff", "elapsed"} <= set(result)
        assert "Traceback" not in json.dumps(result), result["msg"]
        return result

    def entries(self) -> list[str]:
        """What is below ``envs``."""
        return sorted(os.listdir(self.root / "envs")) if (self.root / "envs").exists() else []

    def info(self) -> list[Result]:
        """What ``conda_env_info`` tells."""
        result = run_module("conda_env_info", {"root": str(self.root), "name": "w"})
        assert not result.get("failed"), result.get("msg")
        return t.cast("list[Result]", result["environments"])


@contextlib.contextmanager
def directory(prefix: str) -> t.Iterator[pathlib.Path]:
    """Not pytest's own: those are closed to other users."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def python_says(result: Result, program: str) -> str:
    """What the environment's Python prints."""
    return subprocess.run([result["python"], "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()
