# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: one pytest run over one kind of tests, or over all of them."""

from __future__ import annotations

import argparse
import os
import sys

from tools.checkout import CACHE, CHECKOUT

PLACES = {
    "all": (),  # pytest's testpaths
    "coverage": (),
    "quality": ("tests/quality",),
    "unit": ("tests/unit",),
    "integration": ("tests/integration",),
    "molecule": ("tests/molecule",),
}
TIMEOUT = 1200  # seconds for one test that names none itself


def pytest_arguments(kind: str, processors: int, extra: list[str]) -> list[str]:
    """pytest's arguments. Groups keep what must run one after the other in one process; the order of conftest.py is kept."""
    arguments = [*PLACES[kind], f"--timeout={TIMEOUT}", "--durations=15", "--durations-min=2"]
    if kind != "molecule":
        # More than processors where the hosts' scenarios and the deploys run too: half of their time they wait
        arguments += [f"--numprocesses={max(2, processors) + 2 * (not PLACES[kind])}", "--dist=loadgroup", "--no-loadscope-reorder"]
    if not PLACES[kind]:
        arguments += [f"--junit-xml={CACHE / 'tests.xml'}"]
    if kind == "coverage":
        # Apart: it doubles the work of every module that a test starts.
        arguments += ["--cov", "--cov-branch", "--cov-report=term"]
    return [*arguments, *extra]


def main() -> None:
    """Becomes pytest, whose closing line and exit status are then the command's."""
    parser = argparse.ArgumentParser(prog="python -m tools.testing", description="Run the project's checks and tests.")
    parser.add_argument("kind", choices=sorted(PLACES))
    arguments, extra = parser.parse_known_args()
    (CACHE / "coverage").mkdir(parents=True, exist_ok=True)
    os.chdir(CHECKOUT)
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments.kind, os.cpu_count() or 2, extra)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
