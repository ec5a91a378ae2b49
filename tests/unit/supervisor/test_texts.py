# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The texts of units and of supervisord's files, and reading them back."""

from __future__ import annotations

import dataclasses
import json
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import (
    sandbox,
    supervisord_files,
    systemd_units,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Instance, Limits, Restart, Spec, Stamp

LAYOUT = Layout("/opt/w").worker("ew-worker")
SPEC = Spec(LAYOUT, 7, "/opt/w/releases/r", "/opt/w/envs/e/bin/python", user="ew")
INSTANCE = Instance("0", 0, (50051,))
STAMP = Stamp("d1", 7)


def drop_in(version: int = 252, secrets_file: t.Optional[str] = None, instance: Instance = INSTANCE, **changes: t.Any) -> str:
    return systemd_units.drop_in(dataclasses.replace(SPEC, **changes), instance, STAMP, version, secrets_file)


def test_the_template_is_the_same_for_every_instance_and_version() -> None:
    text = systemd_units.template("ew-worker")
    for line in ("Type=exec", "KillMode=mixed", "KillSignal=SIGTERM", "PartOf=ew-worker.target", "WantedBy=ew-worker.target"):
        assert line in text.splitlines()
    assert "Restart" not in text


@pytest.mark.parametrize(
    ("bound", "present", "absent"),
    [
        (None, ["WantedBy=multi-user.target"], ["BindsTo", "After"]),
        ("gw.service", ["BindsTo=gw.service", "After=gw.service", "WantedBy=gw.service"], ["multi-user"]),
    ],
)
def test_the_target_is_bound_and_not_the_instances(bound: t.Optional[str], present: list[str], absent: list[str]) -> None:
    text = systemd_units.target("ew-worker", bound)
    assert set(present) <= set(text.splitlines())
    assert not [word for word in absent if word in text]
    assert "gw.service" not in drop_in(bind_to_unit="gw.service")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["ExecStart=", "ExecStart=/opt/w/envs/e/bin/python -m worker.main --port 50051", "WorkingDirectory=/opt/w/releases/r", "User=ew"]),
        ({}, ["[Unit]", "StartLimitIntervalSec=300", "StartLimitBurst=5", "Restart=always", "RestartSec=2", "TimeoutStopSec=10"]),
        ({"restart": Restart("always", 0.00001, 3, 2_000_000)}, ["RestartSec=0.00001", "StartLimitIntervalSec=2000000"]),
        ({"restart": Restart("on-failure", 0.5, 3, 60)}, ["Restart=on-failure", "RestartSec=0.5", "StartLimitBurst=3", "StartLimitIntervalSec=60"]),
        ({"stop_timeout": 40}, ["TimeoutStopSec=40"]),
        (
            {"arguments": ("--name", "a b", "$HOME", "100%", "", 'say "x"')},
            ['ExecStart=/opt/w/envs/e/bin/python -m worker.main --name "a b" "$$HOME" 100%% "" "say \\"x\\""'],
        ),
        ({"limits": Limits("8G", 1.5, 100, 4000, "infinity")}, ["MemoryMax=8G", "CPUQuota=150%", "TasksMax=100", "LimitNOFILE=4000", "LimitMEMLOCK=infinity"]),
        ({"unit_overrides": (("Service", (("Nice", ("5",)), ("ExecStartPre", ("/a", "/b")))),)}, ["Nice=5", "ExecStartPre=/a", "ExecStartPre=/b"]),
        ({"env": (("JSON", '{"a": "%d\\n"}\nb'),)}, ['Environment="JSON={\\"a\\": \\"%%d\\\\n\\"}\\nb"']),
        ({"writable_paths": ("/srv/x",)}, ["ReadWritePaths=/srv/x", "ReadWritePaths=/opt/w/workers/ew-worker/data/0/state"]),
        ({"activation": (("CONDA_PREFIX", "/opt/w/envs/e"), ("PATH", "/p"))}, ['Environment="CONDA_PREFIX=/opt/w/envs/e"', 'Environment="PATH=/p"']),
    ],
)
def test_the_drop_in_has(changes: dict[str, t.Any], lines: list[str]) -> None:
    found = drop_in(**changes).splitlines()
    assert [line for line in lines if line not in found] == []


def test_the_reset_of_exec_start_comes_first() -> None:
    rows = [line for line in drop_in().splitlines() if line.startswith("ExecStart=")]
    assert rows[0] == "ExecStart="
    assert len(rows) == 2


def test_start_limits_stand_in_the_unit_section() -> None:
    unit, service = drop_in().split("[Service]")
    assert "StartLimitBurst" in unit
    assert "StartLimit" not in service


def test_an_unset_value_has_no_line_and_a_secret_only_a_file() -> None:
    text = drop_in(user="", secrets=(("TOKEN", "hunter22"),))
    assert not [word for word in ("User=", "MemoryMax", "EnvironmentFile", "hunter22") if word in text]
    assert "EnvironmentFile=/s/0.env" in drop_in(secrets_file="/s/0.env").splitlines()


@pytest.mark.parametrize(
    "value", ["", "a b", 'q"q', "back\\slash", "50%", "%h", "two\nlines\ttab", "$HOME", "ü 你", "rare\u2028line end\x85", "\\n", "'", "a=b"]
)
def test_variables_are_read_back_from_a_drop_in_as_they_were(value: str) -> None:
    assert systemd_units.parse_environment(drop_in(env=(("X", value),)))["X"] == value


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (systemd_units.template("w"), True),
        (systemd_units.target("w", None), True),
        (drop_in(), True),
        ("# Written by ew_ai.worker, some version\n[Unit]\n", True),
        ("", False),
        ("[Unit]\nDescription=Multi-User System\n", False),
        ("[Unit]\n# Written by ew_ai.worker\n", False),
    ],
)
def test_a_file_of_ours_is_known_by_its_first_line(text: str, ours: bool) -> None:
    assert systemd_units.is_ours(text) is ours


def test_a_drop_in_tells_its_root() -> None:
    assert systemd_units.root_of(drop_in(), "ew-worker") == "/opt/w"
    assert systemd_units.root_of(drop_in(layout=Layout("/a/workers/ew-worker/data").worker("ew-worker")), "ew-worker") == "/a"
    assert systemd_units.root_of(systemd_units.template("w"), "w") is None
    assert systemd_units.root_of("", "w") is None


def test_a_secrets_file_escapes_what_systemd_undoes() -> None:
    assert systemd_units.secrets_text([("A", 'a"b\\c$d`e\nf'), ("B", "x")]) == 'A="a\\"b\\\\c\\$d\\`e\nf"\nB="x"\n'


@pytest.mark.parametrize(
    ("profile", "version", "present", "absent"),
    [
        ("none", 252, [], ["NoNewPrivileges", "ProtectSystem", "ReadWritePaths", "PrivateDevices"]),
        ("standard", 252, ["ReadOnlyPaths=/run", "ProtectProc=invisible"], ["PrivateIPC"]),
        ("standard", 246, ["ProtectSystem=strict"], ["ProtectProc"]),
        ("standard", 252, ["ProtectSystem=strict", "PrivateDevices=yes", "PrivateTmp=yes", "ProtectHome=yes"], ["MemoryDenyWriteExecute", "ProcSubset"]),
        ("strict", 252, ["MemoryDenyWriteExecute=yes", "ProtectProc=invisible", "PrivateIPC=yes"], []),
        ("strict", 247, ["ProtectProc=invisible"], ["PrivateIPC"]),
        ("strict", 245, ["MemoryDenyWriteExecute=yes"], ["ProtectProc", "PrivateIPC"]),
    ],
)
def test_a_sandbox_profile(profile: str, version: int, present: list[str], absent: list[str]) -> None:
    lines = drop_in(version, sandbox=profile).splitlines()
    assert [line for line in present if line not in lines] == []
    assert [word for word in absent if any(line.startswith(word) for line in lines)] == []


def test_gpus_are_allowed_where_they_are_listed() -> None:
    gpu = dataclasses.replace(INSTANCE, gpus=("GPU-1", "GPU-2"), nodes=("/dev/nvidiactl", "/dev/nvidia1", "/dev/nvidia-caps"))
    lines = drop_in(instance=gpu).splitlines()
    assert "PrivateDevices=yes" in lines
    assert {"BindPaths=-/dev/nvidia1", "BindPaths=-/dev/nvidia-caps"} <= set(lines)
    assert {"DeviceAllow=/dev/nvidia1 rw", "DeviceAllow=char-nvidia-caps rw"} <= set(lines)
    assert "ProcSubset=pid" in drop_in(sandbox="strict").splitlines()
    assert "ProcSubset=pid" not in drop_in(sandbox="strict", instance=gpu).splitlines()
    assert 'Environment="CUDA_VISIBLE_DEVICES=GPU-1,GPU-2"' in lines
    assert 'Environment="CUDA_DEVICE_ORDER=PCI_BUS_ID"' in lines


@pytest.mark.parametrize(
    ("credentials", "key", "loaded"),
    [(True, "/run/credentials/ew-worker@0.service/tls_key", True), (False, "/etc/w/k.pem", False)],
    ids=["systemd", "elsewhere"],
)
def test_tls_files_are_handed_on_as_credentials_where_that_can_be(credentials: bool, key: str, loaded: bool) -> None:
    tls = (("cert", "/etc/w/100%.pem"), ("key", "/etc/w/k.pem"))
    lines = drop_in(tls=tls, credentials=credentials, arguments=("--key", "{tls_key}")).splitlines()
    assert f"ExecStart=/opt/w/envs/e/bin/python -m worker.main --key {key}" in lines
    assert f'Environment="EW_TLS_KEY={key}"' in lines
    assert ("LoadCredential=tls_key:/etc/w/k.pem" in lines, "LoadCredential=tls_cert:/etc/w/100%%.pem" in lines) == (loaded, loaded)


@pytest.mark.parametrize(
    ("root", "rows"),
    [
        ("/opt/w", {"ProtectHome": "yes", "PrivateTmp": "yes"}),
        ("/home/x/w", {"ProtectHome": "read-only", "PrivateTmp": "yes"}),
        ("/tmp/w", {"ProtectHome": "yes"}),
        ("/homes/w", {"ProtectHome": "yes", "PrivateTmp": "yes"}),
    ],
)
def test_what_the_worker_runs_from_is_never_hidden(root: str, rows: dict[str, str]) -> None:
    spec = dataclasses.replace(SPEC, layout=Layout(root).worker("w"), release=f"{root}/r", python=f"{root}/e/bin/python")
    found = dict(sandbox.directives(spec, INSTANCE, 252))
    assert {key: found[key] for key in ("ProtectHome", "PrivateTmp") if key in found} == rows


# supervisord


PATHS = supervisord_files.Paths(LAYOUT, 0)


def test_a_program_is_restarted_by_nobody_but_the_keeper() -> None:
    lines = supervisord_files.program(SPEC, INSTANCE, PATHS).splitlines()
    for line in (
        "[program:ew-worker@0]",
        "autostart=false",
        "autorestart=false",
        "startsecs=0",
        "startretries=0",
        "stopwaitsecs=10",
        "user=ew",
        "killasgroup=true",
    ):
        assert line in lines
    expected = "command=/opt/w/envs/e/bin/python -I -S /opt/w/workers/ew-worker/supervisord/starter.py /opt/w/workers/ew-worker/supervisord/instances/0.json"
    assert expected in lines
    assert "user=" not in supervisord_files.program(dataclasses.replace(SPEC, user=""), INSTANCE, PATHS)


@pytest.mark.parametrize(("uid", "user"), [(0, True), (1000, False)])
def test_only_root_names_a_user_for_supervisord(uid: int, user: bool) -> None:
    text = supervisord_files.configuration("ew-worker", PATHS, "/usr/bin/python3", uid)
    assert ("user=root" in text) is user
    assert "[eventlistener:keeper]" in text
    assert "chmod=0700" in text


def test_percent_is_doubled() -> None:
    odd = supervisord_files.Paths(Layout("/opt/100%").worker("w"), 0)
    assert "logfile=/opt/100%%/workers/w/supervisord/supervisord.log" in supervisord_files.configuration("w", odd, "/p", 0).splitlines()


@pytest.mark.parametrize(
    ("path", "uid", "short"),
    [("/opt/w/supervisor.sock", 0, False), ("/" + "d" * 90, 0, True), ("/" + "d" * 90, 1000, True), ("/" + "é" * 45, 0, True)],
)
def test_a_socket_path_fits_the_kernel(path: str, uid: int, short: bool) -> None:
    found = supervisord_files.socket_path(path, uid)
    assert (found != path) is short
    assert len(found.encode()) <= 90
    if short:
        assert found.startswith("/run/ew_worker-" if uid == 0 else "/tmp/ew_worker-1000-")


def test_an_instance_file_holds_everything_and_shows_no_secret() -> None:
    spec = dataclasses.replace(SPEC, secrets=(("TOKEN", "hunter22"),), env=(("X", 'q"; # %h\n'),))
    text = supervisord_files.instance_text(spec, INSTANCE, STAMP)
    data = json.loads(text)
    assert data["argv"][1:3] == ["-m", "worker.main"]
    assert data["secrets"] == {"TOKEN": "hunter22"}
    assert data["restart"] == {"policy": "always", "delay": 2.0, "burst": 5, "window": 300.0}
    assert supervisord_files.parse_instance(text)["X"] == 'q"; # %h\n'
    shown = supervisord_files.masked(text)
    assert "hunter22" not in shown
    assert "TOKEN" in shown


@pytest.mark.parametrize(
    "text", ["broken hunter22", "[]", '"hunter22"', "{}", '{"environ": 5, "secrets": "hunter22"}', '{"environ": ["hunter22"]}', "[" * 100_000]
)
def test_an_instance_file_that_makes_no_sense_says_nothing(text: str) -> None:
    assert supervisord_files.parse_instance(text) == {}
    assert "hunter22" not in supervisord_files.masked(text)


def test_of_an_instance_file_only_texts_count() -> None:
    assert supervisord_files.parse_instance('{"environ": {"A": "1", "EW_PORTS": 5, "B": null, "C": []}}') == {"A": "1"}
