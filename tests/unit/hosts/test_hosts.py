# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of the test hosts: what is asked for, what is run for it, what Ansible is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.ew_ai.worker.tests.hosts import faults, inventory, machine, podman, ready, spec
from ansible_collections.ew_ai.worker.tests.hosts.machine import Machine
from ansible_collections.ew_ai.worker.tests.hosts.spec import Host, HostsError, Set

GROUP = Set("lab", Path("/srv/a checkout"))
WHERE = {"w1": "10.89.0.10", "s1": "10.89.0.11"}
V1, V2 = Machine(cgroup_v1=True), Machine(cgroup_v1=False)
WITH_CA = Machine(True, Path("/etc/machine.pem"), {"PIP_CERT": machine.HOST_CA_BUNDLE})


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("w1=bookworm", (Host("w1", "bookworm"),)),
        ("w1=bookworm/systemd", (Host("w1", "bookworm"),)),
        (" w1=trixie , s1=bookworm/sshd,", (Host("w1", "trixie"), Host("s1", "bookworm", "sshd"))),
    ],
)
def test_hosts_are_parsed(text: str, hosts: tuple[Host, ...]) -> None:
    assert spec.parse_hosts(text) == hosts
    assert spec.parse_hosts(spec.format_hosts(hosts)) == hosts


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "--hosts is empty"),
        ("w1", "'w1' needs the form NAME=SUITE"),
        ("w1=sid", "'w1=sid' needs the form NAME=SUITE"),
        ("w1=trixie/docker", "the kind 'docker' is not one of"),
        ("w1=trixie/", "the kind '' is not one of"),
        ("W_1=trixie", "host name 'W_1' is not usable"),
        ("a" * 25 + "=trixie", "is not usable"),
        ("=trixie", "host name '' is not usable"),
        ("w1=trixie,w1=bookworm", "'w1' is given twice"),
    ],
)
def test_bad_hosts_are_named(text: str, named: str) -> None:
    with pytest.raises(HostsError) as caught:
        spec.parse_hosts(text)
    assert named in str(caught.value)


def test_sets_of_two_checkouts_share_nothing() -> None:
    other = Set("lab", Path("/srv/b"))
    assert GROUP.key != other.key
    assert GROUP.directory != other.directory
    assert GROUP.sockets != other.sockets
    assert GROUP.mac("w1") not in (GROUP.mac("w2"), other.mac("w1"))
    assert GROUP.mac("w1").startswith("02:")
    assert len(GROUP.mac("w1").split(":")) == 6


def test_a_control_socket_has_room_in_its_path() -> None:
    longest = Set("a" * 24, Path("/" + "x" * 200))
    # 40 characters of %C, and 17 that ssh appends while it makes the socket
    assert len(str(longest.sockets)) + 1 + 40 + 17 < 108


@pytest.mark.parametrize(
    ("subnet", "found"),
    [
        ("10.89.0.0/24", {"w1": "10.89.0.10", "s1": "10.89.0.11"}),
        ("10.1.2.128/25", {"w1": "10.1.2.138", "s1": "10.1.2.139"}),
    ],
)
def test_addresses_are_fixed(subnet: str, found: dict[str, str]) -> None:
    assert spec.addresses(subnet, (Host("w1", "trixie"), Host("s1", "trixie"))) == found


def test_a_network_too_small_is_refused() -> None:
    with pytest.raises(HostsError, match="too small for 300 hosts"):
        spec.addresses("10.89.0.0/24", [Host(f"w{index}", "trixie") for index in range(300)])


def test_a_systemd_host_has_its_own_cgroup_namespace() -> None:
    argv = podman.create_argv(GROUP, Host("w1", "trixie"), "image", WHERE, V1)
    assert argv[:5] == ["create", "--name", f"{GROUP.key}-w1", "--hostname", "w1"]
    # SYS_ADMIN without the namespace would let the container remount this machine's own tree.
    assert "--cgroupns=private" in argv[: argv.index("--cap-add")]
    assert "--privileged" not in argv
    assert argv[argv.index("--cap-add") + 1] == "SYS_ADMIN,NET_ADMIN,SYS_NICE"
    assert argv[argv.index("--ip") + 1] == "10.89.0.10"
    assert argv[argv.index("--add-host") + 1] == "s1:10.89.0.11"
    assert not [word for word in argv if "/sys/fs/cgroup" in word]
    assert argv[-2:] == ["image", "/usr/local/sbin/test-host-init"]


def test_an_sshd_host_has_no_rights_and_a_reaper() -> None:
    argv = podman.create_argv(GROUP, Host("s1", "trixie", "sshd"), "image", WHERE, V1)
    assert not {"--cap-add", "--security-opt"} & set(argv)
    assert "--systemd=false" in argv
    assert "tini -- /usr/sbin/sshd -D" in argv[-1]


@pytest.mark.parametrize(("found", "mounted"), [(V1, None), (WITH_CA, "/etc/machine.pem:/etc/ssl/test-ca-bundle.pem:ro")])
def test_the_ca_bundle_is_mounted_read_only(found: Machine, mounted: str | None) -> None:
    argv = podman.create_argv(GROUP, Host("w1", "trixie"), "image", WHERE, found)
    assert (argv[argv.index("--volume") + 1] if "--volume" in argv else None) == mounted


def test_every_object_carries_the_label_of_its_set() -> None:
    label = f"ewtest.set={GROUP.key}"
    assert label in podman.network_argv(GROUP, "w1=trixie")
    for kind in spec.KINDS:
        assert label in podman.create_argv(GROUP, Host("w1", "trixie", kind), "image", WHERE, V2)


def test_the_ipv4_subnet_is_found() -> None:
    rows = [{"name": "n", "subnets": [{"subnet": "fd00::/64", "gateway": "fd00::1"}, {"subnet": "10.1.0.0/24", "gateway": "10.1.0.1"}]}]
    assert podman.address_of(rows) == ("10.1.0.0/24", "10.1.0.1")
    with pytest.raises(HostsError, match="has no IPv4 subnet"):
        podman.address_of([{"name": "n", "subnets": []}])


@pytest.mark.parametrize(
    ("environ", "bundle", "passed_on"),
    [
        ({}, None, {}),
        ({"PIP_CERT": "", "PATH": "/bin"}, None, {}),
        ({"PIP_CERT": "/a.pem"}, "/a.pem", dict.fromkeys(machine.CA_VARIABLES, machine.HOST_CA_BUNDLE)),
        ({"SSL_CERT_FILE": "/b.pem"}, "/b.pem", dict.fromkeys(machine.CA_VARIABLES, machine.HOST_CA_BUNDLE)),
        (
            {"PIP_INDEX_URL": "https://mirror.example/simple", "PIP_EXTRA_INDEX_URL": "file:///srv/simple"},
            None,
            {"PIP_INDEX_URL": "https://mirror.example/simple"},
        ),
    ],
)
def test_the_environment_is_read(environ: dict[str, str], bundle: str | None, passed_on: dict[str, str]) -> None:
    found, variables = machine.read_environment(environ)
    assert (found and str(found)) == bundle
    assert variables == passed_on


@pytest.mark.parametrize(
    ("found", "environ", "conf"),
    [
        (V1, {}, str(machine.FILES / "containers.conf")),
        (V1, {"CONTAINERS_CONF": "/own.conf"}, "/own.conf"),
        (V2, {}, None),
    ],
)
def test_podman_has_own_settings_only_on_cgroup_v1(found: Machine, environ: dict[str, str], conf: str | None) -> None:
    assert machine.podman_environment(found, environ).get("CONTAINERS_CONF") == conf


@pytest.mark.parametrize(("files", "v1"), [(["cgroup.controllers"], False), (["memory", "unified/cgroup.controllers"], True)])
def test_the_cgroup_version_is_detected(tmp_path: Path, files: list[str], v1: bool) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert machine.detect(tmp_path).cgroup_v1 is v1


def test_the_inventory_reaches_each_host(tmp_path: Path) -> None:
    group = Set("lab", tmp_path / "a checkout")
    hosts = (Host("w1", "trixie"), Host("s1", "bookworm", "sshd"))
    directory = inventory.write(group, hosts, WHERE, WITH_CA)
    workers = yaml.safe_load((directory / "hosts.yml").read_text())["workers"]
    assert workers["hosts"] == {
        "w1": {"ansible_host": "10.89.0.10", "test_host_kind": "systemd", "test_host_suite": "trixie"},
        "s1": {"ansible_host": "10.89.0.11", "test_host_kind": "sshd", "test_host_suite": "bookworm"},
    }
    assert workers["vars"]["ansible_pipelining"] is True
    words = workers["vars"]["ansible_ssh_common_args"].split()
    assert workers["vars"]["ansible_ssh_args"] == ""
    assert "-C" not in words
    assert "ControlPersist=60s" in words
    variables = yaml.safe_load((directory / "group_vars" / "workers.yml").read_text())
    assert variables == {
        "test_host_set": "lab",
        "test_ca_bundle": machine.HOST_CA_BUNDLE,
        "test_environment": {"PIP_CERT": machine.HOST_CA_BUNDLE},
    }


def test_without_a_ca_bundle_the_variable_is_not_defined() -> None:
    assert "test_ca_bundle" not in inventory.test_variables(GROUP, V2)


@pytest.mark.parametrize(
    ("kind", "status", "output", "up"),
    [
        ("systemd", 0, "running\n", True),
        ("systemd", 1, "degraded\n", True),
        ("systemd", 1, "starting\n", False),
        ("systemd", 1, "offline\n", False),
        ("systemd", 255, "", False),
        ("sshd", 0, "", True),
        ("sshd", 255, "", False),
    ],
)
def test_a_host_is_up(kind: str, status: int, output: str, up: bool) -> None:
    assert ready.verdict(kind, status, output) is up


def test_the_tool_shares_no_connection_with_ansible() -> None:
    argv = ready.ssh_argv(GROUP, "10.89.0.10", "true")
    # ssh takes the first value of an option
    assert next(word for word in argv if word.startswith("ControlPath")) == "ControlPath=none"
    assert argv[-2:] == ["root@10.89.0.10", "true"]


def test_the_route_is_changed_from_outside() -> None:
    assert faults.route_argv(42, "flush", "default") == ["nsenter", "--target", "42", "--net", "ip", "route", "flush", "default"]
