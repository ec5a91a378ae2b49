# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the tasks of roles and playbooks, and that each of the role's variables is used by a test that runs a playbook."""

from __future__ import annotations

import re
import typing as t

import yaml

from tools.checkout import CHECKOUT
from tools.docs.variables import load, options_of
from tools.testing.tree import project_files

Task = dict[str, t.Any]
# Where tasks are, below a task or a play
BELOW = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
OVER_PLAYBOOKS = re.compile(r"molecule/|inventories/local/|tests/integration/(test_deploy_\w+|deploy_driver)\.py$")


def tasks() -> list[tuple[str, Task]]:
    """Every task, block and play of roles and playbooks, each with its file."""
    found: list[tuple[str, Task]] = []
    for name in project_files():
        if name.parts[0] not in ("roles", "playbooks") or name.suffix != ".yml" or name.parts[2:3] in (("defaults",), ("meta",), ("vars",)):
            continue
        document = yaml.safe_load((CHECKOUT / name).read_text(encoding="utf-8"))
        found += [(str(name), task) for task in flat(document if isinstance(document, list) else [])]
    return found


def flat(listed: t.Sequence[Task]) -> list[Task]:
    """Those of a list, and what is inside them."""
    return [each for task in listed for each in (task, *flat([inner for key in BELOW for inner in task.get(key) or []]))]


def is_constant(condition: t.Any) -> bool:
    """Whether it says the same whatever the task found."""
    return isinstance(condition, bool) or re.fullmatch(r"\W*(true|false|yes|no|on|off|0|1)\W*", str(condition), re.IGNORECASE) is not None


def test_the_tasks_are_found() -> None:
    names = {file for file, _task in tasks()}
    assert {"roles/worker/tasks/deploy.yml", "roles/worker/tasks/health.yml", "playbooks/deploy.yml"} <= names
    inner = flat([{"block": [{"name": "in it", "changed_when": False}], "rescue": [{"block": [{"delegate_to": "x"}]}]}])
    assert len(inner) == 4
    assert [is_constant(value) for value in (True, "false", "{{ True }}", "'x' in y", "no")] == [True, True, True, False, True]


def test_no_task_says_by_itself_whether_it_changed_anything() -> None:
    assert [(file, task.get("name")) for file, task in tasks() if "changed_when" in task and is_constant(task["changed_when"])] == []


def test_what_is_done_elsewhere_is_not_done_as_another_account() -> None:
    """The controller's user, or the gateway's, may well have no sudo."""
    delegated = [(file, task) for file, task in tasks() if "delegate_to" in task or "local_action" in task]
    assert delegated
    assert [(file, task.get("name")) for file, task in delegated if task.get("become") is not False] == []


def test_every_variable_is_used_by_a_test_that_runs_a_playbook() -> None:
    """Those tests run over inventories/local, or over that of a scenario."""
    text = "\n".join((CHECKOUT / name).read_text(encoding="utf-8") for name in project_files() if OVER_PLAYBOOKS.match(str(name)))
    missing = {name for name in options_of(load(CHECKOUT / "roles" / "worker")[1]) if not re.search(rf"\b{name}\b", text)}
    assert sorted(missing) == [], "no test over a playbook sets these"
