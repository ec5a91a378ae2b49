# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets wherever a user may write one, a worker that prints its own and fails: nobody who reads about the deploy reads any of them."""

from __future__ import annotations

import contextlib
import json
import pathlib
import stat
import subprocess
import sys
import typing as t

import pytest

from tests.figures import tell
from tests.integration.deploy_driver import Place, Run, Worker
from tests.integration.local_packages import local_channel, served, write_index, write_wheel
from tests.planted import EVERYTHING, PLACES, VALUES, leaked, variables

pytestmark = pytest.mark.slow

# Listens, which is all that is asked of it, and prints what nobody should.
INDISCREET = """
import os
import socket
import sys

for name, value in sorted(os.environ.items()):
    if name.startswith("SECRET_"):
        print(name, "is", value, flush=True)
if os.environ.get("FAILS"):
    os._exit(3)
server = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    server.accept()[0].close()
"""
HOOK = """
- name: Tell the fleet
  ansible.builtin.debug:
    msg: "{{ fleet_token }}"
  no_log: true
"""
WATCH = pathlib.Path(__file__).parents[1] / "molecule" / "on_host" / "watch.py"


@contextlib.contextmanager
def watched() -> t.Iterator[list[str]]:
    """The command lines of all processes of this machine while the block runs; filled in at its end."""
    seen: list[str] = []
    with subprocess.Popen([sys.executable, str(WATCH)], text=True, errors="replace", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline().strip() == "watching"
        yield seen
        seen += watcher.communicate(timeout=60)[0].splitlines()


class Careless:
    """A worker with a secret in every place, none of which is on a command line of ours."""

    def __init__(self, place: Place, host: str) -> None:
        self.place = place
        self.user_files = place.home / "user"
        self.user_files.mkdir(mode=0o700)
        source = place.home / "sources" / "indiscreet"
        (source / "worker").mkdir(parents=True)
        (source / "worker" / "main.py").write_text(INDISCREET)
        (self.user_files / "hook.yml").write_text(HOOK)
        (self.user_files / "pip.conf").write_text(PLACES["pip.conf"].value(host))
        self.worker: Worker = place.worker(source, worker_health_protocol="tcp", worker_health_stable_for=1)
        del self.worker.variables["worker_channels"]
        self.given: dict[str, t.Any] = {
            "ansible_become_password": PLACES["become password"].value(),
            "fleet_token": PLACES["variable of a hook"].value(),
            "worker_channels": [PLACES[kind].value(host) for kind in ("channel password", "channel token")],
            "worker_extra_index_urls": [PLACES["extra_index_urls"].value(host)],
            "worker_find_links": [PLACES["find_links"].value(host)],
            "worker_hooks": {"before_instances": [str(self.user_files / "hook.yml")]},
            "worker_http_proxy": PLACES["proxy"].value(),
            "worker_no_proxy": "127.0.0.1",
            "worker_pip": ["ew-one", PLACES["requirement"].value(host)],
        }
        (place.home / "tmp").mkdir()

    def run(self, secrets: t.Mapping[str, str], check: bool = False, **variables: t.Any) -> Run:
        """Deploy with -vvv --diff and a log; the secrets come from a file, as a vault would give them."""
        path = self.user_files / "variables.yml"
        # Nothing in them is a template.
        lines = [f"  {name}: !unsafe {json.dumps(value, ensure_ascii=False)}\n" for name, value in secrets.items()]
        lines += [f"{name}: {json.dumps(value)}\n" for name, value in {**self.given, **variables}.items()]
        path.write_text(f"worker_secrets:\n{''.join(lines)}")
        self.worker.arguments = ["-e", f"@{path}", "-vvv"]
        environ = {
            "ANSIBLE_LOG_PATH": str(self.place.home / "ansible.log"),
            "PIP_CONFIG_FILE": str(self.user_files / "pip.conf"),
            "TMPDIR": str(self.place.home / "tmp"),
        }
        return self.worker.begin("deploy", environ=environ, check=check).end()

    def holders(self) -> dict[str, list[str]]:
        """The kinds in every file below the place that the user has not written, by path."""
        files = (path for path in self.place.home.rglob("*") if stat.S_ISREG(path.lstat().st_mode) and self.user_files not in path.parents)
        found = {path.relative_to(self.place.home).as_posix(): leaked(path.read_bytes()) for path in files if path.stat().st_size < 1 << 26}
        return {name: kinds for name, kinds in found.items() if kinds}


@pytest.fixture
def careless(clean_place: Place, tmp_path: pathlib.Path) -> t.Iterator[Careless]:
    """With servers for all that it downloads."""
    top = tmp_path / "served"
    write_index(top / "index", [write_wheel(tmp_path / "wheels", "ew_one", "1.0")])
    write_wheel(top / "links", "ew_direct", "1.0")
    (top / "channel").symlink_to(local_channel())
    (top / "t" / PLACES["channel token"].core).mkdir(parents=True)
    (top / "t" / PLACES["channel token"].core / "channel").symlink_to(local_channel())
    with served(top) as host:
        yield Careless(clean_place, host)


def test_nobody_reads_a_secret_that_was_planted_somewhere(careless: Careless) -> None:
    with watched() as commands:
        kept = variables()
        runs = {
            "in check mode": careless.run(kept, check=True).ok(),
            "success": careless.run(kept).ok(),
            "a worker that fails": careless.run(kept, worker_env={"FAILS": "1"}),
            "in check mode, with another secret": careless.run({**kept, "SECRET_NEW": VALUES[0].value()}, check=True).ok(),
            "an environment that fails": careless.run(kept, worker_index_url=PLACES["index_url"].value(), worker_pip=["ew-two"], worker_extra_index_urls=[]),
            "a source that fails": careless.run(kept, worker_dir=PLACES["source"].value()),
        }
    failed = runs["a worker that fails"].failure
    assert (failed["code"], failed["restored"]) == ("start_failed", "Generation 1 serves again.")
    assert any("SECRET_PLAIN is" in line for line in failed["logs"]), "it was printed, so this shows something"
    assert runs["an environment that fails"].failure["stage"] == "environment"
    assert "team/worker.git" in runs["a source that fails"].failure["message"]
    for name, run in runs.items():
        assert leaked(run.output) == [], f"output of {name}"
        assert leaked(json.dumps(run.report)) == [], f"report of {name}"
    assert leaked("\n".join(commands)) == [], [line for line in commands if leaked(line)]
    assert any("uv" in line for line in commands), "installers were seen"
    check_files(careless)
    tell(f"secrets of {len(EVERYTHING)} kinds in none of {len(runs)} runs (output -vvv --diff, log, report, {len(commands)} command lines, files)")


def check_files(careless: Careless) -> None:
    """Files hold secrets only where they must, closed to others; and the process has each as it was written."""
    (row,) = careless.worker.rows().values()
    pairs = dict(each.partition("=")[::2] for each in pathlib.Path(f"/proc/{row['pid']}/environ").read_bytes().decode().split("\0"))
    assert {name: pairs.get(name) for name in variables()} == variables()
    home = careless.worker.home.relative_to(careless.place.home).as_posix()
    kept = careless.holders()
    logs = {name for name in kept if name.startswith(f"{home}/logs/")}
    assert logs == {f"{home}/logs/0.log"}, "what a worker writes is its own matter"
    others = {name: kinds for name, kinds in kept.items() if name not in logs}
    assert others, "it is kept somewhere"
    assert [name for name in others if not name.startswith((f"{home}/secrets/", f"{home}/supervisord/"))] == []
    closed = {name: (careless.place.home / name).stat().st_mode & 0o077 for name in others}
    assert set(closed.values()) == {0}, closed
