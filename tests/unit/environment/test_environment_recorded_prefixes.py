# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What real conda, micromamba and py-rattler left when they were interrupted, and took for an environment, and that none of it gets through, by backend."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import cli_answers, cli_commands
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.foreign import what_is
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inventory import take_inventory
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.locked import LockedPackage
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import building_mark
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive
from tests.recorded import BACKENDS, ROWS, SMALL, TOOLS, WITH_PYTHON, Lab, content_of, left_by
from tests.shared import digest, wait_until

each_backend = pytest.mark.parametrize("tool", BACKENDS)

# Interruption.

KILLED = [
    ("conda", "SIGTERM (group) during post-link of create json"),
    ("conda", "SIGTERM during linking of create json"),
    ("conda", "SIGKILL (group) during post-link of create json"),
    ("conda", "SIGKILL during linking of create json"),
    ("micromamba", "SIGTERM (group) during post-link of create json"),
    ("micromamba", "SIGTERM during linking of create json"),
    ("micromamba", "SIGKILL (group) during post-link of create json"),
    ("micromamba", "SIGKILL during linking of create json"),
    ("rattler", "SIGTERM in post-link"),
    ("rattler", "SIGTERM in linking"),
    ("rattler", "SIGKILL in post-link"),
    ("rattler", "SIGKILL in linking"),
]
each_kill = pytest.mark.parametrize(("tool", "label"), KILLED)


@each_kill
def test_a_tool_that_was_killed_is_a_failure_and_leaves_nothing(lab: Lab, tool: str, label: str) -> None:
    """Records were there before link scripts had run, or a lock, or half an environment; no tool took it back but conda after SIGTERM."""
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, label)
    assert failed.value.code == "create_failed"
    assert lab.envs() == []
    assert list((lab.top / "cache").rglob("rattler-*")) + list((lab.top / "cache").rglob("cli-*")) == []


@each_kill
def test_what_a_killed_run_left_is_not_built_upon(lab: Lab, tool: str, label: str) -> None:
    """The whole run was killed: the mark tells, whatever the tool left there, and the next run begins with an empty directory."""
    content = content_of(tool, SMALL[tool])
    prefix = left_by(tool, label, lab.path(content))
    (prefix / "left").write_text("half a package")
    pathlib.Path(building_mark(str(prefix))).write_text("{}")
    built = lab.present(tool, SMALL[tool])
    assert (built["created"], built["prefix"]) == (True, str(prefix))
    assert not (prefix / "left").exists()
    assert [record.name for record in (prefix / "conda-meta").glob("*.json")] == ["ew-z-1.3.1-h0_0.json"]
    assert lab.envs() == ["w", prefix.name]


@each_kill
def test_what_another_killed_tool_left_is_left_alone(lab: Lab, tool: str, label: str) -> None:
    """Without a mark of ours it may be anybody's: only an empty directory, or none, is as good as nothing."""
    prefix = left_by(tool, label, lab.top / "theirs")
    before = digest(prefix, of_directories=True)
    if not before.keys() - {"."}:
        assert lab.present(tool, SMALL[tool], place=lab.place(prefix))["created"] is True
        return
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, SMALL[tool], place=lab.place(prefix))
    assert failed.value.code == "foreign_prefix"
    assert digest(prefix, of_directories=True) == before


@pytest.mark.parametrize(("tool", "label"), [("conda", KILLED[2][1]), ("micromamba", KILLED[5][1]), ("rattler", KILLED[11][1])])
def test_what_a_kill_left_is_told(lab: Lab, tool: str, label: str) -> None:
    """micromamba's own list said ``[]`` with status 0, conda's that there is no environment: the records are read by us."""
    assert json.loads(ROWS["micromamba", "after SIGTERM during linking: list"]["stdout"])["packages"] == []
    assert ROWS["conda", "after SIGTERM during linking: list"]["rc"] == 1
    found = take_inventory(str(left_by(tool, label, lab.top / "theirs")))
    assert (found.tool, found.packages["conda"]) == (tool, [])
    expected = {"conda": "was left by a conda that was killed", "micromamba": "is the lock of a micromamba that works now, or was killed"}
    assert expected.get(tool, "has no record of any package") in [each["problem"] for each in found.broken]


@each_backend
def test_a_tool_that_takes_too_long_ends_with_all_that_it_started(lab: Lab, tool: str) -> None:
    before = f"sleep 300 & echo $! >{lab.top}/pid; wait"
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, SMALL[tool], before=before, timeout=1)
    assert failed.value.code == "timeout"
    pid = int((lab.top / "pid").read_text())
    wait_until(lambda: not is_alive(pid), "what the tool started has ended")
    assert lab.envs() == []


@each_backend
def test_an_orphan_that_holds_the_pipes_does_not_hold_the_build(lab: Lab, tool: str) -> None:
    """micromamba leaves one when it is killed alone."""
    assert lab.present(tool, SMALL[tool], after=f"sleep 300 & echo $! >{lab.top}/pid")["created"] is True
    pid = int((lab.top / "pid").read_text())
    wait_until(lambda: not is_alive(pid), "the orphan has ended")


# What counts as an environment.


@each_backend
def test_a_prefix_without_a_history_is_still_anothers(lab: Lab, tool: str) -> None:
    """For conda it is no environment, for micromamba and the library it is one."""
    if tool != "rattler":
        assert ROWS[tool, "conda-meta without history: list"]["rc"] == (1 if tool == "conda" else 0)
    prefix = left_by(tool, SMALL[tool], lab.top / "theirs")
    (prefix / "conda-meta/history").unlink()
    assert "without a history" in what_is(str(prefix))
    before = digest(prefix, of_directories=True)
    for run in (lambda place: lab.present(tool, SMALL[tool], place=place), lab.absent):
        with pytest.raises(WorkerError) as failed:
            run(lab.place(prefix))
        assert failed.value.code == "foreign_prefix"
    assert digest(prefix, of_directories=True) == before


@each_backend
def test_what_we_make_is_an_environment_for_all_of_them(lab: Lab, tool: str) -> None:
    """It has the history that conda asks for, and the tool that made it is told."""
    prefix = pathlib.Path(lab.present(tool, WITH_PYTHON[tool])["prefix"])
    assert (prefix / "conda-meta/history").is_file()
    found = take_inventory(str(prefix))
    assert [each for each in found.broken if "history" in each["path"]] == []


@each_backend
def test_a_record_that_was_cut_short_fails_the_build(lab: Lab, tool: str) -> None:
    """Each of the three fails on such a prefix from then on."""
    assert ROWS[tool, "truncated record" if tool == "rattler" else "truncated record json: list"]["rc"] == 1
    record = lab.path(content_of(tool, SMALL[tool])) / "conda-meta/ew-z-1.3.1-h0_0.json"
    with pytest.raises(WorkerError, match=r"h0_0\.json cannot be read") as failed:
        lab.present(tool, SMALL[tool], after=f"""printf '{{"name": "ew-' >{record}""")
    assert failed.value.code == "create_failed"
    assert lab.envs() == []


@each_backend
def test_a_record_that_was_cut_short_is_told(lab: Lab, tool: str) -> None:
    prefix = left_by(tool, SMALL[tool], lab.top / "theirs")
    (prefix / "conda-meta/ew-z-1.3.1-h0_0.json").write_text('{"name": "ew-')
    found = take_inventory(str(prefix))
    assert [each["name"] for each in found.packages["conda"]] == ["ew-z"]
    assert "is no valid JSON: it is empty, truncated or something else" in [each["problem"] for each in found.broken]


@each_backend
def test_files_that_are_gone_are_told_though_the_record_is_there(lab: Lab, tool: str) -> None:
    """None of the three noticed."""
    label = "files deleted, record kept" if tool == "rattler" else "a package's files deleted, record kept: list"
    assert (ROWS[tool, label]["rc"], "lib" in ROWS[tool, label]["after"]["top"]) == (0, False)
    prefix = left_by(tool, label, lab.top / "theirs")
    record = {"name": "ew-z", "version": "1.3.1", "build": "h0_0", "files": ["lib/libew-z.so.1.3.1", "share"]}
    (prefix / "conda-meta/ew-z-1.3.1-h0_0.json").write_text(json.dumps(record))
    problems = [each["problem"] for each in take_inventory(str(prefix)).broken]
    assert "names 2 files, of which 1 are gone, first lib/libew-z.so.1.3.1" in problems


@each_backend
@pytest.mark.parametrize("other", BACKENDS)
def test_an_environment_of_one_backend_serves_another(lab: Lab, tool: str, other: str) -> None:
    """conda and micromamba work on the library's prefixes, and it on theirs; here none of them works on what is there."""
    built = lab.present(tool, SMALL[tool])
    before = digest(pathlib.Path(built["prefix"]), of_directories=True)
    asked = len(lab.calls())
    again = lab.present(other, SMALL[other], content=content_of(tool, SMALL[tool]))
    assert (again["created"], again["prefix"], len(lab.calls())) == (False, built["prefix"], asked)
    assert digest(pathlib.Path(built["prefix"]), of_directories=True) == before


# Shapes of answers.


@each_backend
def test_nothing_but_the_version_and_a_create_is_ever_asked(lab: Lab, tool: str) -> None:
    """``list``, ``install``, ``env`` and ``remove`` answer in a shape of their own in each program; so none of them is asked in a whole life."""
    lab.present(tool, SMALL[tool])
    lab.present(tool, SMALL[tool])
    lab.present(tool, WITH_PYTHON[tool])
    lab.absent()
    assert {call["argv"][0] for call in lab.calls()} <= {"--version", "create", "rattler"}
    assert len(lab.creates()) == 2
    assert lab.envs() == []


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("label", ["list json", "install no-op json", "list explicit", "yml: empty file json"])
def test_an_answer_of_another_shape_links_nothing(tool: str, label: str) -> None:
    """An array, ``{packages, log_history}``, a no-op without ``actions``, and plain text."""
    assert ROWS[tool, label]["rc"] == 0
    assert cli_answers.linked_in(cli_answers.answer_in(ROWS[tool, label]["stdout"])) == set()


@each_backend
def test_a_list_of_locked_packages_is_written_by_us(lab: Lab, tool: str) -> None:
    """micromamba's ``list --explicit`` prints no ``@EXPLICIT``, without which neither program takes it for one. The library gets the packages as data."""
    row = dataclasses.asdict(locked()[0])
    if tool == "rattler":
        lab.create(tool, SMALL[tool], specs=(), channels=(), locked=locked())
        assert lab.calls()[0]["request"]["locked"] == [row]
        return
    assert ("@EXPLICIT" in ROWS[tool, "list explicit"]["stdout"]) is (tool == "conda")
    keep = f'while [ "$1" != --file ]; do shift; done; cp "$2" {lab.top}/given'
    with pytest.raises(WorkerError):
        lab.create(tool, "explicit file good md5", before=f"({keep})", after="exit 1", specs=(), channels=(), locked=locked())
    assert (lab.top / "given").read_text() == cli_commands.explicit_list(locked()) == f"@EXPLICIT\n{row['url']}#{row['md5']}\n"


def locked() -> tuple[LockedPackage, ...]:
    return (LockedPackage("http://127.0.0.1:9/linux-64/ew-z-1.3.1-h0_0.conda", md5="0" * 32),)
