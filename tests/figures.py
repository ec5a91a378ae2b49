# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures and tables that a run of the tests prints at its end, though pytest keeps what a passing test prints to itself.

They travel with the test's report, so they arrive from other processes too, and stand in the JUnit file.
"""

from __future__ import annotations

import pathlib

import pytest

from tools.checkout import CACHE

NAME = "figure"
TITLE = "what was measured"
_running: list[pytest.Item] = []


def tell(*lines: str) -> None:
    """Print the lines now, where the output is shown, and at the end of the run below the name of the test that runs."""
    for line in lines:
        print(line)
        if _running:
            _running[-1].user_properties.append((NAME, line))


def begin(item: pytest.Item) -> None:
    """From now on, what is told belongs to this test."""
    _running[:] = [item]


def of_scenario(name: str) -> pathlib.Path:
    """The file in which the tests of a scenario, a run of their own, leave the lines for the run that began the scenario."""
    return CACHE / "molecule" / f"{name}-figures.txt"


class Collector:
    """The plugin of the process that prints: takes the figures out of the reports."""

    def __init__(self) -> None:
        self._told: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The last report of a test has all of them."""
        if report.when == "teardown":
            lines = [str(value) for name, value in report.user_properties if name == NAME]
            if lines:
                self._told[report.nodeid] = lines

    def lines(self) -> list[str]:
        """Everything that was told, without the tests' names."""
        return [line for _name, lines in sorted(self._told.items()) for line in lines]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One section, in the order of the tests' names: with several processes they end in any order."""
        if self._told:
            terminalreporter.section(TITLE)
        for name, lines in sorted(self._told.items()):
            terminalreporter.line(name)
            for line in lines:
                terminalreporter.line(f"  {line}")
