# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: ``up``, ``down``, ``image``, ``inventory``, ``list`` and the faults."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from . import faults, hostset, images, inventory, machine
from .obstacle import CANNOT_RUN
from .podman import Podman
from .spec import SUITES, HostsError, Set, check_name, parse_hosts

CHECKOUT = Path(__file__).resolve().parents[2]


def build_parser() -> argparse.ArgumentParser:
    """Give the parser; each verb names its function in ``act``."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description="Make and remove test hosts.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, act, text in (
        ("up", _up, "make a set and wait until every host is up"),
        ("down", _down, "remove a set whole"),
        ("inventory", _inventory, "write a set's inventory again and print its path"),
        ("reboot", _reboot, "reboot one host and wait until it is up"),
        ("route-off", _route_off, "drop one host's default route"),
        ("route-on", _route_on, "restore one host's default route"),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(act=act)
        verb.add_argument("--set", required=True, help="name of the set")
        if name == "up":
            verb.add_argument("--hosts", required=True, metavar="NAME=SUITE[/sshd],…", help="hosts of the set")
        if name in ("reboot", "route-off", "route-on"):
            verb.add_argument("host", help="name of the host")
    verb = verbs.add_parser("image", help="build the images that are missing")
    verb.set_defaults(act=_image)
    verb.add_argument("--suite", action="append", choices=SUITES, help="only this suite (may be repeated)")
    verb.add_argument("--remove", action="store_true", help="remove the images instead")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb. Status 0: done; 1: failed, with one line why; 77: this machine cannot run test hosts."""
    arguments = build_parser().parse_args(argv)
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        print("test hosts need Linux and root: their network must be reachable from here", file=sys.stderr)
        return CANNOT_RUN
    start = time.monotonic()
    try:
        changed = arguments.act(Podman(machine.detect()), arguments)
    except HostsError as problem:
        print(f"{arguments.verb}: {problem}", file=sys.stderr)
        return 1
    print(f"{arguments.verb}: {'changed' if changed else 'unchanged'}, {time.monotonic() - start:.1f} s", file=sys.stderr)
    return 0


def _group(arguments: argparse.Namespace) -> Set:
    return Set(check_name(arguments.set, "--set"), CHECKOUT)


# Each returns whether it changed anything.
def _up(podman: Podman, arguments: argparse.Namespace) -> bool:
    group = _group(arguments)
    states, changed = hostset.up(podman, group, parse_hosts(arguments.hosts))
    for name, state in states.items():
        print(f"{name}: {state}", file=sys.stderr)
    print(group.inventory)
    return changed


def _down(podman: Podman, arguments: argparse.Namespace) -> bool:
    return hostset.down(podman, _group(arguments))


def _inventory(podman: Podman, arguments: argparse.Namespace) -> bool:
    group = _group(arguments)
    print(inventory.write(group, *hostset.members(podman, group), podman.machine))
    return True


def _reboot(podman: Podman, arguments: argparse.Namespace) -> bool:
    print(f"{arguments.host}: {faults.reboot(podman, _group(arguments), arguments.host)}")
    return True


def _route_off(podman: Podman, arguments: argparse.Namespace) -> bool:
    return faults.route(podman, _group(arguments), arguments.host, on=False)


def _route_on(podman: Podman, arguments: argparse.Namespace) -> bool:
    return faults.route(podman, _group(arguments), arguments.host, on=True)


def _image(podman: Podman, arguments: argparse.Namespace) -> bool:
    if arguments.remove:
        removed = images.remove(podman)
        print("\n".join(removed))
        return bool(removed)
    tags, built = images.ensure(podman, arguments.suite or SUITES, CHECKOUT / ".cache" / "hosts")
    print("\n".join(tags.values()))
    return built
