# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Molecule scenarios: real hosts, real ssh. They run in two chains, beside the other tests: for much of their time they wait for hosts."""

from __future__ import annotations

import collections
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests.figures import of_scenario, tell
from tests.hosts.obstacle import obstacle
from tools.checkout import CACHE, CHECKOUT, environment, unmeasured

SCENARIOS = sorted(path.parent.name for path in (CHECKOUT / "molecule").glob("*/molecule.yml"))
LOGS = CACHE / "molecule"
TAIL = 120  # lines of a log that a failure shows
LONGEST = 2400  # seconds
# At once: three hosts of a chain, with those of other tests, stay well below what the kernel's default of inotify instances allows.
CHAINS = 2


def run_logged(command: list[str], log: pathlib.Path, timeout: float) -> int | None:
    """Run a command with its output in a file; its status, or None when it took too long and was ended with all its children."""
    with open(log, "w", encoding="utf-8") as stream:
        environ = unmeasured(environment({"PATH": path()}))
        child = subprocess.Popen(command, cwd=CHECKOUT, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return child.wait(timeout)
        except BaseException as reason:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait(60)
            if isinstance(reason, subprocess.TimeoutExpired):
                return None
            raise


def path() -> str:
    """PATH with the test environment first."""
    return f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def tail(log: pathlib.Path) -> str:
    """The end of a log."""
    with open(log, encoding="utf-8", errors="replace") as stream:
        return "".join(collections.deque(stream, TAIL))


def test_scenarios_of_the_design_are_there() -> None:
    assert set(SCENARIOS) >= {"default", "faults", "offline", "supervisord", "upgrade", "user", "walls"}


@pytest.mark.molecule
@pytest.mark.slow
@pytest.mark.timeout(LONGEST + 300)
@pytest.mark.parametrize("scenario", [pytest.param(each, marks=pytest.mark.xdist_group(f"hosts-{place % CHAINS}")) for place, each in enumerate(SCENARIOS)])
def test_scenario(scenario: str) -> None:
    if obstacle():
        pytest.skip(obstacle())
    LOGS.mkdir(parents=True, exist_ok=True)
    of_scenario(scenario).unlink(missing_ok=True)
    log, start = LOGS / f"{scenario}.log", time.monotonic()
    status = run_logged(["molecule", "test", "--scenario-name", scenario], log, LONGEST)
    seconds = time.monotonic() - start
    told = of_scenario(scenario).read_text(encoding="utf-8").splitlines() if of_scenario(scenario).is_file() else []
    tell(f"molecule test -s {scenario}: {seconds:.0f} s; the table of what was expected and found: {log.relative_to(CHECKOUT)}", *told)
    if status != 0:
        # After a failure Molecule may leave its hosts standing
        run_logged(["molecule", "destroy", "--scenario-name", scenario], LOGS / f"{scenario}-destroy.log", 300)
        what = f"took longer than {LONGEST} s" if status is None else f"ended with status {status} after {seconds:.0f} s"
        pytest.fail(f"molecule test -s {scenario} {what}; all of it: {log.relative_to(CHECKOUT)}\n{tail(log)}", pytrace=False)
