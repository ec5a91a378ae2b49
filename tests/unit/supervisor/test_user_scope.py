# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of a login: their texts, the calls, whose instance a process is, and what a login's systemd cannot do."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import supervisors, user_manager
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight, user_scope
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.run import Completed
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import base, options, process, sandbox, systemd, systemd_units
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Found, FoundShared, Instance, Limits, OnDisk, Spec, Stamp
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.plan import Names, Request, make
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.systemd_scope import SYSTEM, of_login

ALICE = user_manager.Login(1500, "alice", "/home/alice")
SCOPE = of_login(ALICE)
LAYOUT = Layout("/home/alice/.local/share/ew_ai_worker").worker("ew-worker")
SPEC = Spec(LAYOUT, 7, f"{LAYOUT.root}/releases/r", f"{LAYOUT.root}/envs/e/bin/python", user="alice")
INSTANCE = Instance("0", 0, (50051,))


def drop_in(log_file: t.Optional[str] = None, **changes: t.Any) -> str:
    return systemd_units.drop_in(dataclasses.replace(SPEC, **changes), INSTANCE, Stamp("d1", 7), 257, None, SCOPE, log_file)


# Texts


def test_units_of_a_login_name_only_what_its_systemd_has() -> None:
    template, target = systemd_units.template("w", SCOPE), systemd_units.target("w", None, SCOPE)
    assert "network-online" not in template
    assert "Type=exec" in template.splitlines()
    assert "WantedBy=default.target" in target.splitlines()
    assert "WantedBy=gw.service" in systemd_units.target("w", "gw.service", SCOPE).splitlines()
    for mark in (template, target, drop_in()):
        assert systemd_units.is_ours(mark)


def test_a_drop_in_has_only_what_needs_no_privilege() -> None:
    lines = drop_in(limits=Limits(files=4000)).splitlines()
    present = ["NoNewPrivileges=yes", "SystemCallFilter=@system-service", "RestrictSUIDSGID=yes", "UMask=0027", "LimitNOFILE=4000", "Restart=always"]
    assert [line for line in present if line not in lines] == []
    absent = ("User=", "CapabilityBoundingSet", "Protect", "Private", "ReadWritePaths", "Device", "StandardOutput")
    assert [line for line in lines if line.startswith(absent)] == []


@pytest.mark.parametrize("profile", ["none", "standard", "strict"])
def test_the_system_gets_every_directive(profile: str) -> None:
    rows = sandbox.directives(dataclasses.replace(SPEC, sandbox=profile), INSTANCE, 257)
    assert SYSTEM.allowed(rows) == rows


@pytest.mark.parametrize("path", ["/home/alice/logs/0.log", "/home/100%/0.log"])
def test_a_log_file_is_read_back_from_a_drop_in(path: str) -> None:
    assert systemd_units.log_file(drop_in(path)) == path
    assert systemd_units.log_file(drop_in()) is None


def test_the_scope_changes_no_digest() -> None:
    """So that the system's instances are not restarted by this version."""
    before = "1d03a3a9def6136a2788d69fb5cf83a7"
    spec = Spec(Layout("/opt/w").worker("ew-worker"), 7, "/opt/w/releases/r", "/opt/w/envs/e/bin/python", user="ew")
    assert process.digest(spec, INSTANCE, "systemd", b"salt") == before


# Calls


def test_every_call_names_the_login_and_finds_its_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[str, ...], t.Mapping[str, str]]] = []

    def record(argv: t.Sequence[str], environ: t.Mapping[str, str], timeout: float) -> Completed:
        calls.append((tuple(argv), environ))
        return Completed(tuple(argv), 0, "systemd 252 (252)\n", "")

    monkeypatch.setattr(systemd, "run", record)
    ours, systems = systemd.Systemd(LAYOUT, None, SCOPE), systemd.Systemd(LAYOUT)
    for each in (ours, systems):
        each.start(["0"])
        each.enable(["0"])
        each.log_tail("0", 5)
    words = [argv[:2] for argv, _environ in calls]
    half = len(words) // 2
    assert set(words[:half]) == {("systemctl", "--user"), ("journalctl", "--user")}
    assert not [argv for argv, _environ in calls[half:] if "--user" in argv]
    assert {environ.get("XDG_RUNTIME_DIR") for _argv, environ in calls[:half]} == {"/run/user/1500"}
    assert {environ.get("DBUS_SESSION_BUS_ADDRESS") for _argv, environ in calls[:half]} == {"unix:path=/run/user/1500/bus"}
    assert {environ.get("XDG_RUNTIME_DIR") for _argv, environ in calls[half:]} == {None}
    assert ours.log_command("0") == "journalctl --user -u ew-worker@0.service -n 100"
    assert ours.show_command("0") == "systemctl --user cat ew-worker@0.service"


@pytest.mark.parametrize(
    ("group", "login", "system"),
    [
        ("/system.slice/system-ew\\x2dworker.slice/ew-worker@0.service", None, "0"),
        ("/user.slice/user-1500.slice/user@1500.service/app.slice/app-ew\\x2dworker.slice/ew-worker@0.service", "0", None),
        ("/machine/user.slice/user-1500.slice/user@1500.service/app.slice/ew-worker@1.service/child", "1", None),
        ("/user.slice/user-1501.slice/user@1501.service/app.slice/app-ew\\x2dworker.slice/ew-worker@0.service", None, None),
        ("/user.slice/user-1500.slice/user@1500.service/app.slice/other@0.service", None, None),
        ("/user.slice/user-1500.slice/session-9.scope", None, None),
        ("", None, None),
    ],
)
def test_whose_instance_a_process_is(group: str, login: t.Optional[str], system: t.Optional[str]) -> None:
    assert (SCOPE.instance("ew-worker", group), SYSTEM.instance("ew-worker", group)) == (login, system)


def test_empty_directories_go_up_to_the_home(tmp_path: pathlib.Path) -> None:
    units = tmp_path / ".config" / "systemd" / "user"
    units.mkdir(parents=True)
    (tmp_path / ".config" / "other").touch()
    base.remove_empty(str(units), above=str(tmp_path))
    assert [path.name for path in (tmp_path / ".config").iterdir()] == ["other"]
    base.remove_empty(str(units), above=str(tmp_path))
    assert tmp_path.is_dir()


# Lingering


NAMES = Names("w", False, ("unit", "w.target"), lambda path: ("unit", path))


@pytest.mark.parametrize(
    ("state", "linger", "account", "enabled", "found", "wanted"),
    [
        ("started", True, "alice", None, "stopped", "alice"),
        ("started", True, "alice", None, "running", "alice"),
        ("started", True, "", None, "stopped", ""),
        ("started", False, "alice", None, "stopped", ""),
        ("present", True, "alice", None, "stopped", ""),
        ("present", True, "alice", True, "stopped", "alice"),
        ("stopped", True, "alice", False, "running", ""),
        ("absent", True, "alice", None, "running", ""),
    ],
)
def test_lingering_is_turned_on_for_what_is_to_stay(state: str, linger: bool, account: str, enabled: t.Optional[bool], found: str, wanted: str) -> None:
    request = Request(state, ("0",), enabled=enabled, linger=linger)
    there = Found("0", state=found, files={"/f": OnDisk("", 0o644, (0, 0))}, enabled=found == "running", pid=5 if found == "running" else None)
    plan = make(request, (), (), {"0": there}, FoundShared(ends_with_session=account), NAMES)
    assert plan.linger == wanted
    assert (("supervisor", "linger/alice", "enabled") in plan.actions(NAMES)) is bool(wanted)


def answers(monkeypatch: pytest.MonkeyPatch, status: t.Optional[int]) -> list[tuple[str, ...]]:
    """Programs end with the status; None: there is no such program. These are polkit and logind, of which the test hosts have no working pair."""
    calls: list[tuple[str, ...]] = []

    def run(argv: t.Sequence[str], *_rest: t.Any, **_options: t.Any) -> Completed:
        calls.append(tuple(argv))
        if status is None:
            raise WorkerError("not_found", "Cannot run it.")
        return Completed(tuple(argv), status, "", "Access denied")

    monkeypatch.setattr(user_manager, "run", run)
    return calls


@pytest.mark.parametrize(("status", "may"), [(0, True), (1, False), (None, False)])
def test_polkit_says_whether_an_account_may_linger(monkeypatch: pytest.MonkeyPatch, status: t.Optional[int], may: bool) -> None:
    calls = answers(monkeypatch, status)
    assert user_manager.may_linger(ALICE) is may
    assert calls[0][:3] == ("pkcheck", "--action-id", "org.freedesktop.login1.set-self-linger")


@pytest.mark.parametrize("status", [0, 1])
def test_an_account_lingers_by_itself_or_says_what_root_is_to_run(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    calls = answers(monkeypatch, status)
    with pytest.raises(WorkerError, match="alice does not linger") if status else contextlib.nullcontext() as caught:
        user_manager.enable_linger(ALICE)
    assert calls == [("loginctl", "--no-ask-password", "enable-linger")]
    if status:
        error = t.cast("t.Any", caught).value
        assert (error.code, error.remedy.startswith("sudo loginctl enable-linger alice")) == ("no_linger", True)


# What cannot be had


@pytest.mark.parametrize(
    ("limits", "controllers", "refused"),
    [
        ({"memory": "1G"}, "memory pids", None),
        ({"memory": "1G"}, "", "limits.memory"),
        ({"cpu": 1.5}, "memory pids", "limits.cpu"),
        ({"tasks": 5}, "memory pids", None),
        ({"tasks": 5}, "", "limits.tasks"),
        ({"files": 4096}, "", None),
        ({"files": 4097}, "", "limits.files"),
        ({"memlock": "8M"}, "", None),
        ({"memlock": "8.5M"}, "", "limits.memlock"),
        ({"memlock": "infinity"}, "", "limits.memlock"),
        ({"memlock": "lots"}, "", "limits.memlock"),
        ({"files": "many"}, "", "limits.files"),
        ({"memory": None, "files": None}, "", None),
    ],
)
def test_a_limit_that_nothing_enforces_is_refused_by_name(limits: dict[str, t.Any], controllers: str, refused: t.Optional[str]) -> None:
    powers = user_manager.Powers(frozenset(controllers.split()), {"files": 4096, "memlock": 8 << 20})
    with pytest.raises(OptionError) if refused else contextlib.nullcontext() as caught:
        user_manager.refuse_limits(limits, powers)
    if refused:
        assert t.cast("t.Any", caught).value.details["option"] == refused


def test_a_process_may_run_under_a_uid_that_no_account_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 2_000_000_001)
    monkeypatch.setenv("HOME", "/somewhere")
    assert user_manager.own_login() == user_manager.Login(2_000_000_001, "2000000001", "/somewhere")


def test_an_account_without_own_limits_is_held_to_none() -> None:
    text = "Max locked memory     unlimited   unlimited   bytes\nMax open files        1024        4096        files\n"
    assert (user_manager.parse_limit(text, "Max open files"), user_manager.parse_limit(text, "Max locked memory")) == (4096, None)
    user_manager.refuse_limits({"memlock": "infinity"}, user_manager.Powers(most={"memlock": None}))


@pytest.mark.parametrize(
    ("asked", "option"),
    [({"sandbox": "strict"}, "sandbox"), ({"writable_paths": ["/srv"]}, "writable_paths"), ({"sandbox": "standard"}, None), ({"sandbox": "none"}, None)],
)
def test_what_needs_privileges_is_refused_by_name(asked: dict[str, t.Any], option: t.Optional[str]) -> None:
    with pytest.raises(OptionError) if option else contextlib.nullcontext() as caught:
        options.refuse_in_user_scope({"sandbox": "standard", "writable_paths": None, **asked})
    if option:
        assert t.cast("t.Any", caught).value.details["option"] == option


@pytest.mark.parametrize(
    ("login", "code", "words"),
    [
        (user_manager.Login(0, "root", "/root"), "user_scope_as_root", "worker_become: false"),
        (user_manager.Login(59_999, "nobody-has-this", "/nowhere"), "no_user_manager", "sudo loginctl enable-linger nobody-has-this"),
    ],
)
def test_who_has_no_systemd_is_told_alone(login: user_manager.Login, code: str, words: str) -> None:
    (found,) = user_scope.check(login, True, {"memory": "1G"}, True)
    assert (found.check, words in found.remedy) == (code, True)


@pytest.mark.parametrize(
    ("supervisor", "version", "codes"),
    [
        ("auto", None, ["no_systemd"]),
        ("systemd", None, ["no_systemd"]),
        ("auto", 246, ["old_systemd"]),
        ("auto", 247, []),
        ("systemd", 257, []),
        # What supervisord cannot do is told by the rules for its options.
        ("supervisord", None, []),
    ],
)
def test_a_host_for_units_of_a_login_has_a_systemd_that_is_new_enough(supervisor: str, version: t.Optional[int], codes: list[str]) -> None:
    wanted = preflight.Wanted("/nowhere/w", "w", (), "127.0.0.1", supervisor, "user", 0)
    host = preflight.Host("Linux", (3, 11, 2), 1500, version, True)
    assert [each.check for each in preflight.check_platform(wanted, host)] == codes
    assert preflight.choose_supervisor(wanted, host) == ("systemd" if supervisor == "auto" else supervisor)


def test_a_worker_is_not_deployed_into_both_scopes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_in_path = tmp_path / "w@0.service.d" / "instance.conf"
    drop_in_path.parent.mkdir()
    layout = Layout("/opt/w").worker("w")
    drop_in_path.write_text(systemd_units.drop_in(Spec(layout, 1, "/r", "/e/bin/python"), INSTANCE, Stamp("d", 1), 252, None))
    with pytest.raises(WorkerError, match="worker_scope: user") as caught:
        supervisors.refuse_other_scope(layout, "system", 1500, str(tmp_path))
    assert (caught.value.code, "-e worker_scope=user -e worker_become=false" in caught.value.remedy) == ("other_scope", True)
    # Root looks at no account's files, and another root is another worker.
    supervisors.refuse_other_scope(layout, "system", 0, str(tmp_path))
    supervisors.refuse_other_scope(Layout("/opt/v").worker("w"), "system", 1500, str(tmp_path))
    monkeypatch.setattr(supervisors, "UNIT_DIRECTORY", str(tmp_path))
    with pytest.raises(WorkerError, match="worker_scope: system"):
        supervisors.refuse_other_scope(layout, "user", 1500, "/nowhere")
