# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What nobody should get through the variables of the role: each bad value is refused by name, before the lease is taken or anything else is changed."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.figures import tell
from tests.integration.deploy_driver import EXAMPLES, Place, here
from tests.integration.hostile_variables import ANY_VALUE, HIDES, SECRET, TABLE
from tests.integration.local_packages import local_channel, python_version
from tests.shared import digest, free_ports
from tools.checkout import CHECKOUT

pytestmark = [pytest.mark.slow]

SPEC: dict[str, t.Any] = yaml.safe_load((CHECKOUT / "roles" / "worker" / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
OPTIONS: dict[str, t.Any] = SPEC["main"]["options"]


def part(name: str) -> dict[str, t.Any]:
    """One file of the role's tasks. Recovery and report tell the same of every failure, and would take most of the time."""
    return {"name": name.capitalize(), "ansible.builtin.import_role": {"name": "ew_ai.worker.worker", "tasks_from": name}}


# What the role does before anything is made: nothing bad may get further. Its own validation comes with ``main`` alone.
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        # The defaults, which the first task reads too, look for a file beside them.
        "vars": {"role_path": str(CHECKOUT / "roles" / "worker")},
        "tasks": [
            {"name": "Types", "ansible.builtin.validate_argument_spec": {"argument_spec": OPTIONS}},
            part("begin"),
            part("preflight"),
        ],
    }
]
LONGEST_MESSAGE = 1500


Variable = tuple[str, t.Any]


def is_typed(variable: str, value: t.Any) -> bool:
    """Whether the type alone is wrong. The types are looked at first, and nothing else then."""
    return bool(ArgumentSpecValidator(OPTIONS).validate({variable: value}).error_messages)


def packed(cases: t.Sequence[Variable]) -> list[list[Variable]]:
    """Several bad values for one host, since all are told at once: never two of which one would hide the other."""
    hosts: list[tuple[list[Variable], set[str]]] = []
    for variable, value in cases:
        typed = is_typed(variable, value)
        kinds = {f"type {variable}"} if typed else {variable, *HIDES.get(variable, ())}
        fitting = (each for each in hosts if not kinds & each[1] and typed == any(kind.startswith("type ") for kind in each[1]))
        host = next(fitting, None)
        if host is None:
            hosts.append(host := ([], set()))
        host[0].append((variable, value))
        host[1].update(kinds)
    return [values for values, _kinds in hosts]


def untold(values: t.Sequence[Variable], texts: t.Sequence[str]) -> list[Variable]:
    """Those values of a host that it has said nothing of, or all where it has said something wrong."""
    missing = [(variable, value) for variable, value in values if not any(variable in each for each in texts)]
    return list(values) if faults([each for each in values if each not in missing], texts) else missing


def told(place: Place, hosts: t.Sequence[t.Sequence[Variable]]) -> list[list[str]]:
    """What the first failed task of each host has said, one text for each thing; a host has these values, and good ones of all other variables."""
    good = {
        "worker_root": str(place.root),
        "worker_dir": str(EXAMPLES / "flat-worker"),
        "worker_channels": [local_channel().as_uri()],
        "worker_python_version": python_version(),
        "worker_port": free_ports(),
        "worker_user": "",
        "worker_build_user": "",
    }
    # As in a file of variables, of which nothing is a template.
    inventory = {f"h{number:03}": {**here(), **good, **dict(values)} for number, values in enumerate(hosts)}
    (place.home / "hosts.json").write_text(json.dumps({"all": {"hosts": inventory}}))
    (place.home / "play.json").write_text(json.dumps(PLAY))
    failures = place.home / "failures"
    failures.write_text("")
    command = [sys.executable, "-m", "ansible", "playbook", str(place.home / "play.json"), "-i", str(place.home / "hosts.json"), "--forks", "4"]
    environ = {
        **place.environ(),
        "ANSIBLE_CALLBACKS_ENABLED": "failure_lines",
        "ANSIBLE_CALLBACK_PLUGINS": str(pathlib.Path(__file__).parent / "callback"),
        "ANSIBLE_PIPELINING": "true",
        "FAILURE_LINES": str(failures),
    }
    done = subprocess.run(command, env=environ, cwd=CHECKOUT, text=True, capture_output=True, check=False, timeout=600)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output[output.index("Traceback") - 500 :][:3000]
    assert SECRET not in output, [line for line in output.splitlines() if SECRET in line]
    found: dict[str, list[str]] = {}
    for line in failures.read_text(encoding="utf-8").splitlines():
        host, texts = json.loads(line)
        found.setdefault(host, texts)
    return [found.get(host, []) for host in inventory]


def faults(values: t.Sequence[Variable], texts: t.Sequence[str]) -> list[str]:
    """What is wrong with what a host has said of these values."""
    # Ansible tells of several dictionaries in one sentence that they have keys which nobody knows.
    if len(texts) < sum(not is_typed(*each) for each in values):
        return [f"says {len(texts)} things of {len(values)}: {[each[:300] for each in texts]}"]
    found = [f"names no {variable}: {[each[:300] for each in texts]}" for variable, _value in values if not any(variable in each for each in texts)]
    for text in texts:
        if not any(variable in text for variable, _value in values):
            found.append(f"says more: {text[:300]!r}")
        if SECRET in text or "Traceback" in text:
            found.append(f"tells the secret, or where it broke: {text[:300]!r}")
        if len(text) > LONGEST_MESSAGE:
            found.append(f"has {len(text)} characters: {text[:300]!r}")
    return found


def test_each_is_refused_by_name_before_anything_is_changed(clean_place: Place) -> None:
    place = clean_place
    before = digest(place.data)
    hosts = packed(TABLE)
    # What is not told in company may still be told alone.
    alone = [[each] for values, texts in zip(hosts, told(place, hosts), strict=True) for each in untold(values, texts)]
    found = zip(alone, told(place, alone) if alone else [], strict=True)
    wrong = [f"{values[0][0]}={str(values[0][1])[:60]!r}: {'; '.join(each)}" for values, texts in found if (each := faults(values, texts))]
    assert not wrong, "\n".join(wrong)
    assert digest(place.data) == before, "nothing was made"
    tell(f"hostile variables of the role: {len(TABLE)} refused, {len(TABLE) - len(alone)} of them on {len(hosts)} hosts and {len(alone)} one by one")


def test_every_variable_is_in_the_table() -> None:
    assert set(OPTIONS) - {variable for variable, _value in TABLE} == set(ANY_VALUE)
    others = {variable for entry in SPEC.values() for variable in entry["options"]} - set(OPTIONS)
    assert others == set(), "an entry point has one that main has not"
