# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Debian 11: Python 3.9, systemd 247 and an old C library, from the first deploy to uninstall."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from tests.figures import tell
from tests.molecule.fleet import Fleet, Run, copy_example
from tests.molecule.plugin import Expect
from tools.checkout import CHECKOUT

HOST = "w2"
ROOT = "/opt/ew_ai_worker"


@pytest.fixture(scope="module")
def variables(fleet: Fleet) -> dict[str, t.Any]:
    """A worker for Python 3.9, from what prepare.yml has put on the host."""
    source = copy_example("worker", fleet.directory / "worker-3.9")
    (source / "requirements.txt").write_bytes((CHECKOUT / "molecule" / "walls" / "worker-3.9.txt").read_bytes())
    return {
        "worker_dir": str(source),
        "worker_python_version": "3.9",
        "worker_channels": ["file:///srv/channel-3.9"],
        "worker_find_links": ["/srv/packages/wheels"],
        "worker_toolchain_find_links": ["/srv/packages/wheels"],
        "worker_offline": True,
        "worker_secrets": {"TOKEN": "kept from others"},
        "worker_limits": {"memory": "1G"},
    }


@pytest.fixture(scope="module")
def play(fleet: Fleet, variables: dict[str, t.Any]) -> t.Callable[..., Run]:
    """Run a playbook for that host."""

    def act(verb: str, *options: str, status: int = 0, **more: t.Any) -> Run:
        return fleet.play(verb, *options, limit=HOST, status=status, **{**variables, **more})

    return act


def test_a_python_for_a_newer_c_library_is_refused_by_its_name(play: t.Callable[..., Run], expect: Expect) -> None:
    newer: dict[str, t.Any] = {"worker_channels": ["file:///srv/packages/channel"], "worker_python_version": "3"}
    failure = play("deploy", status=2, **newer).host(HOST)["failure"]
    expect("newer C library: code and stage", ("unsatisfiable", "environment"), (failure["code"], failure["stage"]))
    expect("newer C library: named", True, "__glibc" in failure["message"])


def test_deploy_and_second_run(fleet: Fleet, play: t.Callable[..., Run], expect: Expect) -> None:
    run = play("deploy")
    tell(f"first deploy to Debian 11 with Python 3.9: {run.seconds:.0f} s")
    expect("Debian 11: code that answers", "1", fleet.infer(HOST)["code_version"])
    running = fleet.on(HOST, "tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value ew-worker@0)/cmdline")
    expect("Debian 11: the worker's Python", f"{ROOT}/envs/", running[: len(f"{ROOT}/envs/")])
    expect("Debian 11: memory limit", str(1 << 30), fleet.on(HOST, "systemctl show -p MemoryMax --value ew-worker@0"))
    expect("Debian 11: account", "ew-worker", fleet.on(HOST, "stat -c %U /proc/$(systemctl show -p MainPID --value ew-worker@0)"))
    expect("Debian 11: second run", {HOST: 0}, play("deploy").changed)


def test_life_and_end(fleet: Fleet, play: t.Callable[..., Run], variables: dict[str, t.Any], expect: Expect) -> None:
    source = pathlib.Path(variables["worker_dir"])
    (source / "worker" / "version.py").write_text('CODE_VERSION = "2"\n', encoding="utf-8")
    play("deploy")
    expect("Debian 11: after a change", "2", fleet.infer(HOST)["code_version"])
    play("rollback")
    expect("Debian 11: after the rollback", "1", fleet.infer(HOST)["code_version"])
    play("uninstall", worker_purge=True)
    expect("Debian 11: what is left", "", fleet.on(HOST, f"ls -A {ROOT} /etc/systemd/system/ew-worker* 2>/dev/null", check=False))
