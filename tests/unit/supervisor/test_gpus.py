# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which GPUs there are, the nodes of one, and who has it. The driver's tree is made up: no machine of the tests has a GPU."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import gpu_holders, gpus, options, plan, process, supervisord_files, systemd_units
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Found, FoundShared, Instance, Spec, Stamp, gpus_of

A, B, PART = "GPU-aaaa", "GPU-bbbb", "MIG-cccc"
KNOWN = {A: 3, B: 0}
COMMON = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
INFORMATION = "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 42\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"


def instance(name: str, *listed: str) -> Instance:
    return Instance(name, 0, (50051,), gpus=listed)


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        ({}, {}),
        ({"0000:07:00.0": INFORMATION.format(uuid="GPU-5c7e-1a", minor=1)}, {"GPU-5c7e-1a": 1}),
        ({"0000:81:00.0": INFORMATION.format(uuid=A, minor=0), "0000:07:00.0": INFORMATION.format(uuid=B, minor=12)}, {B: 12, A: 0}),
        # As it is told before the GPU was used for the first time.
        ({"0000:07:00.0": INFORMATION.format(uuid="GPU-????????-????", minor=1)}, {}),
        ({"0000:07:00.0": "", "0000:08:00.0": "GPU UUID: GPU-x\n"}, {}),
    ],
)
def test_what_the_driver_tells(tmp_path: pathlib.Path, information: dict[str, str], expected: dict[str, int]) -> None:
    (tmp_path / "gpus").mkdir()
    for address, text in information.items():
        (tmp_path / "gpus" / address).mkdir()
        (tmp_path / "gpus" / address / "information").write_text(text)
    found = gpus.found(str(tmp_path))
    assert found == expected
    assert list(found) == list(expected)


def test_a_host_without_the_driver(tmp_path: pathlib.Path) -> None:
    assert gpus.found(str(tmp_path / "absent")) is None


@pytest.mark.parametrize(
    ("listed", "known", "amd", "nodes"),
    [
        ((), None, False, ()),
        ((A,), KNOWN, False, (*COMMON, "/dev/nvidia3")),
        ((A, B), KNOWN, True, (*COMMON, "/dev/nvidia0", "/dev/nvidia3")),
        ((PART,), KNOWN, False, (*COMMON, "/dev/nvidia-caps", "/dev/nvidia0", "/dev/nvidia3")),
        ((A,), None, True, ("/dev/kfd", "/dev/dri")),
    ],
)
def test_the_nodes_of_a_gpu(listed: tuple[str, ...], known: t.Optional[dict[str, int]], amd: bool, nodes: tuple[str, ...]) -> None:
    assert gpus.resolved([instance("0", *listed)], known, amd)[0].nodes == nodes


@pytest.mark.parametrize(("listed", "known", "there"), [(("GPU-x",), KNOWN, f"It has {A}, {B}."), ((A,), None, "It has none"), ((PART,), {}, "It has none")])
def test_a_gpu_that_is_not_there_is_refused(listed: tuple[str, ...], known: t.Optional[dict[str, int]], there: str) -> None:
    with pytest.raises(WorkerError) as refused:
        gpus.resolved([instance("0", *listed)], known, False)
    assert refused.value.code == "gpu_unknown"
    assert there in refused.value.message
    assert "nvidia-smi -L" in refused.value.remedy


def test_every_deployed_instance_with_a_gpu_is_found(tmp_path: pathlib.Path) -> None:
    layout = Layout(str(tmp_path / "root")).worker("v")
    spec = Spec(layout, 1, "/r", "/e/bin/python")
    units = tmp_path / "units"
    for name, text in {
        "w@0": systemd_units.drop_in(Spec(Layout("/elsewhere").worker("w"), 1, "/r", "/e/bin/python"), instance("0", A, B), Stamp("e", 1), 252, None),
        "x@0": f'[Service]\nEnvironment="CUDA_VISIBLE_DEVICES={A}"\nEnvironment="EW_WORKER=x"\nEnvironment="EW_INSTANCE=0"\n',
        "y@0": systemd_units.drop_in(spec, instance("0"), Stamp("e", 1), 252, None),
    }.items():
        (units / f"{name}.service.d").mkdir(parents=True)
        (units / f"{name}.service.d" / "instance.conf").write_text(text)
    (units / "z@0.service.d").mkdir()
    (units / "z@0.service.d" / "instance.conf").write_bytes(b"\xff")
    programs = pathlib.Path(layout.supervisord) / "instances"
    programs.mkdir(parents=True)
    (programs / "7.json").write_text(supervisord_files.instance_text(spec, instance("7", PART), Stamp("e", 1)))
    (programs / "8.json").write_text("{")
    assert gpu_holders.holders(layout.root, (str(units), str(tmp_path / "nowhere"))) == {
        ("/elsewhere/workers/w/data/0/state", "w", "0"): (A, B),
        (f"{layout.home}/data/7/state", "v", "7"): (PART,),
    }


HOME = "/opt/r/workers/w"


def state(instance: str, home: str = HOME) -> str:
    return f"{home}/data/{instance}/state"


@pytest.mark.parametrize(
    ("held", "going", "holder"),
    [
        ({}, (), None),
        ({("/opt/r/workers/v/data/0/state", "v", "0"): (A,)}, (), "v@0"),
        ({("/opt/r/workers/v/data/0/state", "v", "0"): (B,)}, (), None),
        # What this call moves or removes gives up what it has.
        ({(state("1"), "w", "1"): (A,)}, ("0", "1"), None),
        ({(state("1"), "w", "1"): (A,)}, ("0",), "w@1"),
        # Below another root, or of an account, the same names are somebody else's.
        ({(state("0", "/home/alice/r/workers/w"), "w", "0"): (A,)}, ("0",), "w@0"),
        # What it has already it keeps: whoever came later shares it.
        ({(state("0"), "w", "0"): (A,), ("/opt/r/workers/v/data/0/state", "v", "0"): (A,)}, ("0",), None),
    ],
)
def test_a_gpu_that_another_instance_keeps_is_refused(held: gpu_holders.Holders, going: tuple[str, ...], holder: t.Optional[str]) -> None:
    if holder is None:
        gpu_holders.check(HOME, [instance("0", A)], held, going)
        return
    with pytest.raises(WorkerError) as refused:
        gpu_holders.check(HOME, [instance("0", A)], held, going)
    assert (refused.value.code, refused.value.details["holder"]) == ("gpu_taken", holder)
    assert "worker_gpu_sharing" in refused.value.remedy


def test_a_variable_of_that_name_gives_no_other_gpu() -> None:
    spec = Spec(Layout("/opt/w").worker("w"), 1, "/r", "/e/bin/python", env=(("CUDA_VISIBLE_DEVICES", "0"), ("CUDA_DEVICE_ORDER", "FASTEST_FIRST")))
    found = process.environ(spec, instance("0", A), Stamp("e", 1))
    assert (found["CUDA_VISIBLE_DEVICES"], found["CUDA_DEVICE_ORDER"]) == (A, "PCI_BUS_ID")
    assert process.environ(spec, instance("0"), Stamp("e", 1))["CUDA_VISIBLE_DEVICES"] == "0"


def test_one_gpu_for_two_instances_has_to_be_asked_for() -> None:
    params: dict[str, t.Any] = {"instances": [{"name": "0", "ports": [1], "gpus": [A]}, {"name": "1", "ports": [2], "gpus": [A]}], "gpu_sharing": False}
    with pytest.raises(OptionError) as refused:
        options.instances(params)
    assert (refused.value.code, refused.value.details["option"]) == ("gpu_taken", "instances.gpus")
    assert [one.gpus for one in options.instances({**params, "gpu_sharing": True})] == [(A,), (A,)]


@pytest.mark.parametrize(("alone", "batches"), [(True, [["0", "1"]]), (False, [["0"], ["1"]])])
def test_those_that_exchange_gpus_are_down_together(alone: bool, batches: list[list[str]]) -> None:
    found = {name: Found(name, "running", enabled=True, pid=1, runs={"EW_EFFECTIVE": "old", "CUDA_VISIBLE_DEVICES": gpu}) for name, gpu in (("0", A), ("1", B))}
    wanted = [plan.Wanted(name, "new", (), ports=(), gpus=(gpu,) if alone else ()) for name, gpu in (("0", B), ("1", A))]
    names = plan.Names("w", False, ("unit", "w.target"), lambda path: ("unit", path))
    made = plan.make(plan.Request("started", ("0", "1")), wanted, [], found, FoundShared(enabled=True, active=True), names)
    assert made.restart_batches == batches


@pytest.mark.parametrize(("value", "expected"), [("", ()), ("0,1", ()), (f"{A},{PART}", (A, PART)), ("all", ())])
def test_what_variables_tell_of_gpus(value: str, expected: tuple[str, ...]) -> None:
    assert gpus_of({"CUDA_VISIBLE_DEVICES": value}) == expected


@pytest.mark.parametrize(
    ("told", "restarts"),
    [({"EW_GPU_NODES": "/dev/nvidia0"}, []), ({"EW_GPU_NODES": "/dev/nvidia1"}, [["0"]]), ({}, [])],
    ids=["the same", "renumbered", "an older version"],
)
def test_an_instance_is_restarted_where_its_gpu_has_another_number_now(told: dict[str, str], restarts: list[list[str]]) -> None:
    found = {"0": Found("0", "running", enabled=True, pid=1, runs={"EW_EFFECTIVE": "same", "CUDA_VISIBLE_DEVICES": A, **told})}
    wanted = [plan.Wanted("0", "same", (), gpus=(A,), nodes=("/dev/nvidia0",))]
    names = plan.Names("w", False, ("unit", "w.target"), lambda path: ("unit", path))
    made = plan.make(plan.Request("started", ("0",)), wanted, [], found, FoundShared(enabled=True, active=True), names)
    assert made.restart_batches == restarts


def test_nodes_are_told_to_the_process_and_change_no_digest() -> None:
    spec = Spec(Layout("/opt/w").worker("w"), 1, "/r", "/e/bin/python")
    one, other = instance("0", A), dataclasses.replace(instance("0", A), nodes=("/dev/nvidiactl", "/dev/nvidia3"))
    assert process.digest(spec, one, "systemd", b"salt") == process.digest(spec, other, "systemd", b"salt")
    assert process.environ(spec, other, Stamp("e", 1))["EW_GPU_NODES"] == "/dev/nvidiactl,/dev/nvidia3"
    assert "EW_GPU_NODES" not in process.environ(spec, one, Stamp("e", 1))


OWN, OTHER = (state("0"), "w", "0"), ("/opt/r/workers/v/data/0/state", "v", "0")


@pytest.mark.parametrize(
    ("wanted", "held", "codes"),
    [
        ({}, {}, []),
        ({"0": [A], "1": []}, {}, []),
        ({"0": [A], "1": ["GPU-x"], "2": ["GPU-y"]}, {}, ["gpu_unknown", "gpu_unknown"]),
        ({"0": [A], "1": [B]}, {OTHER: (B,)}, ["gpu_taken"]),
        # What the worker's own instances have is given anew by the deploy.
        ({"0": [B], "1": [A]}, {OWN: (A,)}, []),
        ({"0": [A]}, {OWN: (A,), OTHER: (A,)}, []),
    ],
)
def test_a_deploy_is_refused_before_anything_is_built(wanted: dict[str, list[str]], held: gpu_holders.Holders, codes: list[str]) -> None:
    found = gpu_holders.refusals(HOME, wanted, KNOWN, False, held)
    assert [each.code for each in found] == codes
    assert all("nvidia-smi -L" in each.remedy for each in found)
