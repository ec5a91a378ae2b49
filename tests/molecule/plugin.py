# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the scenarios' tests share: the fleet, a table of what was expected and what was found, and what was measured."""

from __future__ import annotations

import os
import typing as t

import pytest

from tests import figures

from .fleet import Fleet

Expect = t.Callable[[str, t.Any, t.Any], None]
ROWS = pytest.StashKey[list[tuple[str, str, str, bool]]]()
FLEET = pytest.StashKey[Fleet]()
WIDEST = 60  # characters of a value


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests tell figures."""
    config.pluginmanager.register(figures.Collector(), "figures")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What is told from now on belongs to this test."""
    figures.begin(item)


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """The scenario's hosts."""
    found = Fleet(os.environ["MOLECULE_SCENARIO_NAME"])
    request.config.stash[FLEET] = found
    return found


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Expect:
    """``expect(subject, expected, found)``: both go into the table at the end, and must be equal."""
    rows = request.config.stash.setdefault(ROWS, [])

    def compare(subject: str, expected: t.Any, found: t.Any) -> None:
        rows.append((subject, str(expected), str(found), expected == found))
        assert found == expected, subject

    return compare


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table and what each playbook took."""
    rows = [("WHAT", "EXPECTED", "FOUND", True), *config.stash.get(ROWS, [])]
    cells = [tuple(short(value) for value in row[:3]) for row in rows]
    widths = [max(len(cell[column]) for cell in cells) for column in range(3)]
    terminalreporter.section("expected and found")
    for cell, row in zip(cells, rows):
        terminalreporter.line("  ".join(f"{text:<{width}}" for text, width in zip(cell, widths)).rstrip() + ("" if row[3] else "  <-- differs"))
    fleet = config.stash.get(FLEET, None)
    if fleet is None:
        return
    terminalreporter.section("playbooks")
    for name, seconds in fleet.timings:
        terminalreporter.line(f"{seconds:6.1f} s  {name[:150]}")
    write_figures(config, fleet, cells[1:], [row[3] for row in rows[1:]])


def write_figures(config: pytest.Config, fleet: Fleet, cells: t.Sequence[t.Sequence[str]], equal: t.Sequence[bool]) -> None:
    """The short form of the table, and what was measured."""
    collector = t.cast("figures.Collector", config.pluginmanager.get_plugin("figures"))
    lines = [f"{sum(equal)} of {len(equal)} findings as expected, in {len(fleet.timings)} playbooks that took {sum(row[1] for row in fleet.timings):.0f} s"]
    lines += [f"DIFFERS {what}: expected {expected}, found {found}" for (what, expected, found), same in zip(cells, equal) if not same]
    figures.of_scenario(fleet.scenario).write_text("".join(f"{line}\n" for line in [*lines, *collector.lines()]), encoding="utf-8")


def short(value: str) -> str:
    """One line, cut where it is long."""
    line = " ".join(value.split())
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"
