# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units of an ordinary account (``scope: user``), on real hosts: what works as with the system's, what cannot and says so."""

from __future__ import annotations

import typing as t

import pytest

from tests.hosts.spec import Set
from tests.integration.ew_worker.kit import PORTS, SYSTEMD, TRIXIE, Host, Login, Result, action, ok, wait_until, wanted

ALICE, BOB, CAROL = ("alice", 1500), ("bob", 1501), ("carol", 900)
UNITS = ".config/systemd/user"


@pytest.fixture
def logins(group: Set, request: pytest.FixtureRequest) -> t.Iterator[t.Callable[..., Login]]:
    """Makes accounts on the host that the parameter names; in the end none of them has a worker."""
    made: list[Login] = []

    def make(account: str, uid: int) -> Login:
        made.append(Login(group, request.param, account, uid))
        return made[-1]

    yield make
    for login in made:
        login.as_root(f"loginctl enable-linger {login.account}; systemctl start user@{login.uid}")
        left = login.run("absent")
        login.as_root(f"loginctl disable-linger {login.account}; systemctl stop user@{login.uid}; userdel --remove {login.account}")
        assert not left.get("failed"), left


HERE = pytest.mark.parametrize("logins", [SYSTEMD], indirect=True)
BOTH_VERSIONS = pytest.mark.parametrize("logins", [SYSTEMD, TRIXIE], indirect=True)
Logins = t.Callable[..., Login]


def statuses(result: Result) -> list[str]:
    return [each["status"] for each in ok(result)["actions"]]


def check_what_takes_effect(login: Login, pid: int) -> None:
    """What of the sandbox needs no privilege, limits of the process, overrides; and no user namespace in any version."""
    status = dict(line.split(":\t", 1) for line in login.shell(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert login.systemctl("show w@0 --property=LimitNOFILE,Nice").split() == ["LimitNOFILE=4000", "Nice=5"]
    assert login.as_root("journalctl --no-pager -b | grep -E 'instance.conf:.*(Unknown|Failed to parse|ignoring)'") == ""
    assert login.shell(f"readlink /proc/{pid}/ns/user") == login.shell("readlink /proc/self/ns/user")


@BOTH_VERSIONS
def test_the_life_of_a_worker_without_root(logins: Logins) -> None:
    login = logins(*ALICE)
    args = wanted(login, count=2, secrets={"TOKEN": "hunter22"}, exclusive=True, limits={"files": 4000}, unit_overrides={"Service": {"Nice": 5}})
    told, done = login.run(check=True, **args), login.run(**args)
    assert ok(done)["actions"] == ok(told)["actions"]
    assert (done["supervisor"], done["scope"]) == ("systemd", "user")
    assert ok(login.run(**args))["actions"] == []
    check_what_takes_effect(login, done["instances"][0]["pid"])
    facts = login.facts()
    assert (facts["uid"], facts["environ"]["TOKEN"]) == (login.uid, "hunter22")
    assert login.shell(f"stat -c '%a %U' {login.root}/workers/w/secrets/0.env").strip() == "600 alice"
    assert login.systemctl("is-enabled w@0.service w.target").split() == ["enabled", "enabled"]
    assert "listening" in login.module("ew_worker_info", {"name": "w", "root": login.root, "scope": "user", "logs": 5})["logs"]["0"][-1]["line"]
    login.shell(f"kill -9 {login.info()['0']['pid']}")
    row = wait_until(lambda: next((row for row in login.info().values() if row["restarts"] == 1 and row["state"] == "running"), None))
    assert row["name"] == "0"
    login.shell(f"touch ~/{UNITS}/w@0.service.d/instance.conf")
    assert ok(login.run(**args))["actions"] == [action("unit", "w.target", "reloaded")]
    assert statuses(login.run("stopped")) == ["disabled", "stopped"] * 2
    assert statuses(login.run("started")) == ["enabled", "started"] * 2
    assert statuses(login.run("restarted", only=["1"])) == ["restarted"]
    # Fewer than before, then none: of the account's units nothing is left.
    assert ok(login.run(**wanted(login, exclusive=True)))["removed"] == ["1"]
    ok(login.run("absent"))
    assert login.shell("ls -A ~/.config 2>&1; XDG_RUNTIME_DIR=/run/user/1500 systemctl --user list-units --all --plain --no-legend 'w@*' w.target") == (
        "ls: cannot access '/home/alice/.config': No such file or directory\n"
    )


@HERE
def test_nothing_that_would_have_no_effect_is_taken(logins: Logins) -> None:
    login = logins(*ALICE)
    for option, values in (
        ("sandbox", {"sandbox": "strict"}),
        ("writable_paths", {"writable_paths": ["/srv"]}),
        ("limits.files", {"limits": {"files": 900_000_000}}),
        ("limits.memlock", {"limits": {"memlock": "100T"}}),
    ):
        result = login.run(**wanted(login, **values))
        assert (result.get("code"), result.get("option"), result["changed"]) == ("invalid_option", option, False), result
    delegated = login.shell("cat /sys/fs/cgroup/user.slice/user-1500.slice/user@1500.service/cgroup.controllers 2>/dev/null").split()
    for limit, controller, value in (("memory", "memory", "300M"), ("cpu", "cpu", 1.5), ("tasks", "pids", 50)):
        result = login.run(**wanted(login, limits={limit: value}))
        if controller in delegated:
            ok(result)
        else:
            assert (result.get("code"), result.get("option"), result["changed"]) == ("invalid_option", f"limits.{limit}", False), result
            assert f"no {controller} controller" in result["msg"]


@HERE
def test_without_a_journal_of_its_own_a_file_has_the_logs(logins: Logins) -> None:
    login = logins(*CAROL)  # journald keeps none for accounts of the system
    args = wanted(login, secrets={"TOKEN": "first-hunter22", "PIN": "123456"}, env={"FAULT": "tell"})
    ok(login.run(**args))
    path = f"{login.root}/workers/w/logs/0.log"
    wait_until(lambda: "listening" in login.shell(f"cat {path}"))
    lines = login.module("ew_worker_info", {"name": "w", "root": login.root, "scope": "user", "logs": 5})["logs"]["0"]
    assert "listening" in lines[-1]["line"]
    login.shell(f"head -c 11M /dev/zero | tr '\\0' 'x' >> {path}")
    bad = login.run(**{**args, "env": {"FAULT": "exit"}})
    assert (bad["code"], bad["log"]) == ("start_failed", ["ModuleNotFoundError: No module named 'numpy'"] * len(bad["log"])), bad
    assert bad["remedy"].endswith(f"tail -n 100 {path}")
    assert login.shell(f"ls -s --block-size=1M {path}.1").split()[0] in ("11", "12")


@HERE
def test_two_accounts_and_the_system_have_workers_of_one_name(logins: Logins, group: Set) -> None:
    alice, bob = logins(*ALICE), logins(*BOB)
    system = Host(group, alice.name)
    system.shell("id ew-worker || useradd --system --shell /usr/sbin/nologin ew-worker")
    try:
        pids = {}
        for place, port in zip((alice, bob, system), PORTS):
            args = {**wanted(place), "instances": [{"name": "0", "ports": [port]}]}
            pids[place] = ok(place.run(**args))["instances"][0]["pid"]
        # The port of another's worker is foreign, although worker and instance have the same names.
        taken = alice.run(**{**wanted(alice), "instances": [{"name": "0", "ports": [PORTS[1]]}]})
        assert (taken["code"], "user id 1501, bob" in taken["msg"]) == ("port_in_use", True), taken
        taken = system.run(**{**wanted(system), "instances": [{"name": "0", "ports": [PORTS[0]]}]})
        assert (taken["code"], f"pid {pids[alice]}" in taken["msg"]) == ("port_in_use", True), taken
        ok(alice.run("restarted"))
        ok(bob.run("stopped"))
        assert [place.info()["0"]["pid"] for place in (bob, system)] == [None, pids[system]]
        ok(system.run("absent"))
        assert (alice.info()["0"]["state"], list(bob.info())) == ("running", ["0"])
    finally:
        system.run("absent")
        system.shell(f"rm -rf {system.root}")


@HERE
def test_a_worker_follows_a_unit_of_the_account(logins: Logins) -> None:
    login = logins(*ALICE)
    missing = login.run(**wanted(login, bind_to_unit="gateway.service"))
    assert (missing["code"], missing["option"], missing["changed"]) == ("invalid_option", "bind_to_unit", False)
    login.shell(f"mkdir -p ~/{UNITS} && printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > ~/{UNITS}/gateway.service")
    login.systemctl("daemon-reload")
    login.systemctl("start gateway")
    ok(login.run(**wanted(login, bind_to_unit="gateway.service")))
    login.systemctl("stop gateway")
    wait_until(lambda: login.info()["0"]["state"] == "stopped")
    login.systemctl("start gateway")
    wait_until(lambda: login.info()["0"]["state"] == "running")
    ok(login.run("absent"))
    assert login.shell(f"ls ~/{UNITS}").split() == ["gateway.service"]


@HERE
def test_who_cannot_have_units_is_told_what_to_do(logins: Logins, group: Set) -> None:
    login = logins(*ALICE)
    as_root = Host(group, login.name).run(scope="user", **{**wanted(login), "root": login.root})
    assert (as_root["code"], as_root["changed"]) == ("user_scope_as_root", False)
    ok(login.run(**wanted(login)))
    # The same worker in the other scope would fight for the port.
    for supervisor in ("auto", "systemd", "supervisord"):
        other = login.run(**{**wanted(login), "scope": "system", "supervisor": supervisor})
        assert (other["code"], other["changed"]) == ("other_scope", False), other
    found = login.module("worker_preflight", {"root": login.root, "name": "w", "minimum_disk_mb": 1, "offline": True})
    assert [each["check"] for each in found["failures"]] == ["other_scope"]
    ok(login.run("absent"))
    # Its systemd runs, as during a session, and ends with that: no polkit is on these hosts to ask.
    login.as_root("systemctl stop user@1500; loginctl disable-linger alice; systemctl start user@1500")
    look = {"root": login.root, "name": "w", "minimum_disk_mb": 1, "offline": True, "scope": "user"}
    refused = login.run(**wanted(login))
    assert (refused["code"], "sudo loginctl enable-linger alice" in refused["remedy"]) == ("no_linger", True), refused
    assert [each["check"] for each in login.module("worker_preflight", look)["failures"]] == ["no_linger"]
    assert not login.module("worker_preflight", {**look, "linger": False}).get("failed")
    allowed = ok(login.run(linger=False, **wanted(login)))
    assert "last session of alice" in str(allowed["warnings"])
    login.as_root("systemctl stop user@1500")
    absent = login.run(**wanted(login))
    assert (absent["code"], "sudo loginctl enable-linger alice" in absent["remedy"]) == ("no_user_manager", True), absent
    assert [each["check"] for each in login.module("worker_preflight", look)["failures"]] == ["no_user_manager"]
