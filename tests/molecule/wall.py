# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A wall around a host: whoever it is asked by gets an answer, and whatever it begins itself is counted and refused.

A host without a default route alone would prove little: what cannot be routed leaves no packet that could be counted.
"""

from __future__ import annotations

import json
import subprocess

from tests.hosts import faults
from tests.molecule.fleet import Fleet

# Its own loopback is its own matter. A query for a name counts as well, also to the nearest server.
RULES = """
table inet wall {
    counter tried { }
    chain output {
        type filter hook output priority 0; policy accept;
        oifname != "lo" meta l4proto { tcp, udp } ct state new counter name tried reject
    }
}
"""


def nft(fleet: Fleet, host: str, *words: str, text: str = "") -> str:
    """Run the host's nft with rights that the host itself may not have."""
    faults.find(fleet.podman, fleet.group, host)
    pid = fleet.podman.pid(fleet.group.container(host))
    command = ["nsenter", "--target", str(pid), "--net", "--mount", "/usr/sbin/nft", *words]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, f"{host}: {command}: {done.stderr}"
    return done.stdout


def build(fleet: Fleet) -> None:
    """Around every host."""
    fleet.every(lambda host: nft(fleet, host, "-f", "-", text=RULES))


def tried(fleet: Fleet, reset: bool = False) -> dict[str, int]:
    """How many packets of each host ran into the wall. reset: begin again with 0."""

    def count(host: str) -> int:
        listed = json.loads(nft(fleet, host, "--json", "reset" if reset else "list", "counter", "inet", "wall", "tried"))
        return sum(int(each["counter"]["packets"]) for each in listed["nftables"] if "counter" in each)

    return fleet.every(count)
