# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nobody should get through the variables of the role: one play over as many hosts as there are bad values, each refused by name."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest

from tests.figures import tell
from tests.integration.deploy_driver import EXAMPLES, Place, here
from tests.integration.hostile_variables import SECRET, TABLE
from tests.integration.local_packages import local_channel, python_version
from tests.shared import digest, free_ports
from tools.checkout import CHECKOUT

pytestmark = [pytest.mark.slow]

SPEC = "(lookup('ansible.builtin.file', role_path ~ '/meta/argument_specs.yml') | from_yaml).argument_specs.main.options"


def part(name: str) -> dict[str, t.Any]:
    """One file of the role's tasks. Recovery and report tell the same of every failure, and would take most of the time."""
    return {"name": name.capitalize(), "ansible.builtin.import_role": {"name": "ew_ai.worker.worker", "tasks_from": name}}


# What the role does up to the first thing that it makes; its own validation comes with ``main`` alone.
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "vars": {"role_path": str(CHECKOUT / "roles" / "worker")},
        "tasks": [
            {"name": "Types", "ansible.builtin.validate_argument_spec": {"argument_spec": "{{ " + SPEC + " }}"}},
            part("begin"),
            part("preflight"),
            part("toolchain"),
        ],
    }
]
LONGEST_MESSAGE = 1500


def inventory(place: Place) -> dict[str, t.Any]:
    """A host for each bad value; one root, which nobody may make."""
    good = {
        "worker_root": str(place.root),
        "worker_dir": str(EXAMPLES / "flat-worker"),
        "worker_channels": [local_channel().as_uri()],
        "worker_python_version": python_version(),
        "worker_port": free_ports(),
        "worker_user": "",
        "worker_build_user": "",
    }
    hosts = {}
    for number, (variable, value) in enumerate(TABLE):
        # As in a file of variables, of which nothing is a template.
        hosts[f"h{number:03}"] = {**here(), **good, variable: value}
    return {"all": {"hosts": hosts}}


def messages(path: pathlib.Path) -> dict[str, str]:
    """What the first failed task of each host has said, by host."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        host, text = json.loads(line)
        found.setdefault(host, text)
    return found


def faults(variable: str, value: t.Any, text: str) -> list[str]:
    """What is wrong with a message."""
    found = []
    if not text:
        return ["was taken"]
    # The toolchain's module speaks of its own options.
    if variable not in text and f"'{variable.replace('worker_toolchain_', '')}'" not in text:
        found.append("does not name it")
    if SECRET in text or "Traceback" in text:
        found.append("tells the secret, or where it broke")
    if len(text) > LONGEST_MESSAGE:
        found.append(f"has {len(text)} characters")
    return [f"{each}: {text[:300]!r}" for each in found]


def test_each_is_refused_by_name_before_anything_is_changed(clean_place: Place) -> None:
    place = clean_place
    (place.home / "hosts.json").write_text(json.dumps(inventory(place)))
    (place.home / "play.json").write_text(json.dumps(PLAY))
    before = digest(place.data)
    command = [sys.executable, "-m", "ansible", "playbook", str(place.home / "play.json"), "-i", str(place.home / "hosts.json"), "--forks", "4"]
    environ = {
        **place.environ(),
        "ANSIBLE_CALLBACKS_ENABLED": "failure_lines",
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "callback"),
        "ANSIBLE_PIPELINING": "true",
        "FAILURE_LINES": str(place.home / "failures"),
    }
    done = subprocess.run(command, env=environ, cwd=CHECKOUT, text=True, capture_output=True, check=False, timeout=600)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output[output.index("Traceback") - 500 :][:3000]
    assert SECRET not in output, [line for line in output.splitlines() if SECRET in line]
    said = messages(place.home / "failures")
    wrong = {
        f"{variable}={str(value)[:60]!r}": each
        for number, (variable, value) in enumerate(TABLE)
        if (each := faults(variable, value, said.get(f"h{number:03}", "")))
    }
    assert not wrong, "\n".join(f"{name}: {'; '.join(each)}" for name, each in wrong.items())
    assert digest(place.data) == before, "nothing was made"
    tell(f"hostile variables of the role: {len(TABLE)} refused")
