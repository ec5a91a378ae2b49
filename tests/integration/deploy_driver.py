# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the playbooks on this machine as `make deploy` does, each worker below a data directory of its own.

A place is an ``XDG_DATA_HOME``, and so a root; workers of other names share its releases and environments, which saves a build for
each test. One place serves all tests of a process that do not need a clean one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import typing as t

from tests.integration.clean_room import processes_below
from tests.integration.local_packages import local_channel, python_version
from tests.integration.module_driver import run_module
from tests.shared import free_ports, wait_until
from tools.checkout import CHECKOUT, COLLECTIONS, unmeasured

EXAMPLES = CHECKOUT / "examples"
TRACE = pathlib.Path(__file__).parent / "trace"
LONGEST = 600.0  # seconds for one playbook, on a busy machine
# The variable with which a copy of the example ends before it imports anything: surely within the second in which a start is watched
ENDS_AT_ONCE = "ENDS_AT_ONCE"
END_AT_ONCE = f"""
if os.environ.get({ENDS_AT_ONCE!r}):
    print("ends at once with status", os.environ[{ENDS_AT_ONCE!r}], flush=True)
    os._exit(int(os.environ[{ENDS_AT_ONCE!r}]))
"""

Data = dict[str, t.Any]
Triple = tuple[str, str, str]


@dataclasses.dataclass(frozen=True)
class Run:
    """One ansible-playbook that has ended. report: the JSON of report_dir, empty without one; started, connected: where it was traced."""

    status: int
    output: str = dataclasses.field(repr=False)
    report: Data = dataclasses.field(repr=False)
    seconds: float
    started: list[list[str]] = dataclasses.field(repr=False)
    connected: list[list[t.Any]] = dataclasses.field(repr=False)

    @property
    def host(self) -> Data:
        """The report of the only host."""
        (host,) = self.report["hosts"]
        return t.cast("Data", host)

    @property
    def failure(self) -> Data:
        """What the report says went wrong."""
        assert self.status != 0, self.output
        found = self.host["failure"]
        assert found, self.report
        return t.cast("Data", found)

    @property
    def recap(self) -> dict[str, int]:
        """``{"ok": 17, "changed": 0, …}`` of the only host."""
        (line,) = re.findall(r"^\S+ +: (ok=.*)$", self.output, re.MULTILINE)
        return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}

    @property
    def changed(self) -> int:
        return self.recap["changed"]

    @property
    def actions(self) -> list[Triple]:
        """(what, id, status) in order."""
        return [(each["what"], each["id"], each["status"]) for each in self.host["actions"]]

    def stage_actions(self) -> list[tuple[str, str, str]]:
        """(stage, what, id) of every action of a stage, in order."""
        return [(stage["name"], each["what"], each["id"]) for stage in self.host["stages"] for each in stage["actions"]]

    def ok(self) -> Run:
        """Itself, if it succeeded."""
        assert self.status == 0, self.output[-12000:]
        return self


def measured() -> dict[str, str]:
    """The variables of coverage, where it is on, for a run that tells what is covered of the action plugins."""
    return {name: value for name, value in os.environ.items() if name not in unmeasured(os.environ)}


class Place:
    """A data directory, and all that Ansible keeps, below one short path, as a supervisor's socket needs it."""

    def __init__(self) -> None:
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="dep-"))
        self.data = self.home / "data"
        self.data.mkdir()
        self.root = self.data / "ew_ai_worker"
        self._names = itertools.count(1)

    def worker(self, source: pathlib.Path = EXAMPLES / "worker", count: int = 1, **variables: t.Any) -> Worker:
        """A worker of a name that no other has here, on ports that nobody uses; not deployed yet."""
        return Worker(self, f"w{next(self._names)}", source, count, variables)

    def environ(self) -> dict[str, str]:
        """The variables of a run: this process's, no settings of the user, everything that is kept below this place.

        Coverage would slow every module down and learn nothing of them: they run from archives. One run is enough for the actions: see ``measured``.
        """
        kept = {name: value for name, value in unmeasured(os.environ).items() if not name.startswith(("ANSIBLE_", "EW_", "XDG_"))}
        return {
            **kept,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.home / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TEMP": str(self.home / "ansible" / "tmp"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_DATA_HOME": str(self.data),
        }

    def copy(self, name: str, example: str = "worker", version: str = "") -> pathlib.Path:
        """A copy of an example to change. version: the constant that it tells in every answer. It knows ENDS_AT_ONCE."""
        ignore = shutil.ignore_patterns("__pycache__", ".*_cache")
        path = pathlib.Path(shutil.copytree(EXAMPLES / example, self.home / "sources" / name, ignore=ignore))
        if example == "worker":
            with (path / "worker" / "__init__.py").open("a") as package:
                package.write(END_AT_ONCE)
        if version:
            (path / "worker" / "version.py").write_text(f"CODE_VERSION = {version!r}\n")
        return path

    def end(self) -> None:
        """Stop every supervisord of the place, and what an interrupted run has left; remove the place."""
        for path in self.root.glob("workers/*/supervisord/supervisord.pid"):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(path.read_text()), signal.SIGTERM)
        try:
            wait_until(lambda: not processes_below(self.home), "every process of the place has ended")
        finally:
            for line in processes_below(self.home):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.partition(":")[0]), signal.SIGKILL)
            shutil.rmtree(self.home, ignore_errors=True)


class Worker:
    """One worker_name in a place, with the variables that every run of a playbook gets."""

    def __init__(self, place: Place, name: str, source: pathlib.Path, count: int, variables: Data) -> None:
        self.place = place
        self.name = name
        self.port = free_ports(8)
        self.home = place.root / "workers" / name
        self.arguments: list[str] = []  # of ansible-playbook, beside the variables
        channel = local_channel()
        self.variables: Data = {
            "worker_name": name,
            "worker_dir": str(source),
            "worker_port": self.port,
            "worker_count": count,
            "worker_channels": [channel.as_uri()],
            "worker_python_version": python_version(),
            **variables,
        }

    def command(self, verb: str, reports: pathlib.Path, check: bool = False, **variables: t.Any) -> list[str]:
        """ansible-playbook for a verb."""
        given = json.dumps({**self.variables, "report_dir": str(reports), **variables})
        playbook = str(CHECKOUT / "playbooks" / f"{verb}.yml")
        command = [sys.executable, "-m", "ansible", "playbook", playbook, "-i", str(CHECKOUT / "inventories" / "local"), "-e", given, "--diff", *self.arguments]
        return [*command, *(["--check"] if check else [])]

    def begin(
        self,
        verb: str,
        trace: str = "",
        environ: t.Optional[t.Mapping[str, str]] = None,
        check: bool = False,
        prefix: t.Sequence[str] = (),
        **variables: t.Any,
    ) -> Running:
        """Start a playbook. prefix: a command that runs ansible-playbook."""
        reports = pathlib.Path(tempfile.mkdtemp(prefix="report-", dir=self.place.home))
        return self.launch([*prefix, *self.command(verb, reports, check, **variables)], reports / f"{verb}.json", trace, environ)

    def launch(self, command: t.Sequence[str], report: pathlib.Path, trace: str = "", environ: t.Optional[t.Mapping[str, str]] = None) -> Running:
        """Start a command that was made from that of a verb. report: where its playbook writes one."""
        variables = {**self.place.environ(), **({"PYTHONPATH": str(TRACE), "RUN_TRACE": trace} if trace else {}), **(environ or {})}
        return Running(command, variables, report, trace)

    def run(self, verb: str, check: bool = False, **variables: t.Any) -> Run:
        """Run a playbook to its end."""
        return self.begin(verb, check=check, **variables).end()

    def traced(self, verb: str, **variables: t.Any) -> Run:
        """Run a playbook to its end; the run knows what was started and whom it connected to."""
        return self.begin(verb, trace=str(self.place.home / f"trace-{time.monotonic_ns()}"), **variables).end()

    def deploy(self, **variables: t.Any) -> Run:
        """Deploy; it must succeed."""
        return self.run("deploy", **variables).ok()

    def ask(self, index: int = 0) -> Data:
        """The origin of an answer to Infer: generation, instance, pid, code_version."""
        command = [sys.executable, "-m", "worker.client", "--address", f"127.0.0.1:{self.port + index}", "--json", "infer"]
        done = subprocess.run(command, cwd=EXAMPLES / "worker", text=True, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return t.cast("Data", json.loads(done.stdout)["origin"])

    def rows(self) -> dict[str, Data]:
        """The instances by name, read on the spot by ew_worker_info: a playbook would take ten times as long."""
        result = run_module("ew_worker_info", {"name": self.name, "root": str(self.place.root), "supervisor": "supervisord"})
        assert not result.get("failed"), result
        return {row["name"]: row for row in result["instances"]}

    def endpoints(self) -> dict[str, str]:
        """What is kept for whoever routes calls: status by instance."""
        found = json.loads((self.home / "endpoints.json").read_text())["endpoints"]
        return {row["instance"].partition("@")[2]: row["status"] for row in found}

    def state(self) -> Data:
        """The generations as they are on disk."""
        return t.cast("Data", json.loads((self.home / "state.json").read_text()))


class Fleet:
    """Several hosts in one play: names of this machine, each with a place, and so a root, of its own.

    hosts: the variables of each in the inventory; others: the hosts of other groups.
    """

    def __init__(self, source: pathlib.Path, *hosts: str, **others: t.Sequence[str]) -> None:
        self.places = {name: Place() for name in hosts}
        self.workers = {name: place.worker(source) for name, place in self.places.items()}
        self.hosts: dict[str, Data] = {
            name: {**here(), "worker_root": str(worker.place.root), "worker_port": worker.port, "worker_dir": str(source)}
            for name, worker in self.workers.items()
        }
        self._others = others
        self._lead = next(iter(self.workers.values()))
        self._inventory = self._lead.place.home / "fleet.json"
        self._lead.arguments = ["-i", str(self._inventory)]
        for variable in ("worker_port", "worker_count", "worker_dir"):
            del self._lead.variables[variable]

    def run(self, verb: str, environ: t.Optional[t.Mapping[str, str]] = None, **variables: t.Any) -> Run:
        """Run a playbook over all hosts to its end. The variables win over those of the inventory."""
        others = {group: {"hosts": {name: here() for name in names}} for group, names in self._others.items()}
        self._inventory.write_text(json.dumps({"workers": {"children": {"fleet": {"hosts": self.hosts}}}, **others}))
        return self._lead.begin(verb, environ=environ, worker_hosts="fleet", **variables).end()

    def versions(self) -> dict[str, str]:
        """The version of the code that answers for each host."""
        return {name: worker.ask()["code_version"] for name, worker in self.workers.items()}

    def end(self) -> None:
        """Of every place."""
        for place in self.places.values():
            place.end()


def here() -> Data:
    """The variables of a host that is this machine."""
    return {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


class Running:
    """A playbook at work, its output in a file."""

    def __init__(self, command: t.Sequence[str], environ: t.Mapping[str, str], report: pathlib.Path, trace: str) -> None:
        self._report = report
        self._trace = trace
        self._output = report.with_suffix(".out")
        self._began = time.monotonic()
        with self._output.open("wb") as out:
            self.process = subprocess.Popen(command, env=environ, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def wait_to_say(self, text: str) -> None:
        """Wait until the output has the text; an end before is a failure that shows the output."""
        wait_until(lambda: text in self.said() or self.process.poll() is not None, f"the run says {text!r}", LONGEST)
        assert text in self.said(), self.said()

    def kill(self) -> None:
        """SIGKILL to ansible-playbook alone, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def end(self) -> Run:
        """Wait for the end; no run ever shows a traceback."""
        try:
            status = self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {LONGEST} s:\n{self.said()[-8000:]}") from None
        assert "Traceback (most recent call last)" not in self.said(), self.said()
        report = json.loads(self._report.read_text()) if self._report.exists() else {}
        lines = pathlib.Path(self._trace).read_text().splitlines() if self._trace else []
        seen = [json.loads(line) for line in lines]
        traced = [[each["what"] for each in seen if each["kind"] == kind] for kind in ("start", "connect")]
        return Run(status, self.said(), report, time.monotonic() - self._began, *traced)
