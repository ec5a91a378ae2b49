# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the faults of a host are made with: packages that come and go, a gate in the middle of a build, and a firewall."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
import shlex
import subprocess
import time
import typing as t

from tests.figures import tell
from tests.integration.local_packages import index_channel, served, write_conda_package, write_index, write_source_archive, write_wheel
from tests.shared import PATIENCE, wait_until
from tools.checkout import CACHE

from . import wall
from .fleet import Fleet, Playbook, Run, script
from .load import Load
from .plugin import Expect

PLACE = "/srv/faults"
ROOT = "/opt/ew_ai_worker"
# What no run may leave half-done: the lease, staging directories, builds with their marks, and jobs whose result nobody could collect.
HALF_DONE = f"""
ls -d {ROOT}/workers/*/lease.json {ROOT}/*/.[!.]* {ROOT}/cache/build/* 2>/dev/null
for job in {ROOT}/jobs/*/; do test -e "$job/handle" -a ! -e "$job/result" && echo "$job"; done
true
"""
GATE, AT_GATE = "/run/faults/closed", "/run/faults/waits"
# What a source distribution does before it is built. Whoever builds it may write AT_GATE's directory.
WAITS = f"""
if os.path.exists({GATE!r}):
    open({AT_GATE!r}, "w").close()
while os.path.exists({GATE!r}):
    time.sleep(0.05)
"""
# Where a test orders a module's death; molecule/faults/prepare.yml tells modules of it.
ORDER = "/run/ew-worker-fault"
CALLER, CALLS = "caller.service", "/run/faults/calls.json"
COMMANDS = 40  # how many deploys can be told apart


class Trial:
    """A host whose worker serves while the next deploy meets a fault.

    Every deploy needs a package that no environment has yet, so that each builds one of its own.
    """

    def __init__(self, fleet: Fleet, host: str) -> None:
        self.fleet, self.host = fleet, host
        self.place = fleet.directory / "faults"
        self.gateway = fleet.podman.network(fleet.group)[1]
        # Another run of the tests on the same host had other packages.
        self.number = int(time.time())
        self.pip: list[str] = []
        self.channel, self.index = "", ""
        self.expect: Expect

    @contextlib.contextmanager
    def open(self) -> t.Iterator[Trial]:
        """A channel and an index serve while the block runs."""
        numbers = range(self.number + 1, self.number + 1 + COMMANDS)
        wheels = [write_wheel(self.place / "wheels", "ew_note", str(number)) for number in numbers]
        for number in numbers:
            write_source_archive(self.place / "wheels", f"ew_gate_{number}", WAITS)
            write_wheel(self.place / "changed", "ew_note", str(number), ballast=1)
        write_conda_package(self.place / "channel", "ew-more", {"share/ew-more": "more\n"}, ["share/ew-more"])
        index_channel(self.place / "channel")
        index_channel(self.place / "bare")
        self._bring()
        with served(CACHE / "host-packages" / "channel", address=self.gateway) as channel:
            with served(write_index(self.place / "index", wheels), address=self.gateway) as index:
                self.channel, self.index = f"http://{channel}", f"http://{index}"
                yield self

    def _bring(self) -> None:
        self.on(f"mkdir -p {PLACE}; mkdir -p -m 1777 {pathlib.PurePath(GATE).parent}")
        with subprocess.Popen(["tar", "-C", str(self.place), "-c", "wheels", "changed", "channel", "bare"], stdout=subprocess.PIPE) as packed:
            command = self.fleet.ssh_argv(self.host, f"tar -C {PLACE} -x --no-same-owner")
            subprocess.run(command, stdin=packed.stdout, check=True, timeout=PATIENCE)

    # Commands

    def on(self, command: str, check: bool = True) -> str:
        """Run a command on the host."""
        return self.fleet.on(self.host, command, check)

    def next(self) -> dict[str, t.Any]:
        """The variables of a deploy whose environment has a package of its own."""
        self.number += 1
        self.pip = [f"ew-note=={self.number}"]
        return {"worker_pip": self.pip}

    def next_with_gate(self) -> dict[str, t.Any]:
        """The same, with a build that waits while the gate is closed."""
        self.number += 1
        self.pip = [f"ew-gate-{self.number}"]
        return {"worker_pip": self.pip}

    @property
    def note(self) -> str:
        """The file of this command's package."""
        return f"ew_note-{self.number}-py3-none-any.whl"

    def note_with_hash(self) -> str:
        """The package of this command, with the hash of its wheel."""
        return f"ew-note=={self.number} --hash=sha256:{hashlib.sha256((self.place / 'wheels' / self.note).read_bytes()).hexdigest()}"

    # Faults; each is undone at the end of its block

    @contextlib.contextmanager
    def done(self, command: str, undo: str) -> t.Iterator[None]:
        """A command of the shell, and the one that takes it back."""
        self.on(command)
        try:
            yield
        finally:
            self.on(undo)

    @contextlib.contextmanager
    def firewall(self, *rules: str) -> t.Iterator[None]:
        """nft rules for what the host sends; they are made from outside, for they may cut it off."""
        text = "".join(f"add rule inet fault output {rule}\n" for rule in rules)
        table = "add table inet fault\nadd chain inet fault output { type filter hook output priority 0; policy accept; }\n"
        wall.nft(self.fleet, self.host, "-f", "-", text=table + text)
        try:
            yield
        finally:
            wall.nft(self.fleet, self.host, "delete", "table", "inet", "fault")

    def unreachable(self, address: str) -> t.ContextManager[None]:
        """Nobody answers under the address of one of the servers."""
        return self.firewall(f"tcp dport {address.rpartition(':')[2]} reject with tcp reset")

    def gate(self) -> t.ContextManager[None]:
        """Builds that have a gate wait before it."""
        return self.done(f"rm -f {AT_GATE}; touch {GATE}", f"rm -f {GATE} {AT_GATE}")

    def fetch(self, target: pathlib.Path, paths: str) -> None:
        """Bring what is below these words of the shell, relative to /, with modes and owners."""
        target.mkdir()
        with subprocess.Popen(self.fleet.ssh_argv(self.host, f"cd / && tar -c {paths}"), stdout=subprocess.PIPE) as packed:
            subprocess.run(["tar", "-C", str(target), "-x", "-p", "--numeric-owner"], stdin=packed.stdout, check=True, timeout=PATIENCE)

    def cut_off(self) -> t.ContextManager[None]:
        """Nothing that the host sends arrives anywhere; nobody tells it, nor those who wait for it."""
        return self.firewall('oifname != "lo" drop')

    def wait_for_gate(self, playbook: Playbook) -> None:
        """Until the playbook's build waits."""
        command = f"test -e {shlex.quote(AT_GATE)} && echo waits; true"
        wait_until(lambda: self.on(command) or playbook.process.poll() is not None, "a build waits at the gate", 300, 0.5)
        assert playbook.process.poll() is None, playbook.said()

    # Findings

    @contextlib.contextmanager
    def undisturbed(self, what: str) -> t.Iterator[None]:
        """Every call from the controller is answered while the block runs, all by the process that served before."""
        before = self.fleet.processes(self.host, instances=("0",))
        with Load(self.fleet.addresses, (50051,)) as load:
            yield
        (seen,) = load.seen.values()
        self.expect(f"{what}: calls lost", {}, dict(seen.lost))
        self.expect(f"{what}: calls were answered", True, load.answers() > 0)
        self.expect(f"{what}: processes that answered", [before["0"].pid], [origin.pid for origin in seen.origins])
        self.expect(f"{what}: process", before, self.fleet.processes(self.host, instances=("0",)))

    def refused(self, what: str, run: Run, code: str, *words: str, stage: str = "") -> None:
        """The report and the output tell what went wrong, and nothing else."""
        failure = run.host(self.host)["failure"]
        self.expect(f"{what}: code", code, failure["code"])
        if stage:
            self.expect(f"{what}: stage", stage, failure["stage"])
        told = f"{failure['message']} {failure['remedy']}"
        self.expect(f"{what}: told", [], [word for word in words if word not in told])
        self.expect(f"{what}: has a remedy", True, bool(failure["remedy"]))
        self.expect(f"{what}: traceback", False, "Traceback" in f"{run.output}{run.report}")
        tell(f"{what}: {failure['code']} after {run.seconds:.0f} s: {failure['message'].splitlines()[0]}")

    @contextlib.contextmanager
    def undisturbed_on_the_host(self, what: str) -> t.Iterator[None]:
        """The same where nobody else reaches the host: calls from the host itself."""
        before = self.fleet.processes(self.host, instances=("0",))
        release = self.on("systemctl show --property=WorkingDirectory --value ew-worker@0")
        unit = shlex.join(["systemd-run", "--quiet", f"--unit={CALLER}", f"--setenv=PYTHONPATH={release}", f"--property=StandardOutput=file:{CALLS}"])
        program = script("calls", "127.0.0.1:50051").replace("python3", f"{ROOT}/envs/ew_ai_worker/bin/python", 1)
        self.on(f"rm -f {CALLS}; {unit} -- {program}")
        try:
            yield
        finally:
            self.on(f"systemctl stop {CALLER}")
        calls = json.loads(self.on(f"cat {CALLS}"))
        self.expect(f"{what}: calls lost", 0, calls["lost"])
        self.expect(f"{what}: processes that answered", [before["0"].pid], calls["pids"])
        self.expect(f"{what}: process", before, self.fleet.processes(self.host, instances=("0",)))

    def serves(self, what: str, run: Run) -> Run:
        """Its generation serves, and nothing is half-done any more."""
        self.expect(f"{what}: generation that answers", str(run.host(self.host)["generation"]), self.fleet.infer(self.host)["generation"])
        self.expect(f"{what}: left half-done", "", self.on(HALF_DONE))
        return run

    def succeeds(self, what: str, variables: t.Mapping[str, t.Any]) -> Run:
        """The command goes through now."""
        return self.serves(what, self.fleet.play("deploy", **variables))
