# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a scenario as its tests see them: run playbooks on them, run commands on them, call their workers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing as t

import grpc
from worker import client, inference_pb2, inference_pb2_grpc

from ansible_collections.ew_ai.worker.plugins.module_utils.processes import descendants
from tests.hosts import faults, hostset, machine
from tests.hosts.inventory import ssh_options
from tests.hosts.podman import Podman
from tests.hosts.spec import Set
from tests.shared import PATIENCE, wait_until
from tools.checkout import CACHE, CHECKOUT, COLLECTIONS, environment

ON_HOST = pathlib.Path(__file__).with_name("on_host")
COLLECTION = "ew_ai.worker"
LONGEST_PLAY = 600  # seconds
SHOWN = 80  # lines of a playbook's output that a failure shows


@dataclasses.dataclass(frozen=True)
class Process:
    """What identifies the process of an instance: the same pid may be given twice, not at the same time."""

    pid: int
    started: int  # microseconds since the boot
    restarts: int


@dataclasses.dataclass(frozen=True)
class Run:
    """A playbook that has run."""

    verb: str
    status: int
    output: str
    report: dict[str, t.Any]
    seconds: float

    @property
    def changed(self) -> dict[str, int]:
        """How many tasks changed something, for each host that was reached."""
        return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.MULTILINE)}

    def host(self, name: str) -> dict[str, t.Any]:
        """A host's part of the report."""
        return next(row for row in self.report["hosts"] if row["host"] == name)

    def actions(self, name: str) -> list[str]:
        """What was done on a host, each as ``what id status``."""
        return [f"{each['what']} {each['id']} {each['status']}" for each in self.host(name)["actions"]]


class Playbook:
    """A playbook at work. Its output goes into the file beside its reports; ended: called with the seconds that it took."""

    def __init__(self, verb: str, command: t.Sequence[str], environ: t.Mapping[str, str], reports: pathlib.Path, ended: t.Callable[[float], None]) -> None:
        self.verb = verb
        self.log = reports.with_suffix(".log")
        self._reports, self._ended, self._start = reports, ended, time.monotonic()
        self.log.write_text(f"$ {shlex.join(command)}\n", encoding="utf-8")
        with self.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, env=environ, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def said(self) -> str:
        """What it has written by now."""
        return self.log.read_text(encoding="utf-8", errors="replace").partition("\n")[2]

    def wait_to_say(self, text: str) -> None:
        """Wait until the output has the text; an end before is a failure that shows the output."""
        wait_until(lambda: text in self.said() or self.process.poll() is not None, f"the playbook says {text!r}", LONGEST_PLAY)
        assert text in self.said(), self._end()

    def kill(self) -> None:
        """SIGKILL to all of it, as if the controller had been switched off."""
        for pid in descendants(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._ended(time.monotonic() - self._start)

    def end(self, status: int = 0) -> Run:
        """Wait for the end. status: what it must be."""
        try:
            found = self.process.wait(LONGEST_PLAY)
        except BaseException:
            self.kill()
            raise
        seconds = time.monotonic() - self._start
        self._ended(seconds)
        assert found == status, f"{self.verb} ended with {found} instead of {status}; all of it: {self.log}\n{self._end()}"
        return Run(self.verb, found, self.said(), self.report(), seconds)

    def report(self) -> dict[str, t.Any]:
        """What it has reported by now."""
        written = self._reports / f"{self.verb}.json"
        return t.cast("dict[str, t.Any]", json.loads(written.read_text(encoding="utf-8"))) if written.is_file() else {}

    def _end(self) -> str:
        return "\n".join(self.said().splitlines()[-SHOWN:])


class Fleet:
    """The set of hosts that a scenario's create.yml has made."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.directory = CACHE / "molecule" / scenario
        self.group = Set(scenario, CHECKOUT)
        self.podman = Podman(machine.detect())
        self.addresses = hostset.members(self.podman, self.group)[1]
        self.hosts = sorted(self.addresses)
        self.canary = self.hosts[0]
        self.collections = COLLECTIONS
        self.variables: dict[str, t.Any] = {}
        self.runs: dict[str, Run] = {}
        self.kept: dict[str, t.Any] = {}
        self.timings: list[tuple[str, float]] = []
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    # Playbooks

    def begin(self, verb: str, *options: str, limit: str = "", **variables: t.Any) -> Playbook:
        """Start a playbook of the collection."""
        number = len(self.timings) + 1
        reports = self.directory / f"{number:02}-{verb}"
        command = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), f"{COLLECTION}.{verb}", "--inventory", str(self.group.inventory)]
        command += ["--inventory", str(CHECKOUT / "molecule" / self.scenario / "inventory")]
        command += ["--extra-vars", json.dumps({"report_dir": str(reports), **self.variables, **variables}), *(["--limit", limit] if limit else []), *options]
        environ = environment(
            {
                "MOLECULE_PROJECT_DIRECTORY": str(CHECKOUT),
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_FORCE_COLOR": "0",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_HOME": str(CACHE / "ansible"),
            }
        )
        self.timings.append((f"{verb} {' '.join([*options, limit, *map(str, variables.items())])}", 0.0))
        return Playbook(verb, command, environ, reports, lambda seconds: self._took(number, seconds))

    def play(self, verb: str, *options: str, limit: str = "", keep: str = "", status: int = 0, **variables: t.Any) -> Run:
        """Run a playbook of the collection. keep: remember it in runs; status: what ansible-playbook must end with."""
        run = self.begin(verb, *options, limit=limit, **variables).end(status)
        if keep:
            self.runs[keep] = run
        return run

    def _took(self, number: int, seconds: float) -> None:
        self.timings[number - 1] = (self.timings[number - 1][0], seconds)

    def module(self, host: str, name: str, arguments: t.Mapping[str, t.Any], python: str) -> dict[str, t.Any]:
        """What a module of the collection returns, run on a host by that interpreter of the host."""
        command = [str(pathlib.Path(sys.executable).with_name("ansible")), host, "--inventory", str(self.group.inventory), "--one-line"]
        command += ["--module-name", f"{COLLECTION}.{name}", "--args", json.dumps(arguments), "--extra-vars", f"ansible_python_interpreter={python}"]
        environ = environment({"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(CACHE / "ansible")})
        done = subprocess.run(command, env=environ, cwd=CHECKOUT, check=False, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
        assert "=> {" in done.stdout, done.stdout + done.stderr
        return t.cast("dict[str, t.Any]", json.loads(done.stdout[done.stdout.index("=> {") + 3 :]))

    # Commands

    def ssh_argv(self, host: str, command: str) -> list[str]:
        """As Ansible reaches it, over the same connection."""
        return ["ssh", "-i", str(self.group.directory / "id_ed25519"), *ssh_options(self.group), "-T", f"root@{self.addresses[host]}", command]

    def on(self, host: str, command: str, check: bool = True) -> str:
        """Run a command as root on a host and return what it wrote."""
        done = subprocess.run(self.ssh_argv(host, command), text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=300, check=False)
        assert not check or done.returncode == 0, f"{host}: {command}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def write(self, host: str, path: str, text: str, mode: str) -> None:
        """Put a file on a host; its text is in no command line."""
        command = f"install -m {mode} /dev/stdin {shlex.quote(path)}"
        subprocess.run(self.ssh_argv(host, command), input=text, text=True, capture_output=True, timeout=PATIENCE, check=True)

    def every(self, act: t.Callable[[str], t.Any]) -> dict[str, t.Any]:
        """Call the function for every host side by side."""
        with concurrent.futures.ThreadPoolExecutor(len(self.hosts)) as pool:
            return dict(zip(self.hosts, pool.map(act, self.hosts)))

    def listing(self, *paths: str) -> dict[str, dict[str, str]]:
        """Every file below the paths on every host, as on_host/listing.py tells them."""
        return self.every(lambda host: json.loads(self.on(host, script("listing", *paths))))

    @contextlib.contextmanager
    def watched(self) -> t.Iterator[dict[str, list[str]]]:
        """The command lines of all processes that run on each host while the block does; filled in at its end."""
        seen: dict[str, list[str]] = {}
        watchers = {
            host: subprocess.Popen(self.ssh_argv(host, script("watch")), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for host in self.hosts
        }
        try:
            for watcher in watchers.values():
                assert watcher.stdout is not None
                assert watcher.stdout.readline().strip() == "watching"
            yield seen
        finally:
            for host, watcher in watchers.items():
                seen[host] = watcher.communicate(timeout=PATIENCE)[0].splitlines()

    def route(self, on: bool) -> None:
        """Give every host its way out of the network of the set, or take it away."""
        self.every(lambda host: faults.route(self.podman, self.group, host, on))

    def reboot(self, host: str) -> None:
        """Reboot it and wait until it is up."""
        faults.reboot(self.podman, self.group, host)

    # Workers

    def processes(self, host: str, worker: str = "ew-worker", instances: t.Sequence[str] = ("0", "1")) -> dict[str, Process]:
        """The process of each instance under systemd; pid 0 where it does not run."""
        units = " ".join(f"{worker}@{name}.service" for name in instances)
        shown = self.on(host, f"systemctl show --property=MainPID,ExecMainStartTimestampMonotonic,NRestarts -- {units}")
        found = {}
        for name, block in zip(instances, shown.split("\n\n")):
            rows = dict(line.partition("=")[::2] for line in block.splitlines())
            found[name] = Process(int(rows["MainPID"]), int(rows["ExecMainStartTimestampMonotonic"]), int(rows["NRestarts"]))
        return found

    def all_processes(self) -> dict[str, dict[str, Process]]:
        """The processes of the worker ``ew-worker`` on every host."""
        return self.every(self.processes)

    def infer(self, host: str, port: int = 50051, timeout: float = PATIENCE) -> dict[str, t.Any]:
        """A real call from the controller: where the answer came from. Waits at most `timeout` seconds for a worker that serves."""
        end = time.monotonic() + timeout
        with client.connect(f"{self.addresses[host]}:{port}") as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            while True:
                try:
                    answer = stub.Infer(inference_pb2.InferRequest(features=[0.3, -0.4]), timeout=max(1, min(10, end - time.monotonic())), wait_for_ready=True)
                except grpc.RpcError as error:
                    # It listens and still loads its model, or it was killed while it had the call.
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) or time.monotonic() > end:
                        raise
                    time.sleep(0.1)
                    continue
                return t.cast("dict[str, t.Any]", client.as_dict(answer)["origin"])

    def versions(self) -> dict[str, list[str]]:
        """The version of the code that answers on every host, a word for each instance."""
        return self.every(lambda host: [self.infer(host, port)["code_version"] for port in (50051, 50052)])


def script(name: str, *arguments: str) -> str:
    """The command that runs a file of on_host/ on a host."""
    return shlex.join(["python3", "-c", (ON_HOST / f"{name}.py").read_text(encoding="utf-8"), *arguments])


def copy_example(name: str, target: pathlib.Path) -> pathlib.Path:
    """A copy of an example that a test may change."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(CHECKOUT / "examples" / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    os.utime(target)
    return target
