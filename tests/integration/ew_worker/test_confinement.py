# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an instance can do in each sandbox, found out by a worker that tries; limits that are enforced; GPUs that belong to one instance.

No test host has a GPU. What stands for two of them is made with mounts inside the host: what the driver tells below /proc/driver, and
device nodes, which are /dev/null under other names.
"""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from tests.integration.ew_worker.kit import (
    SYSTEMD,
    TRIXIE,
    Place,
    Result,
    action,
    ok,
    wait_until,
    wanted,
)

HERE = pytest.mark.parametrize("place", [SYSTEMD], indirect=True)
CONFINED_WORKER = pathlib.Path(__file__).with_name("confined_worker.py").read_text(encoding="utf-8")
GPUS = ("GPU-0000aaaa-1111-2222-3333-444455556666", "GPU-0000bbbb-1111-2222-3333-444455556666")
MADE_GPUS = f"""
mount -t tmpfs -o mode=755 tmpfs /proc/driver
number=0
for gpu in {" ".join(GPUS)}; do
    directory=/proc/driver/nvidia/gpus/0000:0$number:00.0
    mkdir -p $directory
    printf 'Model: \\t\\t Made up\\nGPU UUID: \\t %s\\nBus Type: \\t PCIe\\nDevice Minor: \\t %s\\n' $gpu $number > $directory/information
    number=$((number + 1))
done
for node in nvidiactl nvidia-uvm nvidia0 nvidia1; do touch /dev/$node; mount --bind /dev/null /dev/$node; done
"""
UNMADE_GPUS = "umount /proc/driver; for node in nvidiactl nvidia-uvm nvidia0 nvidia1; do umount /dev/$node; rm /dev/$node; done"
# Where everybody may write, as far as permissions go; a copy of id that makes whoever runs it root; a writable path.
OPEN = ("/", "/boot", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/usr", "/var", "/var/lib", "/var/log")
PREPARED = f"""
for directory in {" ".join(OPEN)}; do install -d -m 1777 $directory/open; done
install -m 4755 /usr/bin/id /srv/id
touch /tmp/from-outside /var/tmp/from-outside
install -d -o ew-worker /srv/extra
echo "not a real key" > /srv/key.pem; chmod 600 /srv/key.pem
"""
CLEARED = f"rm -rf {' '.join(f'{each}/open' for each in OPEN)} /srv/id /srv/extra /srv/key.pem /tmp/from-outside /var/tmp/from-outside"

# What an instance can do, by profile. None: the machine decides.
TABLE: dict[str, tuple[t.Optional[bool], bool, bool]] = {
    # attempt: none, standard, strict
    "serve": (True, True, True),
    "threads_and_programs": (True, True, True),
    "big_caches": (True, True, True),
    "shared_memory_of_processes": (True, True, True),
    "shared_memory_of_system_v": (True, True, True),
    "executable_memory": (True, True, False),
    "processors_and_memory": (True, True, False),
    "netlink_socket": (True, True, False),
    "private_tmp": (False, True, True),
    "private_var_tmp": (False, True, True),
    "processes_of_others": (True, False, False),
    "trace": (None, False, False),
    "make_setuid": (True, False, False),
    "become_root": (True, False, False),
    "new_namespace": (None, False, False),
    "raw_socket": (False, False, False),
    "packet_socket": (False, False, False),
    "mount": (False, False, False),
    "kernel_module": (False, False, False),
}
PROFILES = ("none", "standard", "strict")
SCORES = {"none": 10.0, "standard": 2.5, "strict": 2.0}
# Beside its own directories: what belongs to it alone, what all processes share memory by, and what starts a measurement.
ALWAYS_WRITABLE = {"/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory"}


def confined(place: Place, todo: str, count: int = 1, **options: t.Any) -> dict[str, t.Any]:
    """The options of a deploy of the worker that tries; only the instance 0 does."""
    args = wanted(place, count, **options)
    args["release"] = place.release("confined", CONFINED_WORKER)
    for row in args["instances"]:
        row["env"] = {"TODO": todo if row["name"] == "0" else "nothing"}
    return args


def told(place: Place, name: str) -> Result:
    path = f"{place.root}/workers/w/data/0/state/{name}"
    return t.cast("Result", json.loads(wait_until(lambda: place.shell(f"cat {path} 2>/dev/null"))))


@pytest.fixture
def gpus(place: Place) -> t.Iterator[tuple[str, str]]:
    """Two GPUs, as far as a worker and its supervisor can see."""
    place.shell(MADE_GPUS)
    yield GPUS
    place.shell(UNMADE_GPUS)


@pytest.fixture
def prepared(place: Place) -> t.Iterator[None]:
    place.shell(PREPARED)
    yield
    place.shell(CLEARED)


def with_gpus(args: dict[str, t.Any], *gpus: str) -> dict[str, t.Any]:
    """One GPU for each instance, in order."""
    instances = [{**row, "gpus": [gpu]} for row, gpu in zip(args["instances"], gpus)]
    return {**args, "instances": instances}


def score(place: Place) -> float:
    return float(place.shell("systemd-analyze security --no-pager w@0.service | tail -1").split(":")[-1].split()[0])


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    ("place", "sandbox", "with_gpu"),
    [
        pytest.param(*version.values, sandbox, with_gpu, marks=version.marks, id=f"{version.id}-{sandbox}{'-gpu' if with_gpu else ''}")
        for version, sandbox, with_gpu in (
            *((SYSTEMD, sandbox, False) for sandbox in PROFILES),
            *((version, sandbox, True) for version in (SYSTEMD, TRIXIE) for sandbox in ("standard", "strict")),
        )
    ],
    indirect=["place"],
)
def test_what_an_instance_can_do(place: Place, gpus: tuple[str, str], sandbox: str, with_gpu: bool) -> None:
    secrets = f"{place.root}/workers/w/secrets"
    extra = [] if sandbox == "none" else ["/srv/extra"]
    env = {"READABLE": f"{secrets}:{secrets}/0.env:/etc/shadow:/etc/hosts:/srv/key.pem"}
    tls = {"cert": "/etc/hosts", "key": "/srv/key.pem"}
    args = confined(place, "try", 2, sandbox=sandbox, secrets={"TOKEN": "hunter22"}, writable_paths=extra, env=env, tls=tls)
    ok(place.run(**(with_gpus(args, *reversed(gpus)) if with_gpu else args)))
    found = told(place, "confined.json")
    expected = {name: row[PROFILES.index(sandbox)] for name, row in TABLE.items()}
    # The libraries of a GPU read /proc.
    expected["processors_and_memory"] = expected["processors_and_memory"] or with_gpu
    assert {name: could for name, could in found["could"].items() if expected[name] is not None} == {k: v for k, v in expected.items() if v is not None}
    own = {f"{place.root}/workers/w/data/0/{name}" for name in ("state", "cache")}
    writable = set(found["writable"]) - ALWAYS_WRITABLE
    assert writable >= own
    if sandbox == "none":
        assert {f"{each.rstrip('/')}/open" for each in OPEN} - {"/root/open"} <= writable
        assert found["nodes"] == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]
    else:
        assert writable == own | {"/srv/extra"}
        # Its GPU is the second one.
        assert found["nodes"] == (["/dev/nvidia-uvm", "/dev/nvidia1", "/dev/nvidiactl"] if with_gpu else [])
    assert found["readable"] == ["/etc/hosts"]
    # Root's alone, and handed on to the process.
    assert found["key"] == "not a real key\n"
    measured = score(place)
    print(f"systemd {place.shell('systemctl --version').split()[1]}, {sandbox}{' with a GPU' if with_gpu else ''}: {measured}")
    assert measured <= SCORES[sandbox]
    assert place.shell("journalctl --no-pager -b | grep -E 'instance.conf:.*(Unknown|Failed to parse|ignoring)'") == ""


@HERE
def test_limits_are_enforced_and_a_change_of_one_is_a_restart(place: Place) -> None:
    given = {"cpu": 0.5, "tasks": 40, "files": 500, "memlock": "4M"}
    ok(place.run(**confined(place, "limits", limits=given)))
    found = told(place, "limits.json")
    # Two processes would use two cores, or as much as a busy machine has.
    assert found["cores"] < 0.75
    assert 0 < found["forks"] < 40
    assert 0 < found["files"] < 500
    assert found["locked_8_mib"] is False
    more = confined(place, "limits", limits={**given, "files": 600, "memlock": "infinity"})
    for check in (True, False):
        result = ok(place.run(check=check, **more))
        assert result["actions"] == [action("instance", "w@0", "changed"), action("instance", "w@0", "restarted")]
        before, after = (json.dumps(result["diff"][side]) for side in ("before", "after"))
        assert ("LimitNOFILE=500" in before, "LimitNOFILE=600" in after) == (True, True)
        if not check:
            wait_until(lambda: 500 <= told(place, "limits.json")["files"] < 600)
            # A container's systemd may not raise this one above what the container has.
            assert place.shell("systemctl show --value --property LimitMEMLOCK w@0").strip() == "infinity"
    assert ok(place.run(**more))["changed"] is False


@HERE
def test_a_worker_that_takes_more_memory_is_killed_and_the_limit_is_named(place: Place) -> None:
    args = confined(place, "memory", limits={"memory": "150M"}, restart={"policy": "no"})
    result = place.run(**args)
    # It may be a little later than a start is watched.
    if result.get("failed"):
        assert result["code"] == "start_failed"
        assert "killed for memory, limit 150M (limits.memory)" in result["cause"]
        assert result["cause"] in result["msg"]
    row = wait_until(lambda: next((row for row in place.info().values() if row["state"] == "failed"), None))
    assert (row["exit_status"], row["pid"]) == (-9, None)
    assert "killed for memory, limit 150M (limits.memory)" in row["reason"]


@HERE
def test_a_gpu_belongs_to_one_instance(place: Place, gpus: tuple[str, str]) -> None:
    first, second = gpus
    ok(place.run(**with_gpus(wanted(place), first)))
    environ = place.facts()["environ"]
    assert (environ["CUDA_VISIBLE_DEVICES"], environ["CUDA_DEVICE_ORDER"]) == (first, "PCI_BUS_ID")
    other = {**with_gpus(wanted(place), first), "name": "v"}
    other["instances"][0]["ports"] = [other["instances"][0]["ports"][0] + 1]
    for check in (True, False):
        taken = place.run(check=check, **other)
        assert (taken["code"], taken["holder"], taken["changed"]) == ("gpu_taken", "w@0", False), taken
    # One that is stopped keeps what it has: it may be started again.
    ok(place.run("stopped"))
    assert place.run(**other)["code"] == "gpu_taken"
    ok(place.run())
    ok(place.run(gpu_sharing=True, **other))
    ok(place.run("absent", name="v"))
    unknown = place.run(**with_gpus(wanted(place), "GPU-0000cccc-1111-2222-3333-444455556666"))
    assert (unknown["code"], unknown["known"], unknown["changed"]) == ("gpu_unknown", list(gpus), False)
    assert "nvidia-smi -L" in unknown["remedy"]
    assert place.run(**with_gpus(wanted(place), "0"))["option"] == "instances.gpus"
    # Those that exchange GPUs are down together.
    both = with_gpus(wanted(place, count=2), first, second)
    ok(place.run(**both))
    exchanged = ok(place.run(**with_gpus(wanted(place, count=2), second, first)))
    assert exchanged["batches"] == [["0", "1"]]
    assert [row["state"] for row in exchanged["instances"]] == ["running", "running"]
