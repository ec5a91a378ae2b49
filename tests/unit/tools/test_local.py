# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `make deploy`, `make status` and `make undeploy` run."""

from __future__ import annotations

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tools.checkout import CHECKOUT
from tools.local import __main__ as cli
from tools.local import commands

PYTHON = "/venv/bin/python"
INVENTORY = ["-i", str(CHECKOUT / "inventories" / "local")]


def playbook(name: str) -> list[str]:
    return ["/venv/bin/ansible-playbook", str(CHECKOUT / "playbooks" / f"{name}.yml"), *INVENTORY]


@pytest.mark.parametrize(
    ("choice", "variables"),
    [
        ({"channel": "conda-forge", "python_version": None}, {"worker_channels": ["conda-forge"]}),
        ({"channel": "file:///c", "python_version": "3.11.7"}, {"worker_channels": ["file:///c"], "worker_python_version": "3.11.7"}),
    ],
)
def test_a_packed_channel_brings_its_python(choice: dict[str, str | None], variables: dict[str, object]) -> None:
    assert commands.channel_variables(choice) == variables


@pytest.mark.parametrize(
    ("verb", "variables", "extra", "command"),
    [
        ("deploy", {"worker_channels": ["c"]}, [], [*playbook("deploy"), "-e", '{"worker_channels": ["c"]}']),
        ("deploy", {"a": 1}, ["-e", "a=2", "--check"], [*playbook("deploy"), "-e", '{"a": 1}', "-e", "a=2", "--check"]),
        ("status", {}, [], playbook("status")),
        ("undeploy", {}, ["-v"], [*playbook("uninstall"), "-e", '{"worker_purge": true}', "-v"]),
    ],
)
def test_playbook_commands(verb: str, variables: dict[str, object], extra: list[str], command: list[str]) -> None:
    assert commands.playbook_command(PYTHON, verb, variables, extra) == command
    assert pathlib.Path(command[1]).is_file()


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"XDG_DATA_HOME": "/data", "HOME": "/h"}, "/data/ew_ai_worker/workers/ew-worker/endpoints.json"),
        ({"XDG_DATA_HOME": "", "HOME": "/h"}, "/h/.local/share/ew_ai_worker/workers/ew-worker/endpoints.json"),
        ({"HOME": "/h"}, "/h/.local/share/ew_ai_worker/workers/ew-worker/endpoints.json"),
    ],
)
def test_endpoints_are_where_the_inventory_puts_the_root(environ: dict[str, str], path: str) -> None:
    assert commands.endpoints_file(environ) == pathlib.Path(path)


@pytest.mark.parametrize(
    ("environ", "extra", "refused"),
    [
        ({"HOME": "/home/工作"}, [], False),
        ({"HOME": "/home/bo b"}, [], True),
        ({"HOME": "/home/bo b", "XDG_DATA_HOME": "/data"}, [], False),
        ({"HOME": "/h", "XDG_DATA_HOME": "/da:ta"}, [], True),
        ({"HOME": "/home/bo b"}, ["-e", "worker_root=/x"], False),
    ],
)
def test_a_root_that_cannot_be_is_refused_with_the_way_out(environ: dict[str, str], extra: list[str], refused: bool) -> None:
    problem = commands.root_problem(environ, extra)
    assert bool(problem) is refused
    assert ("XDG_DATA_HOME=" in problem) is refused


@pytest.mark.parametrize(
    ("statuses", "address"),
    [(["serving"], "127.0.0.1:1"), (["stopped", "serving"], "127.0.0.1:2"), (["not_serving"], None), ([], None)],
)
def test_the_first_endpoint_that_serves_is_called(statuses: list[str], address: str | None) -> None:
    rows = [{"instance": f"i{port}", "address": "127.0.0.1", "port": port, "status": status} for port, status in enumerate(statuses, 1)]
    assert commands.serving(json.dumps({"worker": "w", "endpoints": rows})) == address


def test_ctrl_c_leaves_the_command_to_end_in_its_own_way() -> None:
    child = "trap 'sleep 0.5; echo tidied up; exit 1' INT; echo ready; while :; do sleep 0.1; done"
    program = f"from tools.local.__main__ import run; run(['sh', '-c', {child!r}])"
    command = [sys.executable, "-c", program]
    # Where these tests are a shell's background job the signal is ignored, and children inherit that.
    takes_signal = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=takes_signal
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert output == "tidied up\n"
    assert errors.endswith("KeyboardInterrupt\n")


def test_an_interrupted_verb_says_what_to_do_next(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without ansible-playbook: the verb is a mock that is interrupted."""

    def interrupted(_verb: str, _extra: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "act", interrupted)
    monkeypatch.setattr(sys, "argv", ["tools.local", "deploy"])
    assert cli.main() == 130
    assert "`make deploy` goes on from here" in capsys.readouterr().err
