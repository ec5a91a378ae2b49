# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pins ``requirements/*.in`` with hashes: ``python -m tools.requirements [--upgrade …]``.

One solution for every Python from the oldest on, with markers where versions differ; no address of any index is written.
A controller's environment takes the versions of the hosts' toolchain, so that it can serve as one where both are one machine.
"""

from __future__ import annotations

import subprocess
import sys

from tools.checkout import CHECKOUT

REQUIREMENTS = CHECKOUT / "requirements"
# (source, where it is pinned, oldest Python), each kept to the versions of those above it
FILES = (
    ("toolchain.in", CHECKOUT / "roles" / "worker" / "files" / "toolchain.txt", "3.9"),
    ("deploy.in", REQUIREMENTS / "deploy.txt", "3.11"),
    ("test.in", REQUIREMENTS / "test.txt", "3.11"),
)
OPTIONS = (
    *("--universal", "--generate-hashes", "--no-annotate", "--quiet"),
    *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make requirements"),
)


def main(extra: list[str]) -> int:
    """extra: more options of ``uv pip compile``, such as ``--upgrade``."""
    for index, (source, target, oldest) in enumerate(FILES):
        target.parent.mkdir(parents=True, exist_ok=True)
        constraints = [option for _source, earlier, _oldest in FILES[:index] for option in ("--constraints", str(earlier))]
        paths = [source, "--output-file", str(target), "--python-version", oldest]
        command = [sys.executable, "-m", "uv", "pip", "compile", *paths, *OPTIONS, *constraints, *extra]
        done = subprocess.run(command, cwd=REQUIREMENTS, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            return done.returncode
        print(f"{target.relative_to(CHECKOUT)} is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
