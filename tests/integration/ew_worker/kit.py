# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small worker with faults to order, and two places to run its instances: this machine, and hosts with systemd."""

from __future__ import annotations

import io
import json
import pathlib
import random
import shlex
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import typing as t

import ansible
import pytest

from tests.hosts import cli
from tests.hosts.spec import Set
from tests.integration.module_driver import collections_path, run_module

_LIBRARY = "/var/tmp/library"
HOSTS = {"bookworm": "bookworm", "trixie": "trixie"}

Result = dict[str, t.Any]
Args = t.Mapping[str, t.Any]

# Faults are ordered by the variable FAULT, so that the same release can be good and bad.
WORKER = """\
import argparse, json, os, pathlib, signal, socket, sys, time

options = argparse.ArgumentParser()
options.add_argument("--port", type=int, required=True)
options.add_argument("--bind", default="127.0.0.1")
given = options.parse_args()
fault = os.environ.get("FAULT", "")
if fault == "exit":
    sys.exit("ModuleNotFoundError: No module named 'numpy'")
if fault == "liar" and "LIED" not in os.environ:
    os.execve(sys.executable, sys.orig_argv, {**os.environ, "LIED": "1", "EW_PORTS": "none", "EW_GENERATION": "\u00b2"})
if fault.startswith("tell"):
    print("token", os.environ["TOKEN"], "pin", os.environ["PIN"], flush=True)
if fault == "tell and exit":
    sys.exit(5)
if fault == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if fault == "child" and os.fork() == 0:
    time.sleep(600)
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if fault == "share":
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind((given.bind, given.port))
listener.listen()
facts = {"environ": dict(os.environ), "argv": sys.argv, "uid": os.getuid(), "cwd": os.getcwd()}
pathlib.Path(os.environ["EW_STATE_DIR"], "facts.json").write_text(json.dumps(facts))
print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "listening on", given.port, flush=True)
if fault.startswith("late:"):
    time.sleep(float(fault[5:]))
    sys.exit(7)
while True:
    time.sleep(60)
"""


def free_ports(count: int) -> tuple[int, ...]:
    """Ports that nothing uses, below those that the kernel gives to clients and above those of the tests of whole deploys.

    Other runs of these tests may be under way.
    """
    found: dict[int, socket.socket] = {}
    while len(found) < count:
        candidate = socket.socket()
        port = random.SystemRandom().randrange(30_000, 32_000)
        try:
            candidate.bind(("", port))
        except OSError:
            candidate.close()
        else:
            found[port] = candidate
    for each in found.values():
        each.close()
    return tuple(found)


PORTS = free_ports(3)


def wait_until(condition: t.Callable[[], t.Any], timeout: float = 60.0, every: float = 0.1) -> t.Any:
    """The condition's value once it is true. Fails with its last value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{condition} is still {value!r} after {timeout} s"
        time.sleep(every)


class Place:
    """Where instances run: modules and commands there."""

    supervisor: str
    root: str
    python: str

    def module(self, name: str, args: Args, check: bool = False) -> Result:
        """The module's result, a failed one too."""
        raise NotImplementedError

    def shell(self, command: str) -> str:
        """What the command writes there; its status does not matter."""
        raise NotImplementedError

    def release(self, name: str, worker: str = WORKER) -> str:
        """Unpack the worker as the release of that name, and return its path."""
        path = f"{self.root}/releases/{name}"
        write = f"printf %s {shlex.quote(worker)} > {path}/worker/main.py"
        self.shell(f"mkdir -p {path}/worker && touch {path}/worker/__init__.py && {write} && chmod -R a+rX {self.root}/releases")
        return path

    def run(self, state: str = "started", check: bool = False, **options: t.Any) -> Result:
        """``ew_worker`` with root, supervisor and name filled in."""
        args = {"name": "w", "root": self.root, "supervisor": self.supervisor, "state": state, **options}
        return self.module("ew_worker", args, check)

    def info(self, **options: t.Any) -> dict[str, Result]:
        """The rows of ``ew_worker_info`` by instance."""
        result = self.module("ew_worker_info", {"name": "w", "root": self.root, "supervisor": self.supervisor, **options})
        assert not result.get("failed"), result
        return {row["name"]: row for row in result["instances"]}

    def facts(self, instance: str = "0", worker: str = "w") -> Result:
        """What the instance's process says of itself, once it says it."""
        path = f"{self.root}/workers/{worker}/data/{instance}/state/facts.json"
        return t.cast("Result", json.loads(wait_until(lambda: self.shell(f"cat {path} 2>/dev/null"))))


class Here(Place):
    """This machine, with supervisord from this interpreter."""

    supervisor = "supervisord"
    python = sys.executable

    def __init__(self, root: pathlib.Path) -> None:
        self.root = str(root)

    def module(self, name: str, args: Args, check: bool = False) -> Result:
        return run_module(name, args, check=check)

    def shell(self, command: str) -> str:
        return subprocess.run(["/bin/sh", "-c", command], text=True, capture_output=True, check=False, timeout=60).stdout


class Host(Place):
    """A test host with systemd. Modules are run there directly, as here: Ansible itself would take most of the time."""

    supervisor = "systemd"
    root = "/opt/ew_ai_worker"
    python = "/usr/bin/python3"

    def __init__(self, group: Set, name: str) -> None:
        self.name = name
        self._container = group.container(name)
        if not self.as_root(f"test -d {_LIBRARY} && echo there"):
            self._copy_library()

    @property
    def _exec(self) -> list[str]:
        return ["podman", "exec", "-i", self._container]

    def as_root(self, command: str) -> str:
        """``shell`` by root, whoever runs the modules."""
        argv = ["podman", "exec", self._container, "/bin/sh", "-c", command]
        return subprocess.run(argv, text=True, capture_output=True, check=False, timeout=60).stdout

    def module(self, name: str, args: Args, check: bool = False) -> Result:
        arguments = {**args, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_remote_tmp": "/tmp"}
        path = f"{_LIBRARY}/ansible_collections/ew_ai/worker/plugins/modules/{name}.py"
        argv = [*self._exec, "/usr/bin/env", f"PYTHONPATH={_LIBRARY}", "/usr/bin/python3", path]
        done = subprocess.run(argv, input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), text=True, capture_output=True, check=False, timeout=300)
        try:
            return t.cast("Result", json.loads(done.stdout))
        except ValueError:
            raise AssertionError(f"{name} wrote no JSON: {done.stdout}{done.stderr}") from None

    def shell(self, command: str) -> str:
        return subprocess.run([*self._exec, "/bin/sh", "-c", command], text=True, capture_output=True, check=False, timeout=60).stdout

    def _copy_library(self) -> None:
        archive = io.BytesIO()
        with tempfile.TemporaryDirectory() as directory, tarfile.open(fileobj=archive, mode="w") as tar:
            copy_library(pathlib.Path(directory, "library"))
            tar.add(f"{directory}/library", ".")
        unpack = ["podman", "exec", "-i", self._container, "/bin/sh", "-c", f"mkdir -p {_LIBRARY} && tar -C {_LIBRARY} -xf -"]
        subprocess.run(unpack, input=archive.getvalue(), capture_output=True, check=True, timeout=60)


class Login(Host):
    """An ordinary account of a test host, whose own systemd runs the instances. It has no session: its systemd runs because it lingers."""

    def __init__(self, group: Set, name: str, account: str, uid: int) -> None:
        self.account = account
        self.uid = uid
        self.home = f"/home/{account}"
        self.root = f"{self.home}/.local/share/ew_ai_worker"
        super().__init__(group, name)
        self.as_root(f"id {account} || useradd --create-home --uid {uid} {account}; loginctl enable-linger {account}; systemctl start user@{uid}")

    @property
    def _exec(self) -> list[str]:
        return ["podman", "exec", "-i", "--user", self.account, "--env", f"HOME={self.home}", self._container]

    def run(self, state: str = "started", check: bool = False, **options: t.Any) -> Result:
        return super().run(state, check, **{"scope": "user", **options})

    def info(self, **options: t.Any) -> dict[str, Result]:
        return super().info(**{"scope": "user", **options})

    def systemctl(self, words: str) -> str:
        """What systemctl says about the account's units."""
        return self.shell(f"XDG_RUNTIME_DIR=/run/user/{self.uid} systemctl --user {words}").strip()


def copy_library(target: pathlib.Path) -> None:
    """The collection's code for hosts, and what Ansible sends with every module."""
    core = pathlib.Path(ansible.__file__).parent
    plugins = collections_path() / "ansible_collections/ew_ai/worker/plugins"
    for name in ("module_utils", "_vendor"):
        shutil.copytree(core / name, target / "ansible" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "release.py"):
        shutil.copy(core / name, target / "ansible" / name)
    for name in ("modules", "module_utils"):
        into = target / "ansible_collections/ew_ai/worker/plugins" / name
        shutil.copytree(plugins / name, into, ignore=shutil.ignore_patterns("__pycache__"))


def tool(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tests.hosts", *argv], cwd=cli.CHECKOUT, text=True, capture_output=True, check=False, timeout=600)


SYSTEMD = pytest.param("bookworm", marks=[pytest.mark.molecule, pytest.mark.slow], id="systemd")
TRIXIE = pytest.param("trixie", marks=[pytest.mark.molecule, pytest.mark.slow], id="systemd-trixie")


def wanted(place: Place, count: int = 1, **options: t.Any) -> dict[str, t.Any]:
    """The options of a deploy of ``count`` instances."""
    user = {"user": "ew-worker"} if place.supervisor == "systemd" and not isinstance(place, Login) else {}
    listed = [{"name": str(index), "ports": [PORTS[index]]} for index in range(count)]
    return {"release": place.release("one"), "python": place.python, "generation": 1, "instances": listed, **user, **options}


def named(place: Place, ports: t.Mapping[str, int], **options: t.Any) -> dict[str, t.Any]:
    """The options of a deploy of instances with these names and ports."""
    return {**wanted(place, **options), "instances": [{"name": name, "ports": [port]} for name, port in ports.items()]}


def ok(result: Result) -> Result:
    assert not result.get("failed"), result
    return result


def action(what: str, identifier: str, status: str) -> dict[str, str]:
    return {"what": what, "id": identifier, "status": status}
