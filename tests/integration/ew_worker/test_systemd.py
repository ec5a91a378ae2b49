# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only systemd does: binding to another unit, the start at boot, sandboxes, limits, and its own words for failures."""

from __future__ import annotations

import shlex
import typing as t

import pytest

from tests.integration.ew_worker.kit import (
    SYSTEMD,
    TRIXIE,
    Host,
    Place,
    action,
    ok,
    tool,
    wait_until,
    wanted,
)

HERE = pytest.mark.parametrize("place", [SYSTEMD], indirect=True)
BOTH_VERSIONS = pytest.mark.parametrize("place", [SYSTEMD, TRIXIE], indirect=True)
GATEWAY = """\
[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sleep infinity
Restart=on-failure
RestartSec=1
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture
def gateway(place: Place) -> t.Iterator[str]:
    """A unit that stands for the gateway, running."""
    place.shell(f"printf %s '{GATEWAY}' > /etc/systemd/system/gateway.service; systemctl daemon-reload; systemctl start gateway")
    yield "gateway.service"
    place.shell("systemctl stop gateway; rm /etc/systemd/system/gateway.service; systemctl daemon-reload")


def states(place: Place) -> list[str]:
    return [row["state"] for row in place.info().values()]


@HERE
def test_a_worker_follows_the_unit_that_it_is_bound_to(place: Place, gateway: str) -> None:
    ok(place.run(**wanted(place, count=2, bind_to_unit=gateway)))
    ok(place.run("stopped", only=["1"]))
    assert states(place) == ["running", "stopped"]
    place.shell("systemctl stop gateway")
    wait_until(lambda: states(place) == ["stopped", "stopped"])
    place.shell("systemctl start gateway")
    wait_until(lambda: states(place) == ["running", "stopped"])
    before = place.info()["0"]["pid"]
    place.shell("systemctl kill -s KILL gateway")
    wait_until(lambda: states(place) == ["running", "stopped"] and place.info()["0"]["pid"] != before)
    place.shell("systemctl restart gateway")
    wait_until(lambda: states(place) == ["running", "stopped"])
    assert ok(place.run(only=["0"], **wanted(place, count=2, bind_to_unit=gateway)))["changed"] is False


@HERE
def test_a_deploy_does_not_start_the_unit_that_it_is_bound_to(place: Place, gateway: str) -> None:
    place.shell("systemctl stop gateway")
    result = ok(place.run(**wanted(place, bind_to_unit=gateway)))
    assert result["instances"][0]["state"] == "running"
    assert any("gateway.service does not run" in str(warning) for warning in result["warnings"])
    assert place.shell("systemctl is-active gateway").strip() == "inactive"
    assert ok(place.run(**wanted(place, bind_to_unit=gateway)))["changed"] is False
    place.shell("systemctl start gateway")
    wait_until(lambda: place.shell("systemctl is-active w.target").strip() == "active")
    place.shell("systemctl stop gateway")
    wait_until(lambda: states(place) == ["stopped"])


@HERE
def test_a_binding_can_be_changed_without_a_restart(place: Place, gateway: str) -> None:
    ok(place.run(**wanted(place)))
    pid = place.info()["0"]["pid"]
    bound = ok(place.run(**wanted(place, bind_to_unit=gateway)))
    assert bound["actions"] == [action("unit", "w.target", "changed")]
    links = "find /etc/systemd/system -name w.target -type l"
    assert place.shell(links).split() == ["/etc/systemd/system/gateway.service.wants/w.target"]
    free = ok(place.run(**wanted(place)))
    assert free["actions"] == [action("unit", "w.target", "changed")]
    assert place.shell(links).split() == ["/etc/systemd/system/multi-user.target.wants/w.target"]
    assert place.info()["0"]["pid"] == pid
    unknown = place.run(**wanted(place, bind_to_unit="nothing.service"))
    assert (unknown["code"], unknown["option"], unknown["changed"]) == ("invalid_option", "bind_to_unit", False)


@HERE
def test_a_good_version_is_started_while_a_bad_one_waits_for_its_restart(place: Place) -> None:
    restart = {"policy": "always", "delay": 30, "burst": 5, "window": 600}
    bad = place.run(**wanted(place, restart=restart, env={"FAULT": "exit"}))
    assert bad["code"] == "start_failed"
    assert place.shell("systemctl show --value --property SubState w@0").strip() == "auto-restart"
    (row,) = ok(place.run(**wanted(place, restart=restart)))["instances"]
    assert (row["state"], row["restarts"]) == ("running", 0)


@BOTH_VERSIONS
def test_what_ran_runs_again_after_a_reboot(place: Place, request: pytest.FixtureRequest) -> None:
    assert isinstance(place, Host)
    secrets = {"TOKEN": "hunter22"}
    ok(place.run(**wanted(place, count=2, secrets=secrets)))
    ok(place.run("stopped", only=["1"]))
    place.shell(f"rm {place.root}/workers/w/data/0/state/facts.json")
    before = place.info()
    rebooted = tool("reboot", "--set", request.getfixturevalue("group").name, place.name)
    assert rebooted.returncode == 0, rebooted.stderr
    wait_until(lambda: states(place) == ["running", "stopped"])
    after = place.info()
    assert after["0"]["effective"] == before["0"]["effective"]
    assert place.facts()["environ"]["TOKEN"] == "hunter22"
    assert ok(place.run(only=["0"], **wanted(place, count=2, secrets=secrets)))["changed"] is False


@HERE
def test_limits_and_overrides_reach_the_unit(place: Place) -> None:
    limits = {"memory": "300M", "cpu": 1.5, "tasks": 50, "files": 4000, "memlock": "64M"}
    ok(place.run(**wanted(place, limits=limits, unit_overrides={"Service": {"Nice": 5, "Environment": ['"A=1"', '"B=2"']}})))
    names = ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "LimitNOFILE", "LimitMEMLOCK", "Nice")
    shown = dict(line.split("=", 1) for line in place.shell(f"systemctl show w@0 -p {','.join(names)}").splitlines())
    assert shown.pop("CPUQuotaPerSecUSec").startswith("1.5")
    assert shown == {"MemoryMax": str(300 << 20), "TasksMax": "50", "LimitNOFILE": "4000", "LimitMEMLOCK": str(64 << 20), "Nice": "5"}
    environ = place.facts()["environ"]
    assert (environ["A"], environ["B"]) == ("1", "2")


@HERE
@pytest.mark.parametrize(
    ("options", "breakage", "cause"),
    [
        ({}, "chmod 700 {root}/releases", "working directory"),
        ({"unit_overrides": {"Service": {"User": "nobody-of-that-name"}}}, "", "its user does not exist"),
        ({"writable_paths": ["/srv/absent"]}, "", "its sandbox could not be set up"),
        ({"module": "worker.absent"}, "", "the release has no module 'worker.absent'"),
        ({"arguments": ["--wrong"]}, "", "does not take these arguments"),
    ],
    ids=["release", "user", "path", "module", "arguments"],
)
def test_what_fails_before_the_worker_runs_is_told(place: Place, options: dict[str, t.Any], breakage: str, cause: str) -> None:
    args = wanted(place, **options)
    place.shell(breakage.format(root=place.root))
    result = place.run(**args)
    assert result["code"] == "start_failed", result
    assert cause in result["cause"], result
    assert "journalctl -u w@0.service" in result["remedy"]


@HERE
def test_a_secret_is_in_no_property_and_no_readable_file(place: Place) -> None:
    ok(place.run(**wanted(place, secrets={"TOKEN": "hunter22"})))
    assert place.facts()["environ"]["TOKEN"] == "hunter22"
    as_user = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    place.shell("systemctl daemon-reload")
    path = "/org/freedesktop/systemd1/unit/w_400_2eservice"
    properties = f"busctl get-property org.freedesktop.systemd1 {path} org.freedesktop.systemd1.Service Environment EnvironmentFiles"
    assert "0.env" in place.shell(f"{as_user} sh -c {shlex.quote(properties)}")
    for command in ("systemctl show 'w@*' w.target", "systemctl cat w@0.service", properties, "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline"):
        assert "hunter22" not in place.shell(f"{as_user} sh -c {shlex.quote(command)} 2>/dev/null"), command
    assert place.shell(f"{as_user} grep -rl hunter22 {place.root} /etc/systemd /run 2>/dev/null") == ""
    assert place.shell(f"stat -c '%a %U' {place.root}/workers/w/secrets/0.env").strip() == "600 root"


@HERE
def test_other_text_with_the_same_values_is_written_without_a_restart(place: Place) -> None:
    ok(place.run(**wanted(place)))
    pid = place.info()["0"]["pid"]
    # What an older version of the collection could have left: other text, the same values.
    place.shell("sed -i 's/^# Written.*/# Written by ew_ai.worker, an older version/' /etc/systemd/system/w@0.service.d/instance.conf; systemctl daemon-reload")
    result = ok(place.run(**{**wanted(place), "generation": 9}))
    assert result["actions"] == [action("instance", "w@0", "changed")]
    assert result["batches"] == []
    row = place.info()["0"]
    assert (row["pid"], row["generation"]) == (pid, 1)


@HERE
def test_files_that_were_written_without_a_restart_are_made_good(place: Place) -> None:
    ok(place.run(**wanted(place)))
    blue = wanted(place, env={"COLOUR": "blue"})
    ok(place.run("present", **blue))
    assert "COLOUR" not in place.facts()["environ"]
    result = ok(place.run(**blue))
    assert result["actions"] == [action("instance", "w@0", "restarted")]
    # An automatic restart takes up new files: then nothing is left to do.
    ok(place.run("present", **wanted(place)))
    place.shell(f"kill -9 {place.info()['0']['pid']}")
    wait_until(lambda: next((row for row in place.info().values() if row["restarts"] == 1 and row["state"] == "running"), None))
    assert ok(place.run(**wanted(place)))["changed"] is False


@BOTH_VERSIONS
@pytest.mark.parametrize("name", ["default", "network", "multi-user", "getty", "user", "ours"])
def test_no_unit_of_the_host_is_replaced_stopped_or_removed(place: Place, name: str) -> None:
    place.shell("printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/ours@.service; systemctl daemon-reload")
    units = "cd /etc/systemd/system && find . -printf '%p %l\\n' | sort | sha256sum; systemctl is-active multi-user.target network.target getty.target"
    before = place.shell(units)
    args = wanted(place, exclusive=True)
    for state, given in (("present", args), ("started", args), ("started", {}), ("stopped", {}), ("absent", {})):
        for check in (True, False):
            result = place.run(state, name=name, check=check, **given)
            assert (result["code"], result["changed"]) == ("foreign_unit", False), result
            assert "another worker_name" in result["remedy"]
    info = place.module("ew_worker_info", {"name": name, "root": place.root, "supervisor": "systemd"})
    assert info["code"] == "foreign_unit"
    # A deploy says so before it builds anything.
    found = place.module("worker_preflight", {"name": name, "root": place.root, "minimum_disk_mb": 1, "offline": True})
    assert "foreign_unit" in [each["check"] for each in found["failures"]]
    assert place.shell(units) == before
    place.shell("rm /etc/systemd/system/ours@.service; systemctl daemon-reload")


@HERE
def test_a_worker_of_the_same_name_below_another_root_is_left_alone(place: Place) -> None:
    ok(place.run(**wanted(place)))
    before = place.info()["0"]
    for state, given in (("started", wanted(place)), ("started", {}), ("stopped", {}), ("absent", {})):
        result = place.run(state, **{**given, "root": "/opt/other"})
        assert (result["code"], result["changed"]) == ("foreign_unit", False), result
        assert f"below {place.root}" in result["msg"]
    assert place.info()["0"]["pid"] == before["pid"]
    assert place.shell("ls /opt/other/workers 2>/dev/null") == ""


DROP_IN = "/etc/systemd/system/w@0.service.d/instance.conf"


@HERE
def test_what_a_killed_run_wrote_and_systemd_has_not_read_is_started(place: Place) -> None:
    red, blue = wanted(place, env={"COLOUR": "red"}), wanted(place, env={"COLOUR": "blue"})
    ok(place.run(**red))
    place.shell(f"cp -p {DROP_IN} /root/red.conf")
    ok(place.run(**blue))
    # The right file with an old time: systemd does not see that it is another one.
    place.shell(f"cp -p /root/red.conf {DROP_IN}")
    assert place.shell("systemctl show --value --property NeedDaemonReload w@0").strip() == "no"
    result = ok(place.run(**red))
    assert result["actions"] == [action("instance", "w@0", "restarted")]
    assert place.shell(f"tr '\\0' '\\n' </proc/{result['instances'][0]['pid']}/environ | grep COLOUR").strip() == "COLOUR=red"
    assert ok(place.run(**red))["changed"] is False


@HERE
@pytest.mark.parametrize("path", [DROP_IN, "/etc/systemd/system/w.target"], ids=["instance", "target"])
def test_what_systemd_has_not_read_is_read_without_a_restart(place: Place, path: str) -> None:
    ok(place.run(**wanted(place)))
    pid = place.info()["0"]["pid"]
    place.shell(f"touch {path}")
    for check in (True, False):
        assert ok(place.run(check=check, **wanted(place)))["actions"] == [action("unit", "w.target", "reloaded")]
    assert ok(place.run(**wanted(place)))["changed"] is False
    assert place.info()["0"]["pid"] == pid


@HERE
def test_a_process_with_other_values_than_its_files_is_an_error(place: Place) -> None:
    ok(place.run(**wanted(place)))
    place.shell("printf '[Service]\\nEnvironment=EW_EFFECTIVE=other\\n' > /etc/systemd/system/w@0.service.d/zz.conf")
    result = place.run(**wanted(place, force_restart=True))
    assert (result["code"], result["stale_instance"]) == ("stale_unit", "0")
    assert "zz.conf" in place.shell(result["remedy"].split(": ")[1])
    place.shell("rm /etc/systemd/system/w@0.service.d/zz.conf")
    assert ok(place.run(**wanted(place)))["actions"] == [action("instance", "w@0", "restarted")]


@HERE
def test_nothing_is_left_of_a_failed_instance_that_is_removed(place: Place) -> None:
    bad = wanted(place, count=2, restart={"delay": 0.2, "burst": 2, "window": 600})
    bad["instances"][1]["env"] = {"FAULT": "late:8"}
    ok(place.run(**bad))
    wait_until(lambda: states(place) == ["running", "failed"], timeout=120)
    one = wanted(place, exclusive=True)
    assert ok(place.run(**one))["removed"] == ["1"]
    assert place.shell("systemctl list-units --all --plain --no-legend 'w@1.service'") == ""
    assert ok(place.run(**one))["changed"] is False
    assert list(place.info()) == ["0"]


@HERE
def test_a_unit_that_somebody_tried_to_start_is_no_instance(place: Place) -> None:
    one = wanted(place, exclusive=True)
    ok(place.run(**one))
    place.shell("systemctl start w@7")
    wait_until(lambda: place.shell("systemctl show --value --property ActiveState w@7").strip() == "failed")
    assert list(place.info()) == ["0"]
    assert ok(place.run(**one))["changed"] is False
    # One whose files somebody took away runs on, and is one of ours.
    ok(place.run(**wanted(place, count=2)))
    place.shell("rm -r /etc/systemd/system/w@1.service.d; systemctl daemon-reload")
    assert states(place) == ["running", "running"]
    assert ok(place.run(**one))["removed"] == ["1"]
    assert ok(place.run(**one))["changed"] is False
