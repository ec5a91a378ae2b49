# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs tasks of the collection through Ansible itself, action plugins included, on this machine as the host."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing as t

from tests.integration.module_driver import collections_path
from tools.checkout import unmeasured

Args = t.Mapping[str, t.Any]


def task_environment(home: pathlib.Path) -> dict[str, str]:
    """No configuration of this machine, no coverage (see ``deploy_driver``), and ``home`` for all that Ansible and the collection keep."""
    configuration = home / "ansible.cfg"
    configuration.touch()
    kept = {name: value for name, value in unmeasured(os.environ).items() if not name.startswith(("ANSIBLE_", "XDG_"))}
    return {
        **kept,
        "ANSIBLE_CALLBACKS_ENABLED": "result_lines",
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "callback"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections_path()),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_PIPELINING": "true",
        "ANSIBLE_REMOTE_TEMP": str(home / "remote"),
        "XDG_CACHE_HOME": str(home / "cache"),
    }


class Play:
    """A play with tasks of one module; after each failure it goes on."""

    def __init__(
        self,
        name: str,
        tasks: t.Sequence[Args],
        home: pathlib.Path,
        check: bool = False,
        python: str = sys.executable,
        keywords: t.Optional[Args] = None,
        **variables: t.Any,
    ) -> None:
        """name: of ours, or with its collection. python: the interpreter on the "host". keywords: of each task. variables: of the play."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="play-", dir=home))
        self.results_path = self.directory / "results"
        known = {"ansible_connection": "local", "ansible_python_interpreter": python, **variables}
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": known,
            "tasks": [{name if "." in name else f"ew_ai.worker.{name}": args, "ignore_errors": True, **(keywords or {})} for args in tasks],
        }
        playbook = self.directory / "play.json"
        playbook.write_text(json.dumps([play]))
        self.argv = [sys.executable, "-m", "ansible", "playbook", "--inventory=localhost,", "--diff", *(["--check"] if check else []), str(playbook)]
        self.environ = {**task_environment(home), "RESULT_LINES": str(self.results_path)}

    def start(self, cwd: t.Optional[pathlib.Path] = None) -> subprocess.Popen[str]:
        """The process, in a group of its own, with its output in one pipe."""
        return subprocess.Popen(
            self.argv, env=self.environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def results(self) -> list[dict[str, t.Any]]:
        """What the tasks that have ended returned, failed ones included (``failed: true``)."""
        return [json.loads(line) for line in self.results_path.read_text().splitlines()] if self.results_path.exists() else []


def run_tasks(name: str, tasks: t.Sequence[Args], home: pathlib.Path, cwd: t.Optional[pathlib.Path] = None, **options: t.Any) -> list[dict[str, t.Any]]:
    """The result of each task. options: those of ``Play``."""
    play = Play(name, tasks, home, **options)
    with play.start(cwd) as process:
        output, _nothing = process.communicate(timeout=300)
    assert "Traceback" not in output, output
    assert len(play.results()) == len(tasks), output
    return play.results()


def run_task(name: str, args: Args, home: pathlib.Path, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """The task's result. options: those of ``Play``, and cwd."""
    return run_tasks(name, [args], home, check=check, **options)[0]
