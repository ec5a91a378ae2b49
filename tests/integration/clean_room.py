# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commands run as on a machine that has never seen the project: a home, data and settings of their own."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import typing as t

from tools.checkout import unmeasured

FOREIGN = ("ANSIBLE_", "EW_", "MAKE", "MFLAGS", "MOLECULE_", "PYTEST_", "VIRTUAL_ENV", "XDG_")


def clean_environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """This process's variables without those that would let a test see the checkout or the user's settings. pip's stay."""
    kept = {name: value for name, value in unmeasured(os.environ).items() if not name.startswith(FOREIGN)}
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], check=True, capture_output=True, text=True).stdout.strip()
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if not part.startswith(sys.prefix))
    own = {
        "HOME": str(home),
        "PATH": path,
        "PIP_CACHE_DIR": cache,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "RUSTUP_HOME": str(home.parent / "rustup"),  # pip asks rustc for its version, and rustup's rustc makes a directory for that
    }
    return {**kept, **own, **more}


def run(command: t.Sequence[str | pathlib.Path], cwd: pathlib.Path, environ: t.Mapping[str, str], timeout: float = 900) -> str:
    """What the command wrote, both streams; a status other than 0 is a failure that shows its end."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=environ,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{' '.join(str(each) for each in command)}: status {done.returncode}\n{done.stdout[-8000:]}"
    return done.stdout


def changed(output: str) -> list[int]:
    """How many tasks changed something, for each host of the recap."""
    return [int(count) for count in re.findall(r"\bchanged=(\d+)\s+unreachable=0\s+failed=0", output)]


def left_in(directory: pathlib.Path) -> list[str]:
    """Every file and directory below it."""
    return sorted(each.relative_to(directory).as_posix() for each in directory.rglob("*"))


def processes_below(directory: pathlib.Path) -> list[str]:
    """The command lines of processes that name the directory."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended
            continue
        if str(directory) in line:
            found.append(f"{path.parent.name}: {line}")
    return found
