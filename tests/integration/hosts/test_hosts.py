# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test hosts themselves, for real: what other tests rely on holds on them, and nothing of them stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.ew_ai.worker.tests.hosts import cli, machine
from ansible_collections.ew_ai.worker.tests.hosts.obstacle import obstacle
from ansible_collections.ew_ai.worker.tests.hosts.podman import Podman
from ansible_collections.ew_ai.worker.tests.hosts.spec import Set

CHECKOUT = Path(__file__).resolve().parents[3]
HOSTS = {"w1": "bookworm", "w2": "trixie", "s1": "bookworm/sshd"}
SYSTEMD_HOSTS = ("w1", "w2")

# In the group of all that needs hosts, beside the scenarios: see ../ew_worker/conftest.py
pytestmark = [pytest.mark.molecule, pytest.mark.slow, pytest.mark.xdist_group("test-hosts")]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def tool(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tests.hosts", *argv], cwd=CHECKOUT, text=True, capture_output=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def group() -> Iterator[Set]:
    if obstacle():
        pytest.skip(obstacle())
    group = Set(f"selftest-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}", cli.CHECKOUT)
    tool("down", "--set", group.name)  # what a killed run may have left
    try:
        made = tool("up", "--set", group.name, "--hosts", ",".join(f"{name}={what}" for name, what in HOSTS.items()))
        assert made.returncode == 0, made.stderr
        yield group
    finally:
        tool("down", "--set", group.name)


@pytest.fixture
def on(group: Set) -> Run:
    """Give a function that runs a command on a host, with the very settings that Ansible gets."""
    workers = yaml.safe_load((group.inventory / "hosts.yml").read_text())["workers"]
    options = workers["vars"]["ansible_ssh_common_args"].split()

    def run(host: str, command: str) -> subprocess.CompletedProcess[str]:
        target = f"root@{workers['hosts'][host]['ansible_host']}"
        argv = ["ssh", "-i", workers["vars"]["ansible_ssh_private_key_file"], *options, target, command]
        return subprocess.run(argv, text=True, capture_output=True, check=False, timeout=120)

    return run


@pytest.mark.parametrize("host", SYSTEMD_HOSTS)
def test_a_memory_limit_is_real(on: Run, host: str) -> None:
    grow = "python3 -c 'x = bytearray(200 << 20)'"
    assert on(host, f"systemd-run --quiet --wait --collect --pipe {grow}").returncode == 0
    limited = on(host, f"systemd-run --wait --pipe --unit grow -p MemoryMax=50M -p MemorySwapMax=0 {grow}")
    assert limited.returncode != 0
    assert on(host, "systemctl show --value -p Result grow").stdout.strip() in ("oom-kill", "signal")
    assert on(host, "systemctl reset-failed grow").returncode == 0


@pytest.mark.parametrize("host", SYSTEMD_HOSTS)
@pytest.mark.parametrize(
    ("setting", "command", "refused"),
    [
        ("ProtectSystem=strict", "touch /etc/x", "Read-only file system"),
        ("ProtectSystem=strict", "touch /usr/x", "Read-only file system"),
        ("RestrictAddressFamilies=AF_UNIX", "python3 -c 'import socket; socket.socket()'", "not supported"),
        ("TasksMax=1", "sh -c 'true & wait'", "ork"),
        ("User=nobody", "touch /root/x", "Permission denied"),
    ],
)
def test_the_sandbox_is_real(on: Run, host: str, setting: str, command: str, refused: str) -> None:
    done = on(host, f"systemd-run --quiet --wait --collect --pipe -p {setting} {command}")
    assert done.returncode != 0
    assert refused in done.stdout + done.stderr


@pytest.mark.parametrize("host", SYSTEMD_HOSTS)
def test_a_credential_arrives(on: Run, host: str) -> None:
    command = "printf secret > /root/given; systemd-run --quiet --wait --collect --pipe -p DynamicUser=yes -p LoadCredential=token:/root/given "
    assert on(host, command + "sh -c 'cat $CREDENTIALS_DIRECTORY/token'").stdout == "secret"


def test_without_systemd_pid_1_reaps(on: Run) -> None:
    assert on("s1", "cat /proc/1/comm").stdout.strip() == "tini"
    assert on("s1", "test -d /run/systemd/system").returncode == 1
    # Its parent ends at once, so the sleeper belongs to PID 1, and is a zombie afterwards if nobody reaps it.
    on("s1", "sh -c 'sleep 0.1 >/dev/null 2>&1 & exit'")
    waited = on("s1", "for i in $(seq 600); do pgrep -x sleep >/dev/null || exit 0; sleep 0.1; done; ps -ef; exit 1")
    assert waited.returncode == 0, waited.stdout


@pytest.mark.parametrize("host", HOSTS)
def test_the_package_index_answers(on: Run, group: Set, host: str) -> None:
    variables = yaml.safe_load((group.inventory / "group_vars" / "workers.yml").read_text())
    words = " ".join(f"{name}='{value}'" for name, value in variables["test_environment"].items())
    done = on(host, f"python3 -m venv /root/v && env {words} /root/v/bin/pip -q download --no-deps --dest /root/d six && ls /root/d; rm -r /root/v /root/d")
    assert done.stdout.startswith("six-"), done.stderr


def test_a_host_without_a_route_is_still_reached(on: Run, group: Set) -> None:
    # Any address outside will do: without a route the kernel refuses before a packet leaves.
    connect = "python3 -c \"import socket; s = socket.socket(2, 2); s.connect(('192.0.2.1', 9)); print('route')\""
    for host in ("w1", "s1"):
        assert on(host, connect).stdout.strip() == "route"
        for told in ("changed", "unchanged"):
            assert f"route-off: {told}," in tool("route-off", "--set", group.name, host).stderr
        assert "Network is unreachable" in on(host, connect).stderr
        assert on(host, "getent hosts w2 && python3 -c \"import socket; socket.create_connection(('w2', 22), 5)\"").returncode == 0
        assert tool("route-on", "--set", group.name, host).returncode == 0
        assert on(host, connect).stdout.strip() == "route"


@pytest.mark.parametrize("host", HOSTS)
def test_a_reboot_keeps_disk_and_address_and_ends_processes(on: Run, group: Set, host: str) -> None:
    on(host, "touch /root/kept /run/lost; nohup sleep 4711 >/dev/null 2>&1 &")
    done = tool("reboot", "--set", group.name, host)
    assert done.returncode == 0, done.stderr
    assert on(host, "test -e /root/kept && ! pgrep -f '^sleep 4711'").returncode == 0
    if host in SYSTEMD_HOSTS:
        assert on(host, "test -e /run/lost").returncode == 1


def test_the_same_set_again_is_left_alone(group: Set) -> None:
    podman = Podman(machine.detect())
    before = {name: podman.pid(name) for name in podman.containers(group)}
    same = ",".join(f"{name}={what}" for name, what in HOSTS.items())
    assert "up: unchanged," in tool("up", "--set", group.name, "--hosts", same).stderr
    assert {name: podman.pid(name) for name in podman.containers(group)} == before
    other = tool("up", "--set", group.name, "--hosts", "w1=trixie")
    assert other.returncode == 1
    assert f"run 'down --set {group.name}' first" in other.stderr


def test_nothing_is_left_of_a_set(group: Set) -> None:
    """Last: it takes the set down, after one of its hosts was killed."""
    podman = Podman(machine.detect())
    podman.run(["kill", group.container("w1")])
    assert "down: changed," in tool("down", "--set", group.name).stderr
    assert podman.containers(group) == {}
    assert podman.networks(group) == []
    assert not group.directory.exists()
    assert not group.sockets.exists()
    assert "down: unchanged," in tool("down", "--set", group.name).stderr
