# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The README in both languages: the same shape, and pasted output that still has the words which the code writes."""

from __future__ import annotations

import ast
import datetime
import functools
import pathlib
import re
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.plugin_utils import report, report_text
from tests.unit.report.outcomes import instance, outcome
from tools.checkout import CHECKOUT
from tools.docs.__main__ import DOCUMENTS
from tools.docs.markers import between, replaced
from tools.testing.tree import project_files

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
FEWEST = 8  # fixed characters that a text in the code must have to be told from others


@functools.cache
def text_of(document: str) -> str:
    """Without the generated table of variables, which has tests of its own."""
    return replaced((CHECKOUT / document).read_text(encoding="utf-8"), "variables", "")


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """(language, lines) of every block of code, without comments, which are translated."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(language, [line for line in (re.sub(r"(^|\s+)# .*$", "", line) for line in code.splitlines()) if line]) for language, code in found]


def prose(text: str) -> str:
    """The document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every row of every table."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in each.splitlines()] for each in found]


def code_in(text: str) -> list[str]:
    """What stands between backquotes; a word in it that is another in each language is left out."""
    return [re.sub(r"[^\x00-\x7f]+|\b(DIR|host|verb)\b|<>", "", each) for each in re.findall(r"`([^`]+)`", text)]


def row(table: list[list[str]], column: int) -> list[list[str]]:
    """The code in one column, row by row."""
    return [code_in(cells[column]) for cells in table]


ENGLISH, *OTHERS = sorted(DOCUMENTS)


@pytest.mark.parametrize("document", OTHERS)
def test_both_languages_have_the_same_headings_and_code(document: str) -> None:
    for shape in (lambda text: [len(level) for level in re.findall(r"^(#+) ", prose(text), re.MULTILINE)], blocks):
        assert shape(text_of(document)) == shape(text_of(ENGLISH))


@pytest.mark.parametrize("document", OTHERS)
def test_both_languages_have_the_same_tables(document: str) -> None:
    """As many rows, and in each cell the same code: verbs, modules, old settings and their defaults."""
    ours, theirs = tables(text_of(ENGLISH)), tables(text_of(document))
    assert [[len(cells) for cells in table] for table in theirs] == [[len(cells) for cells in table] for table in ours]
    for table, other in zip(ours, theirs):
        for column in range(len(table[0])):
            assert row(other, column) == row(table, column)


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_every_verb_and_every_old_setting_has_a_row(document: str) -> None:
    verbs, settings = (next(table for table in tables(text_of(document)) if word in str(table)) for word in ("`reinstall`", "`EW_WORKER_DIR`"))
    told = [word for codes in row(verbs, 0) for word in codes]
    assert sorted(told) == sorted(name.stem for name in project_files() if name.parts[0] == "playbooks")
    defaults = (CHECKOUT / "roles" / "worker" / "defaults" / "main.yml").read_text(encoding="utf-8")
    assert sorted(code for codes in row(settings, 0) for code in codes) == sorted(set(re.findall(r"EW_\w+(?=')", defaults)))
    for cells in settings[2:]:
        variable, ours = code_in(cells[0])[0], code_in(cells[1])[0]
        assert re.search(rf"^{ours}: .*'{variable}'", defaults, re.MULTILINE), cells


# Pasted output: what differs from run to run is masked on both sides.

MASKS = (
    (r"-[0-9a-f]{12}-\d+\b|\b[0-9a-f]{16}\b", "X"),
    (r"\b(localhost|worker-[a-c])\b", "HOST"),
    (r"\d+(\.\d+)?(, \d+)*", "N"),
    (r"\s+", " "),
)


def masked(line: str) -> str:
    """The line with numbers, names of hosts and environments, and the widths of columns replaced."""
    for pattern, word in MASKS:
        line = re.sub(pattern, word, line)
    return line.strip()


def written_report(*hosts: str) -> list[str]:
    """What the code writes for a good first deploy to those hosts."""
    rows = [instance(started_at="2026-01-02T03:04:01Z", release=f"/x/releases/{'a' * 16}", environment=f"/x/envs/ew_ai_worker-{'b' * 12}-1")]
    environment = {"elapsed": 3.12, "changed": True, "created": True, "prefix": rows[0]["environment"], "backend": {"name": "rattler"}}
    good = outcome(call={"instances": rows}, environment=environment)
    merged = report.merge([report.host_report(host, good) for host in hosts])
    return ["REPORT [deploy] ***", *map(masked, report_text.lines(merged, NOW))]


def pasted_report(document: str, marker: str) -> list[str]:
    """From the report's heading to its last line, without what was left out."""
    lines = between((CHECKOUT / document).read_text(encoding="utf-8"), marker).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("REPORT ["))
    end = next(number for number, line in enumerate(lines) if line.startswith("SUCCESS: "))
    return [re.sub(r"\*{4,}", "***", lines[start]), *(masked(line) for line in lines[start + 1 : end + 1] if line.strip() != "…")]


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_pasted_report_of_one_host_is_what_the_code_writes(document: str) -> None:
    assert pasted_report(document, "make deploy") == written_report("localhost")


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_pasted_report_of_a_fleet_is_what_the_code_writes(document: str) -> None:
    """With lines left out, in the same order."""
    written = iter(written_report("worker-a", "worker-b", "worker-c"))
    assert [line for line in pasted_report(document, "fleet deploy") if line not in written] == []
    heading = masked(report_text.instance_table([], NOW)[0])
    assert heading in map(masked, between((CHECKOUT / document).read_text(encoding="utf-8"), "fleet deploy").splitlines())


@functools.cache
def templates() -> tuple[re.Pattern[str], ...]:
    """Every text of the code that is not only made of values, as a pattern: values are anything."""
    found: set[str] = set()
    for name in project_files():
        if name.suffix == ".py" and name.parts[0] in ("plugins", "tools", "examples"):
            for node in ast.walk(ast.parse((CHECKOUT / name).read_text(encoding="utf-8"))):
                found.update(pattern_of(node))
    return tuple(re.compile(pattern) for pattern in sorted(found))


def pattern_of(node: ast.AST) -> t.Iterator[str]:
    """The pattern of a text or an f-string, where it has enough fixed characters."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    texts = [part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else None for part in parts]
    if sum(len(text.strip()) for text in texts if text) >= FEWEST and not any("\n" in text for text in texts if text):
        yield "".join(".*" if text is None else re.escape(text) for text in texts)


def told_by_the_code(line: str) -> bool:
    """Whether the code writes such a line; one that Ansible writes is known by its form and by the task's name."""
    task = re.fullmatch(r"TASK \[ew_ai\.worker\.worker : (.*)\] \*+", line)
    if task:
        name = re.compile(rf'^ *- name: "?{re.escape(task[1])}"?$', re.MULTILINE)
        return any(name.search(path.read_text(encoding="utf-8")) for path in pathlib.Path(CHECKOUT, "roles/worker/tasks").glob("*.yml"))
    progress = re.sub(r"^  localhost \| ", "", line)
    return any(pattern.fullmatch(progress) for pattern in templates())


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_the_other_pasted_lines_of_make_deploy_are_those_of_the_code(document: str) -> None:
    lines = between((CHECKOUT / document).read_text(encoding="utf-8"), "make deploy").splitlines()
    start, end = (next(number for number, line in enumerate(lines) if line.startswith(word)) for word in ("REPORT [", "SUCCESS: "))
    others = [line for line in lines[:start] + lines[end + 1 :] if line.strip(" …`") and not re.match(r"changed: \[|\$ cd ", line)]
    proto = (CHECKOUT / "examples" / "worker" / "worker" / "inference.proto").read_text(encoding="utf-8")
    calls = [line for line in others if re.match(r"label|probabilities|\s+\w", line) and " | " not in line]
    assert [line for line in others if line not in calls and not told_by_the_code(line)] == [], "the code has no such text any more"
    words = {word for line in calls for word in line.split() if re.fullmatch(r"[a-z]+", word)} - {"yes", "no", "red", "green", "blue"}
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", proto)) == [], "the example answers no such thing"


def test_a_line_that_nobody_writes_is_seen() -> None:
    assert not told_by_the_code("Installing what nobody has asked for")
    assert not told_by_the_code("TASK [ew_ai.worker.worker : Do what no task does] ***")
    assert not told_by_the_code("packages come out of nowhere")
