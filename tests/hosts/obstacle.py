# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this machine can have test hosts: asked once in each process."""

from __future__ import annotations

import functools
import pathlib
import subprocess

# The status that automake and others read as "skipped"; the script's too.
CANNOT_RUN = 77
SCRIPT = pathlib.Path(__file__).with_name("install_packages.sh")


@functools.cache
def obstacle() -> str:
    """Why this machine cannot have test hosts; empty when it can. Root on Debian or Ubuntu gets the packages installed."""
    done = subprocess.run(
        ["bash", str(SCRIPT)], check=False, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
    )
    last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode not in (0, CANNOT_RUN):
        raise AssertionError(f"installing what test hosts need failed (status {done.returncode}):\n{done.stdout}")
    return last if done.returncode else ""
