# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A deploy by name from the collection as its tarball installs it, with no trace of the checkout in sight."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest

from tests.shared import free_ports
from tools.checkout import CHECKOUT
from tools.local.commands import channel_variables, choose_command
from tools.testing.interpreters import behind_shim, starts
from tools.testing.tree import copy_tree

from .clean_room import changed, clean_environment, processes_below, run

OWN = pathlib.Path(sys.executable).parent
# ansible-core 2.21, the newest, has given up older ones.
NEWEST_PYTHONS = ("3.13", "3.12", "3.14")


@pytest.fixture
def place() -> t.Iterator[pathlib.Path]:
    """A directory with a short path, as a socket needs it."""
    with tempfile.TemporaryDirectory(prefix="inst-", ignore_cleanup_errors=True) as name:
        yield pathlib.Path(name)


def write_inventory(place: pathlib.Path, python: pathlib.Path) -> pathlib.Path:
    """One host, this machine, as a user without root and systemd has it. python: what the modules run on."""
    choice = subprocess.run(choose_command(sys.executable), cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True)
    variables = {
        **channel_variables(json.loads(choice.stdout)),
        "ansible_connection": "local",
        "ansible_python_interpreter": str(python),
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


def newest(place: pathlib.Path) -> pathlib.Path:
    """The programs of an environment with the newest ansible-core that requirements/deploy.txt pins, for whatever Python it does so."""
    names = [f"python{version}" for version in NEWEST_PYTHONS]
    found = next((python for name in names for python in (shutil.which(name), behind_shim(name)) if python and starts(python)), None)
    if found is None:
        pytest.skip(f"there is no Python for the newest ansible-core here: {', '.join(names)}")
    text = (CHECKOUT / "requirements" / "deploy.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^ansible-core==(\S+) ; .*\n(?:    .*\n)+", text, re.MULTILINE)
    assert len(pins) == 2, pins
    # The newer pin, without the marker that keeps it from this Python.
    text = re.sub(rf"^ansible-core=={re.escape(pins[0])} ; .*\n(?:    .*\n)+", "", text, flags=re.MULTILINE)
    text = re.sub(rf"^(ansible-core=={re.escape(pins[1])}) ;.*$", r"\1 \\", text, flags=re.MULTILINE)
    (place / "newest.txt").write_text(text, encoding="utf-8")
    subprocess.run([found, "-m", "venv", str(place / "newest")], check=True, timeout=300)
    programs = place / "newest" / "bin"
    run([programs / "python", "-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "-r", place / "newest.txt"], place, dict(os.environ))
    return programs


@pytest.mark.slow
@pytest.mark.parametrize("core", ["pinned", "newest"])
def test_deploy_from_the_installed_tarball(place: pathlib.Path, core: str) -> None:
    programs = newest(place) if core == "newest" else OWN
    for name in ("home", "built", "collections", "project"):
        (place / name).mkdir()
    (place / "project" / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    environ = clean_environment(place / "home", ANSIBLE_COLLECTIONS_PATH=str(place / "collections"))
    run([programs / "ansible-galaxy", "collection", "build", "--output-path", place / "built"], copy_tree(), environ)
    (tarball,) = (place / "built").glob("*.tar.gz")
    run([programs / "ansible-galaxy", "collection", "install", tarball, "--collections-path", place / "collections", "--offline"], place / "project", environ)
    inventory = write_inventory(place, programs / "python")

    def play(verb: str, *more: str) -> str:
        return run([programs / "ansible-playbook", f"ew_ai.worker.{verb}", "-i", inventory, *more], place / "project", environ)

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
