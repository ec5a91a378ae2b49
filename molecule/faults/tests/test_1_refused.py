# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deploys that fail: each is told by its code and a remedy, what served serves on, and without the fault the same command succeeds."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

import pytest

from tests.molecule.fleet import Run
from tests.molecule.trial import PLACE, ROOT, Trial

Variables = dict[str, t.Any]
Undone = t.ContextManager[t.Any]
ENVS = f"{ROOT}/envs"
LINK = f"{ENVS}/ew_ai_worker"


@dataclasses.dataclass(frozen=True)
class Fault:
    """code, stage: of the failure. words: in its message or remedy; with {trial.…} filled in. make: the block in which it is there.

    within: it is made in the middle of a build.
    """

    code: str
    stage: str
    words: tuple[str, ...]
    make: t.Callable[[Trial], Undone]
    within: bool = False


@dataclasses.dataclass(frozen=True)
class Command:
    """A deploy that meets one fault after the other, and none in the end. variables: more of them."""

    faults: t.Mapping[str, Fault]
    variables: t.Callable[[Trial], Variables] = lambda trial: {}


def without_note(trial: Trial) -> Undone:
    """The package of the command is nowhere."""
    return trial.done(f"mv {PLACE}/wheels/{trial.note} {PLACE}/{trial.note}", f"mv {PLACE}/{trial.note} {PLACE}/wheels/{trial.note}")


def changed_note(trial: Trial) -> Undone:
    """Its wheel is another one, and no worse."""
    return trial.done(
        f"mv {PLACE}/wheels/{trial.note} {PLACE}/{trial.note} && cp {PLACE}/changed/{trial.note} {PLACE}/wheels/{trial.note}",
        f"mv {PLACE}/{trial.note} {PLACE}/wheels/{trial.note}",
    )


def full(trial: Trial) -> Undone:
    """20 MB are free, which do not do for the packages."""
    return trial.done(f"fallocate -l $(($(df --output=avail {ROOT} | tail -1) - 20000))K {ROOT}/ballast", f"rm {ROOT}/ballast")


def without_inodes(trial: Trial) -> Undone:
    """300 more files can be made."""
    used = int(trial.on(f"df --output=iused {ROOT} | tail -1"))
    return trial.done(f"mount -o remount,nr_inodes={used + 300} /opt", "mount -o remount,nr_inodes=300000 /opt")


SOURCES = Command(
    {
        "channel": Fault(
            *("channel_unreachable", "environment", ("{trial.channel}", "Connection refused", "worker_channels", "curl -I")),
            make=lambda trial: trial.unreachable(trial.channel),
        ),
        "index": Fault(
            *("index_unreachable", "environment", ("{trial.index}", "worker_index_url", "curl -I")),
            make=lambda trial: trial.unreachable(trial.index),
        ),
    },
    lambda trial: {
        "worker_channels": [trial.channel],
        "worker_index_url": trial.index,
        "worker_offline": False,
        "worker_find_links": ["/srv/packages/wheels"],
    },
)
PACKAGES = Command(
    {
        "conda package": Fault(
            *("unsatisfiable", "environment", ("ew-more", "worker_packages")),
            make=lambda trial: trial.done(f"ln -sfn bare {PLACE}/extra", f"ln -sfn channel {PLACE}/extra"),
        ),
        "pip package": Fault("pip_conflict", "environment", ("ew-note=={trial.number}", "worker_pip"), make=without_note),
        "hash": Fault("hash_mismatch", "environment", ("ew-note", "worker_requirements_file"), make=changed_note),
    },
    lambda trial: {
        "worker_channels": ["file:///srv/packages/channel", f"file://{PLACE}/extra"],
        "worker_packages": ["ew-more"],
        "worker_pip": [trial.note_with_hash()],
    },
)
PLACES = Command(
    {
        "read-only place": Fault(
            *("not_writable", "environment", (ENVS, "Read-only", "remount")),
            make=lambda trial: trial.done(f"mount --bind {ENVS} {ENVS} && mount -o remount,bind,ro {ENVS}", f"umount {ENVS}"),
        ),
        "owner of the root": Fault(
            *("unsafe_root", "preflight", (ROOT, "chown root:root")),
            make=lambda trial: trial.done(f"chown daemon {ROOT}", f"chown root:root {ROOT}"),
        ),
        "something in the place": Fault(
            *("foreign_prefix", "environment", (LINK, "mv ")),
            make=lambda trial: trial.done(f"mv {LINK} {LINK}.ours && mkdir {LINK}", f"rmdir {LINK} && mv {LINK}.ours {LINK}"),
        ),
    }
)
ROOM = Command(
    {
        "no space": Fault("disk_full", "environment", ("df -h",), make=full, within=True),
        "no inodes": Fault("disk_full", "environment", ("df -i",), make=without_inodes, within=True),
    },
    lambda trial: {"worker_pip": [f"ew-gate-{trial.number}"]},
)


@pytest.mark.parametrize("command", [SOURCES, PACKAGES, PLACES, ROOM], ids=lambda command: ", ".join(command.faults))
def test_without_the_fault_the_same_command_succeeds(trial: Trial, command: Command) -> None:
    variables = {**trial.next(), **command.variables(trial)}
    for name, fault in command.faults.items():
        with trial.undisturbed(name):
            run = run_within(trial, fault, variables) if fault.within else run_with(trial, fault, variables)
            trial.refused(name, run, fault.code, *(word.format(trial=trial) for word in fault.words), stage=fault.stage)
    trial.succeeds(f"without {', '.join(command.faults)}", variables)


def run_with(trial: Trial, fault: Fault, variables: Variables) -> Run:
    """It is there from the beginning."""
    with fault.make(trial):
        return trial.fleet.play("deploy", status=2, **variables)


def run_within(trial: Trial, fault: Fault, variables: Variables) -> Run:
    """It comes in the middle of the build."""
    with contextlib.ExitStack() as stack:
        with trial.gate():
            playbook = trial.fleet.begin("deploy", **variables)
            trial.wait_for_gate(playbook)
            stack.enter_context(fault.make(trial))
        return playbook.end(2)
