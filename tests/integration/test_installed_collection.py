# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deploy by name from the collection as its tarball installs it, with no trace of the checkout in sight."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import typing as t

import pytest

from tests.shared import free_ports
from tools.checkout import CHECKOUT
from tools.local.commands import channel_variables, choose_command
from tools.testing.tree import copy_tree

from .clean_room import changed, clean_environment, processes_below, run

PLAYBOOK = pathlib.Path(sys.executable).parent / "ansible-playbook"
GALAXY = pathlib.Path(sys.executable).parent / "ansible-galaxy"


@pytest.fixture
def place() -> t.Iterator[pathlib.Path]:
    """A directory with a short path, as a socket needs it."""
    with tempfile.TemporaryDirectory(prefix="inst-", ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


def write_inventory(place: pathlib.Path) -> pathlib.Path:
    """One host, this machine, as a user without root and systemd has it."""
    choice = subprocess.run(choose_command(sys.executable), cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    variables = {
        **channel_variables(json.loads(choice.stdout)),
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "worker_address": "127.0.0.1",
        "worker_backend": "rattler",
        "worker_become": False,
        "worker_build_user": "",
        "worker_dir": str(CHECKOUT / "examples" / "worker"),
        "worker_minimum_disk_mb": 500,
        "worker_port": free_ports(),
        "worker_root": str(place / "root"),
        "worker_supervisor": "supervisord",
        "worker_user": "",
    }
    inventory = place / "hosts.json"
    inventory.write_text(json.dumps({"workers": {"hosts": {"this": variables}}}), encoding="utf-8")
    return inventory


@pytest.mark.slow
def test_deploy_from_the_installed_tarball(place: pathlib.Path) -> None:
    for name in ("home", "built", "collections", "project"):
        (place / name).mkdir()
    (place / "project" / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environ = clean_environment(place / "home", ANSIBLE_COLLECTIONS_PATH=str(place / "collections"))
    run([GALAXY, "collection", "build", "--output-path", place / "built"], copy_tree(), environ)
    (tarball,) = (place / "built").glob("*.tar.gz")
    run([GALAXY, "collection", "install", tarball, "--collections-path", place / "collections", "--offline"], place / "project", environ)
    inventory = write_inventory(place)

    def play(verb: str, *more: str) -> str:
        return run([PLAYBOOK, f"ew_ai.worker.{verb}", "-i", inventory, *more], place / "project", environ)

    try:
        first = play("deploy")
        assert changed(first)[0] > 0
        assert str(CHECKOUT / "roles") not in first
        assert changed(play("deploy")) == [0]
        assert "running" in play("status")
    finally:
        play("uninstall", "-e", '{"worker_purge": true}')
    assert not (place / "root").exists()
    assert processes_below(place) == []
