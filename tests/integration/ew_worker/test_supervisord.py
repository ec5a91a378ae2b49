# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only supervisord does: its own death, its socket, its keeper, an ordinary user, and what it cannot honour."""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest
import supervisor

from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.supervisord import Supervisord
from tests.integration.ew_worker.kit import PORTS, Here, Place, action, copy_library, ok, wait_until, wanted

pytestmark = pytest.mark.parametrize("place", ["supervisord"], indirect=True)


def supervisord_pid(place: Place) -> int:
    return int(place.shell(f"cat {place.root}/workers/w/supervisord/supervisord.pid"))


def socket_of(place: Place) -> str:
    rows = pathlib.Path(place.root, "workers/w/supervisord/supervisord.conf").read_text().splitlines()
    return next(row.removeprefix("file=") for row in rows if row.startswith("file="))


def gone(pid: int) -> bool:
    return not is_alive(pid)


def test_workers_that_outlived_their_supervisord_are_ended_before_it_starts_again(place: Place) -> None:
    args = wanted(place, count=2)
    ok(place.run(**args))
    before = place.info()
    place.shell(f"kill -9 {supervisord_pid(place)}")
    rows = wait_until(lambda: (found := place.info())["0"]["state"] == "failed" and found)
    assert [(row["result"], row["pid"]) for row in rows.values()] == [("orphaned", before[name]["pid"]) for name in ("0", "1")]
    assert "left it behind" in rows["0"]["reason"]
    result = ok(place.run(**args))
    assert result["actions"] == [
        action("supervisor", "workers/w/supervisord", "started"),
        action("instance", "w@0", "started"),
        action("instance", "w@1", "started"),
    ]
    assert all(gone(row["pid"]) for row in before.values())
    assert ok(place.run(**args))["changed"] is False


def test_orphans_can_be_stopped_and_removed_too(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    before = place.info()
    place.shell(f"kill -9 {supervisord_pid(place)}")
    ok(place.run("stopped", only=["0"]))
    assert gone(before["0"]["pid"])
    assert not gone(before["1"]["pid"])
    ok(place.run("absent"))
    assert gone(before["1"]["pid"])
    assert place.info() == {}


def test_a_process_that_only_says_that_it_is_an_instance_is_none(place: Place) -> None:
    ok(place.run(**wanted(place)))
    pid = supervisord_pid(place)
    place.shell(f"kill {pid}")
    wait_until(lambda: gone(pid))
    precious = pathlib.Path(place.root, "precious.json")
    precious.write_text("{}")
    says = {"EW_WORKER": "w", "EW_STATE_DIR": f"{place.root}/workers/w/data/0/state"}
    # The first would lead the file names of an instance elsewhere; the second is somebody else's, where that can be tried.
    planted = [
        subprocess.Popen(["/bin/sleep", "600"], env={**says, "EW_INSTANCE": "../../../../precious"}),
        *([subprocess.Popen(["/bin/sleep", "600"], env={**says, "EW_INSTANCE": "0"}, user=65534)] if os.geteuid() == 0 else []),
    ]
    try:
        assert {name: (row["state"], row["pid"]) for name, row in place.info(logs=5).items()} == {"0": ("stopped", None)}
        ok(place.run("absent"))
        assert precious.exists()
        assert [process.poll() for process in planted] == [None] * len(planted)
    finally:
        for process in planted:
            process.kill()
            process.wait()


def test_a_second_supervisord_never_starts_where_the_socket_was_deleted(place: Place) -> None:
    args = wanted(place)
    ok(place.run(**args))
    pid = supervisord_pid(place)
    os.unlink(socket_of(place))
    result = place.run(**args)
    assert (result["code"], result["pid"]) == ("supervisor_unreachable", pid)
    assert f"kill {pid}" in result["remedy"]
    assert not gone(pid)
    place.shell(f"kill {pid}")
    wait_until(lambda: gone(pid))
    assert ok(place.run(**args))["instances"][0]["state"] == "running"


def test_after_an_orderly_end_of_supervisord_the_enabled_instances_come_back_with_it(place: Place) -> None:
    ok(place.run(**wanted(place, count=2)))
    ok(place.run("stopped", only=["1"]))
    pid = supervisord_pid(place)
    place.shell(f"kill {pid}")
    wait_until(lambda: gone(pid))
    assert [row["state"] for row in place.info().values()] == ["stopped", "stopped"]
    directory = f"{place.root}/workers/w/supervisord"
    # What a machine's own start script would run.
    place.shell(f"{sys.executable} {directory}/launcher.py {directory}/supervisord.lock {directory}/supervisord.conf")
    wait_until(lambda: [row["state"] for row in place.info().values()] == ["running", "stopped"])
    assert ok(place.run("started", only=["0"]))["changed"] is False


def test_the_keeper_is_started_again_and_catches_up(place: Place) -> None:
    ok(place.run(**wanted(place, restart={"delay": 0.2})))
    before = place.info()["0"]
    keeper = place.shell("pgrep -f keeper.py.*" + place.root).split()[0]
    place.shell(f"kill -STOP {keeper}; kill -9 {before['pid']}")
    wait_until(lambda: place.info()["0"]["pid"] is None)
    place.shell(f"kill -9 {keeper}")
    row = wait_until(lambda: next((row for row in place.info().values() if row["state"] == "running"), None))
    assert (row["pid"] != before["pid"], row["restarts"]) == (True, 1)


def test_a_stop_is_not_undone_by_a_restart_that_is_due(place: Place) -> None:
    ok(place.run(**wanted(place, restart={"delay": 30})))
    place.shell(f"kill -9 {place.info()['0']['pid']}")

    def entry() -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(place.shell(f"cat {place.root}/workers/w/supervisord/keeper.json"))["0"])

    wait_until(lambda: entry()["due"] is not None)
    assert place.info()["0"]["state"] == "starting"
    ok(place.run("stopped"))
    assert (entry()["held"], entry()["due"]) == (True, None)
    assert ok(place.run("stopped"))["changed"] is False


def test_one_that_came_back_by_itself_meanwhile_is_stopped_before_it_starts_as_another(place: Place) -> None:
    """It waited for its next start when it was looked at, and runs by the time of its start, as what it was before."""
    ok(place.run(**wanted(place)))
    before = place.info()["0"]
    ok(place.run("present", **wanted(place, env={"COLOR": "blue"})))
    assert Supervisord(Layout(place.root).worker("w")).start(["0"]) == ""
    after = wait_until(lambda: (found := place.info()["0"])["state"] == "running" and found)
    assert after["effective"] != before["effective"]
    assert gone(before["pid"])


@pytest.mark.parametrize("policy", ["no", "on-failure"])
def test_the_policy_decides_about_a_restart(place: Place, policy: str) -> None:
    ok(place.run(**wanted(place, env={"FAULT": "late:8"}, restart={"policy": policy, "delay": 0.1, "burst": 2, "window": 600})))
    row = wait_until(lambda: next((row for row in place.info().values() if row["state"] == "failed"), None), timeout=180)
    assert row["restarts"] == (0 if policy == "no" else 1)
    assert row["exit_status"] == 7


def test_what_a_killed_worker_left_behind_is_ended(place: Place) -> None:
    ok(place.run(**wanted(place, env={"FAULT": "child"}, restart={"delay": 0.2})))
    pid = place.info()["0"]["pid"]
    children = wait_until(lambda: place.shell(f"pgrep -P {pid}").split())
    place.shell(f"kill -9 {pid}")
    wait_until(lambda: all(gone(int(child)) for child in children))


def test_changing_one_instance_leaves_the_other_alone(place: Place) -> None:
    args = wanted(place, count=2)
    ok(place.run(**args))
    before = place.info()
    # A change that supervisord itself must learn, not only the starter.
    ok(place.run(only=["1"], **{**args, "stop_timeout": 33}))
    after = place.info()
    assert after["0"]["pid"] == before["0"]["pid"]
    assert after["1"]["pid"] != before["1"]["pid"]
    assert "stopwaitsecs=33" in place.shell(f"cat {place.root}/workers/w/supervisord/programs/w@1.conf")


def test_other_text_with_the_same_values_is_written_without_a_restart(place: Place) -> None:
    ok(place.run(**wanted(place)))
    pid = place.info()["0"]["pid"]
    directory = f"{place.root}/workers/w/supervisord"
    place.shell(f"for f in programs/w@0.conf supervisord.conf; do echo '; older' >> {directory}/$f; done; echo '# older' >> {directory}/keeper.py")
    result = ok(place.run(**wanted(place)))
    assert result["actions"] == [action("supervisor", "workers/w/supervisord", "changed"), action("instance", "w@0", "changed")]
    assert place.info()["0"]["pid"] == pid
    wait_until(lambda: place.shell(f"pgrep -f {directory}/keeper.py"))
    assert ok(place.run(**wanted(place)))["changed"] is False


def test_secrets_stand_in_a_file_of_the_service_user_alone(place: Place) -> None:
    ok(place.run(**wanted(place, secrets={"TOKEN": "hunter22"})))
    holders = place.shell(f"grep -rl hunter22 {place.root}").split()
    assert [pathlib.Path(path).name for path in holders if not path.endswith("facts.json")] == ["0.json"]
    path = pathlib.Path(place.root, "workers/w/supervisord/instances/0.json")
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o400, os.geteuid())


def test_no_trace_but_data_and_logs_is_left_when_nothing_is_deployed(place: Place) -> None:
    ok(place.run(**wanted(place)))
    pid = supervisord_pid(place)
    ok(place.run("absent"))
    assert gone(pid)
    assert sorted(os.listdir(f"{place.root}/workers/w")) == ["data", "logs"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("limits.memory", {"limits": {"memory": "1G"}}),
        ("limits.files", {"limits": {"files": 1000}}),
        ("sandbox", {"sandbox": "strict"}),
        ("writable_paths", {"writable_paths": ["/srv"]}),
        ("unit_overrides", {"unit_overrides": {"Service": {"Nice": 5}}}),
        ("bind_to_unit", {"bind_to_unit": "gateway.service"}),
        ("scope", {"scope": "user"}),
    ],
)
def test_what_supervisord_cannot_do_is_refused_by_name(place: Place, option: str, value: dict[str, t.Any]) -> None:
    result = place.run(**wanted(place, **value))
    assert (result["code"], result["option"], result["changed"]) == ("invalid_option", option, False)
    assert not os.path.exists(f"{place.root}/workers")


def test_a_long_root_gets_a_short_socket(place: Place, tmp_path: pathlib.Path) -> None:
    long = Here(tmp_path / ("d" * 40) / ("e" * 40))
    try:
        ok(long.run(**wanted(long)))
        assert long.info()["0"]["state"] == "running"
        socket = socket_of(long)
        assert not socket.startswith(long.root)
    finally:
        ok(long.run("absent"))
    assert not os.path.exists(os.path.dirname(socket))
    assert place.info() == {}


class Ordinary(Here):
    """This machine, as the user nobody, with a Python that this user may run."""

    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory / "r")
        self.python = str(directory / "venv/bin/python")
        self._library = directory / "library"
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", directory / "venv"], check=True)
        packages = next((directory / "venv/lib").glob("python*/site-packages"))
        shutil.copytree(pathlib.Path(supervisor.__file__).parent, packages / "supervisor")
        copy_library(self._library)

    def module(self, name: str, args: t.Mapping[str, t.Any], check: bool = False) -> dict[str, t.Any]:
        path = self._library / "ansible_collections/ew_ai/worker/plugins/modules" / f"{name}.py"
        arguments = {**args, "_ansible_check_mode": check, "_ansible_remote_tmp": "/tmp"}
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self._library), "HOME": "/nonexistent"}
        argv = [*self.as_nobody, self.python, "-B", str(path)]
        done = subprocess.run(argv, input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}), env=environ, text=True, capture_output=True, check=False)
        try:
            return t.cast("dict[str, t.Any]", json.loads(done.stdout))
        except ValueError:
            raise AssertionError(done.stdout + done.stderr) from None

    def shell(self, command: str) -> str:
        return subprocess.run([*self.as_nobody, "/bin/sh", "-c", command], text=True, capture_output=True, check=False).stdout


@pytest.fixture
def ordinary(place: Place) -> t.Iterator[Ordinary]:
    """An account without any rights, on this machine."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user needs root; as an ordinary user every other test here is this one")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ew-"))
    os.chmod(directory, 0o755)
    there = Ordinary(directory)
    (directory / "r").mkdir()
    os.chown(directory / "r", 65534, 65534)
    try:
        yield there
    finally:
        there.run("absent")
        shutil.rmtree(directory)


def test_an_ordinary_user_needs_nothing_of_root(place: Place, ordinary: Ordinary) -> None:
    assert place.root != ordinary.root
    args = wanted(ordinary)
    result = ok(ordinary.run(**args))
    assert result["scope"] == "user"
    row = result["instances"][0]
    assert pathlib.Path(f"/proc/{row['pid']}").stat().st_uid == 65534
    assert ordinary.facts()["uid"] == 65534
    assert ok(ordinary.run(**args))["changed"] is False
    refused = ordinary.run(**{**args, "user": "root"})
    assert (refused["code"], refused["option"]) == ("invalid_option", "user")
    ok(ordinary.run("absent"))
    assert gone(row["pid"])


def test_root_runs_instances_as_the_service_user(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("running as another user needs root")
    directory = tempfile.mkdtemp(prefix="ew-")
    os.chmod(directory, 0o755)
    there = Here(pathlib.Path(directory, "r"))
    there.python = "/usr/bin/python3"
    try:
        absent = there.run(**wanted(there, user="nobody-of-that-name"))
        assert (absent["code"], absent["option"]) == ("invalid_option", "user")
        row = ok(there.run(**wanted(there, user="nobody", secrets={"TOKEN": "hunter22"})))["instances"][0]
        assert pathlib.Path(f"/proc/{row['pid']}").stat().st_uid == 65534
        assert row["generation"] == 1
        assert there.facts()["environ"]["TOKEN"] == "hunter22"
        file = pathlib.Path(there.root, "workers/w/supervisord/instances/0.json")
        status = file.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, pwd.getpwnam("nobody").pw_gid, 0o440)
        as_nobody = f"setpriv --reuid=nobody --regid={status.st_gid} --clear-groups"
        assert there.shell(f"{as_nobody} chmod 600 {file} 2>&1") != ""
        assert file.stat().st_mode == status.st_mode
        clash = place.run(**wanted(place))
        assert (clash["code"], clash["port"], clash["pid"]) == ("port_in_use", PORTS[0], row["pid"])
    finally:
        ok(there.run("absent"))
        shutil.rmtree(directory)


def test_a_group_that_others_are_in_is_told_where_there_are_secrets(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("running as another user needs root")
    nobody = pwd.getpwnam("nobody")
    others = sorted({each.pw_name for each in pwd.getpwall() if each.pw_gid == nobody.pw_gid} - {"nobody"})
    warnings = place.run(check=True, **wanted(place, user="nobody", secrets={"TOKEN": "hunter22"})).get("warnings", [])
    assert [str(warning) for warning in warnings if "shares its group" in str(warning)] != [] or not others
    assert not place.run(check=True, **wanted(place, user="nobody")).get("warnings")


def test_a_narrow_umask_hides_nothing_from_the_service_user(place: Place) -> None:
    before = os.umask(0o077)
    try:
        ok(place.run(**wanted(place)))
    finally:
        os.umask(before)
    expected = {"workers/w": 0o755, "workers/w/supervisord/instances": 0o755, "workers/w/data/0": 0o755, "workers/w/data/0/state": 0o750}
    assert {path: pathlib.Path(place.root, path).stat().st_mode & 0o777 for path in expected} == expected
