# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenarios' hosts install, got once: ``python -m tests.molecule.packages`` prints the path of a tar file.

``packages.json`` beside it tells that path and the version of the Python in the channel. The archive holds ``channel/``, a
conda channel packed from this machine's CPython, and ``wheels/``, every wheel that the toolchain and the example workers
need. Hosts that unpack it download nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import typing as t

from packaging.markers import Marker

from tools.channel import interpreter
from tools.channel.pack import pack
from tools.checkout import CACHE, CHECKOUT

PLACE = CACHE / "host-packages"
# The Pythons of the suites in tests/hosts, and the C library of the oldest.
HOST_PYTHONS = ("3.9", "3.11", "3.13")
GLIBC = 31
TOOLCHAIN = CHECKOUT / "roles" / "worker" / "files" / "toolchain.txt"
# What the scenario with the oldest Python installs beside that.
OLDEST = tuple(sorted((CHECKOUT / "molecule" / "walls").glob("*-3.9.txt")))
EXAMPLES = tuple(sorted((CHECKOUT / "examples").glob("*/requirements.txt")))


def download_argv(python: str, requirements: pathlib.Path, target: pathlib.Path) -> list[str]:
    """pip's command that fetches the wheels for a Python that need not be the running one."""
    platforms = ["manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(5, GLIBC + 1))]
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--python-version", python]
    argv += [option for platform in platforms for option in ("--platform", platform)]
    return [*argv, "--dest", str(target), "--requirement", str(requirements)]


def for_python(requirements: pathlib.Path, python: str) -> str:
    """The requirements that count for that Python, without their markers: pip asks the running one instead, whatever it downloads for."""
    lines = []
    for line in requirements.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        words, semicolon, rest = line.partition(";")
        marker, hashes, digests = rest.partition("--hash")
        counts = not semicolon or Marker(marker).evaluate({"python_version": python, "python_full_version": f"{python}.0"})
        if counts and not line.lstrip().startswith("#"):
            lines.append(f"{words} {hashes}{digests}")
    return "".join(f"{line}\n" for line in lines)


def wanted_wheels(worker_python: str) -> list[tuple[str, pathlib.Path]]:
    """Each Python with the requirements that will be installed for it."""
    hosts = [(python, TOOLCHAIN) for python in HOST_PYTHONS]
    return [*hosts, *((worker_python, example) for example in EXAMPLES), *((HOST_PYTHONS[0], each) for each in OLDEST)]


def stamp(wanted: t.Sequence[tuple[str, pathlib.Path]], channel: t.Mapping[str, t.Any]) -> str:
    """Changes when anything in the archive would."""
    files = [[python, hashlib.sha256(path.read_bytes()).hexdigest()] for python, path in wanted]
    return json.dumps([files, channel["packages"]], sort_keys=True)


def main() -> None:
    """Make the archive unless it is there."""
    PLACE.mkdir(parents=True, exist_ok=True)
    archive, mark = PLACE / "packages.tar", PLACE / "stamp.json"
    with open(PLACE / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = pack(PLACE / "channel", [interpreter.find(None)], False, False, lambda line: print(line, file=sys.stderr))
        wanted = wanted_wheels(".".join(made.pythons[0].split(".")[:2]))
        now = stamp(wanted, made.as_json())
        there = archive.is_file() and mark.is_file() and mark.read_text(encoding="utf-8") == now
        if not there:
            for python, requirements in wanted:
                chosen = PLACE / "requirements.txt"
                chosen.write_text(for_python(requirements, python), encoding="utf-8")
                subprocess.run(download_argv(python, chosen, PLACE / "wheels"), check=True, stdin=subprocess.DEVNULL)
            write_archive(archive, ("channel", "wheels"))
            mark.write_text(now, encoding="utf-8")
        (PLACE / "packages.json").write_text(json.dumps({"archive": str(archive), "python_version": made.pythons[0]}), encoding="utf-8")
    print(f"packages: {'unchanged' if there else 'changed'}", file=sys.stderr, flush=True)
    print(archive, flush=True)


def write_archive(archive: pathlib.Path, names: t.Sequence[str]) -> None:
    """Plain tar: wheels and conda packages are compressed already."""
    unfinished = archive.with_suffix(".part")
    with tarfile.open(unfinished, "w") as tar:
        for name in names:
            tar.add(PLACE / name, name, filter=lambda member: None if "/." in member.name else member)
    unfinished.replace(archive)


if __name__ == "__main__":
    main()
    # py-rattler's threads crash now and then while the interpreter is taken down: leave without that.
    os._exit(0)
