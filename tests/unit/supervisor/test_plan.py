# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what is wanted and what is found to a plan."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import plan
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import File, Found, FoundShared, OnDisk

SHARED = File("/u/w.target", "target")
ON_DISK = OnDisk("target", 0o644, (0, 0))
NAMES = plan.Names("w", False, ("unit", "w.target"), lambda path: ("unit", path.rsplit("/", 1)[1]))
THERE = FoundShared(files={SHARED.path: ON_DISK}, enabled=True, active=True)


def wanted(name: str, effective: str = "new", text: str = "new", missing: bool = False, ports: tuple[int, ...] = ()) -> plan.Wanted:
    return plan.Wanted(name, effective, (File(f"/u/{name}", text),), missing, ports)


def found(name: str, effective: str = "old", text: str = "old", **values: t.Any) -> Found:
    up = {"state": "running", "pid": 10, "enabled": True, "runs": {"EW_EFFECTIVE": effective}}
    return Found(name, files={f"/u/{name}": OnDisk(text, 0o644, (0, 0))}, **{**up, **values})


def down(name: str, text: str = "old", **values: t.Any) -> Found:
    return found(name, text=text, **{"state": "stopped", "pid": None, "enabled": False, "runs": None, **values})


def make(
    state: str,
    want: t.Sequence[plan.Wanted],
    have: t.Sequence[Found],
    shared: FoundShared = THERE,
    names: t.Optional[tuple[str, ...]] = None,
    **request: t.Any,
) -> plan.Plan:
    chosen = names if names is not None else tuple(one.name for one in want or have)
    return plan.make(plan.Request(state, chosen, **request), want, [SHARED] if want else [], {one.name: one for one in have}, shared, NAMES)


def words(made: plan.Plan) -> list[str]:
    return [f"{identifier} {status}" for _what, identifier, status in made.actions(NAMES)]


FRESH = ["w.target created", "w.target enabled", "workers/w/data/0 created", "w@0 created", "w@0 enabled", "w@0 started", "w.target started"]


@pytest.mark.parametrize(
    ("state", "want", "have", "expected"),
    [
        ("started", [wanted("0")], [found("0", "new", "new")], []),
        ("started", [wanted("0")], [found("0")], ["w@0 changed", "w@0 restarted"]),
        ("started", [wanted("0")], [found("0", "new", "old")], ["w@0 changed"]),
        ("started", [wanted("0")], [found("0", "old", "new")], ["w@0 restarted"]),
        ("started", [wanted("0")], [found("0", "new", "new", runs=None)], ["w@0 restarted"]),
        ("started", [wanted("0")], [down("0", "new")], ["w@0 enabled", "w@0 started"]),
        ("started", [wanted("0")], [found("0", "new", "new", state="failed", pid=None)], ["w@0 started"]),
        ("started", [wanted("0")], [found("0", "new", "new", state="starting", pid=None)], ["w@0 started"]),
        ("started", [wanted("0", missing=True)], [found("0", "new", "new")], ["workers/w/data/0 created"]),
        ("started", [], [down("0")], ["w@0 enabled", "w@0 started"]),
        ("started", [], [found("0")], []),
        ("restarted", [], [found("0")], ["w@0 restarted"]),
        ("restarted", [], [down("0")], ["w@0 enabled", "w@0 started"]),
        ("present", [wanted("0")], [found("0")], ["w@0 changed"]),
        ("present", [wanted("0")], [down("0", "new")], []),
        ("stopped", [], [found("0")], ["w@0 disabled", "w@0 stopped"]),
        ("stopped", [], [down("0")], []),
        ("stopped", [], [found("0", state="starting", pid=None)], ["w@0 disabled", "w@0 stopped"]),
        ("stopped", [], [found("0", state="failed", enabled=False)], ["w@0 stopped"]),
        ("absent", [], [found("0")], ["w@0 disabled", "w@0 stopped", "w@0 removed", "w.target removed"]),
        ("absent", [], [down("0")], ["w@0 removed", "w.target removed"]),
        ("absent", [], [found("0", state="failed", enabled=False)], ["w@0 stopped", "w@0 removed", "w.target removed"]),
    ],
)
def test_what_is_done_with_one_instance(state: str, want: list[plan.Wanted], have: list[Found], expected: list[str]) -> None:
    assert words(make(state, want, have)) == expected


def test_a_first_deploy() -> None:
    assert words(make("started", [wanted("0", missing=True)], [], FoundShared())) == FRESH
    first = dataclasses.replace(NAMES, shared_first=True)
    order = [f"{row[1]} {row[2]}" for row in make("started", [wanted("0", missing=True)], [], FoundShared()).actions(first)]
    assert order.index("w.target started") < order.index("w@0 created")


@pytest.mark.parametrize(
    ("enabled", "have", "expected"),
    [
        (False, found("0", "new", "new"), ["w@0 disabled"]),
        (True, found("0", "new", "new"), []),
        (None, found("0", "new", "new", enabled=False), ["w@0 enabled"]),
        (False, found("0", "new", "new", enabled=False), []),
    ],
)
def test_enabled_is_what_is_said_or_follows_the_state(enabled: t.Optional[bool], have: Found, expected: list[str]) -> None:
    assert words(make("started", [wanted("0")], [have], enabled=enabled)) == expected


def test_a_stopped_instance_may_be_kept_enabled() -> None:
    assert words(make("stopped", [], [found("0")], enabled=True)) == ["w@0 stopped"]


@pytest.mark.parametrize(
    ("have", "force", "batches"),
    [
        ([found("0"), found("1"), found("2")], False, [["0"], ["1"], ["2"]]),
        ([found("0"), down("1"), down("2")], False, [["1", "2"], ["0"]]),
        ([found("0", "new", "new"), found("1"), down("2", "new")], False, [["2"], ["1"]]),
        ([found("0", "new", "new"), found("1", "new", "new"), found("2", "new", "new")], False, []),
        ([found("0", "new", "new"), found("1", "new", "new"), found("2", "new", "new")], True, [["0"], ["1"], ["2"]]),
        ([], False, [["0", "1", "2"]]),
    ],
)
def test_batches(have: list[Found], force: bool, batches: list[list[str]]) -> None:
    want = [wanted(name) for name in ("0", "1", "2")]
    assert make("started", want, have, force_restart=force).restart_batches == batches


def test_what_is_not_chosen_is_left_alone() -> None:
    made = make("started", [wanted("1")], [found("0"), found("1")], names=("1",))
    assert words(made) == ["w@1 changed", "w@1 restarted"]
    assert words(make("absent", [], [found("0"), down("1")], names=("1",))) == ["w@1 removed"]


def test_exclusive_removes_the_others_first() -> None:
    made = make("started", [wanted("0")], [found("0"), down("1")], unwanted=("1",))
    assert words(made) == ["w@1 removed", "w@0 changed", "w@0 restarted"]
    assert [one.name for one in made.removals] == ["1"]


def listening(name: str, *ports: int, **values: t.Any) -> Found:
    """It runs, and its files say the same ports."""
    says = {"EW_PORTS": ",".join(map(str, ports))}
    return found(name, **{"runs": {"EW_EFFECTIVE": "old", **says}, "recorded": says, **values})


def quiet(name: str, *ports: int, **values: t.Any) -> Found:
    """It does not run; only its files say ports."""
    return listening(name, *ports, **{"state": "stopped", "pid": None, "enabled": False, "runs": None, **values})


@pytest.mark.parametrize(
    ("ports", "have", "batches", "expected"),
    [
        # An instance gets another name.
        ({"b": 1}, [listening("a", 1)], [["b"]], ["w@a disabled", "w@a stopped", "w@a removed", "w@b created", "w@b enabled", "w@b started"]),
        # All of them do: one after the other, for one at a time is enough.
        ({"b": 1, "c": 2}, [listening("0", 1), listening("1", 2)], [["b"], ["c"]], None),
        # Two ports of one that goes are taken by two others.
        ({"b": 1, "c": 2}, [listening("0", 1, 2)], [["b", "c"]], None),
        # Each port moves on by one.
        ({"0": 2, "1": 3}, [listening("0", 1), listening("1", 2)], [["0", "1"]], ["w@0 changed", "w@0 restarted", "w@1 changed", "w@1 restarted"]),
        ({"0": 2, "1": 3, "2": 4}, [listening("0", 1), listening("1", 2), listening("2", 3)], [["0", "1", "2"]], None),
        # Ports are exchanged.
        ({"0": 2, "1": 1}, [listening("0", 1), listening("1", 2)], [["0", "1"]], None),
        # Ports are moved further than there are instances: nobody is in another one's way.
        ({"0": 11, "1": 12}, [listening("0", 1), listening("1", 2)], [["0"], ["1"]], None),
        # What has nothing to do with it stays apart: one that is down, one that runs, one that goes.
        (
            {"0": 2, "1": 1, "2": 3, "3": 4},
            [listening("0", 1), listening("1", 2), listening("2", 3), listening("9", 9)],
            [["3"], ["2"], ["0", "1"]],
            None,
        ),
        # The holder runs no more but may be started again: it waits for that, or its files still say so.
        ({"b": 1}, [listening("a", 1, state="starting", pid=None, runs=None)], [["b"]], None),
        ({"b": 1}, [quiet("a", 1)], [["b"]], ["w@a removed", "w@b created", "w@b enabled", "w@b started"]),
        ({"0": 2, "1": 3}, [listening("0", 1), quiet("1", 2)], [["0", "1"]], ["w@0 changed", "w@0 restarted", "w@1 changed", "w@1 enabled", "w@1 started"]),
        # The files were written by a run that did not get to the restart: the process tells what it holds.
        ({"0": 2, "1": 1}, [listening("0", 1, recorded={"EW_PORTS": "2"}), listening("1", 2, recorded={"EW_PORTS": "1"})], [["0", "1"]], None),
        # What a process says of its ports may be anything.
        ({"b": 1}, [listening("a", 1, runs={"EW_PORTS": "x,99999999999999999999,-1,\u0661"})], [["b"]], None),
    ],
)
def test_those_that_hand_ports_to_each_other_make_one_batch(
    ports: dict[str, int], have: list[Found], batches: list[list[str]], expected: t.Optional[list[str]]
) -> None:
    want = [wanted(name, ports=(port,)) for name, port in ports.items()]
    unwanted = tuple(one.name for one in have if one.name not in ports)
    whole = make("started", want, have, unwanted=unwanted)
    assert whole.restart_batches == batches
    assert sorted(whole.removed) == sorted(unwanted)
    if expected is not None:
        assert words(whole) == expected
    # Batch by batch, and the rest at the end: the same is done, and what goes goes with the batch that needs its port.
    left = {one.name: one for one in have}
    done = []
    for batch in batches:
        part = make("started", [one for one in want if one.name in batch], list(left.values()), names=tuple(batch), unwanted=unwanted, partial=True)
        assert part.restart_batches == [batch]
        done += words(part)
        left = {name: one for name, one in left.items() if name not in part.removed}
        left.update({name: found(name, "new", "new", recorded={"EW_PORTS": str(ports[name])}) for name in batch})
    done += words(make("started", want, list(left.values()), unwanted=tuple(name for name in unwanted if name in left)))
    assert sorted(done) == sorted(words(whole))


def test_files_alone_and_starts_without_files_hand_no_port_on() -> None:
    have = [listening("0", 1), listening("1", 2)]
    swapped = [wanted("0", ports=(2,)), wanted("1", ports=(1,))]
    assert make("present", swapped, have).restart_batches == []
    assert make("restarted", [], have).restart_batches == [["0"], ["1"]]


def test_of_a_part_only_what_is_in_its_way_is_removed() -> None:
    have = [listening("a", 1), listening("b", 2)]
    made = make("started", [wanted("c", ports=(1,))], have, names=("c",), unwanted=("a", "b"), partial=True)
    assert made.removed == ["a"]
    assert make("stopped", [], have, names=("b",), unwanted=("a",), partial=True).removed == []


def test_a_file_that_is_no_longer_wanted_is_deleted() -> None:
    have = found("0", "new", "new")
    have = dataclasses.replace(have, files={**have.files, "/s/0.env": OnDisk("x", 0o600, (0, 0))})
    made = make("started", [wanted("0")], [have])
    assert made.batches[0][0].delete == ("/s/0.env",)
    assert words(made) == ["w@0 changed"]


@pytest.mark.parametrize("disk", [OnDisk("new", 0o666, (0, 0)), OnDisk("other", 0o644, (0, 0)), None])
def test_a_file_of_another_mode_or_text_is_written(disk: t.Optional[OnDisk]) -> None:
    have = dataclasses.replace(found("0", "new"), files={"/u/0": disk, "/x": disk} if disk else {"/x": ON_DISK})
    want = dataclasses.replace(wanted("0"), files=(File("/u/0", "new"), File("/x", disk.text if disk else "target", disk.mode if disk else 0o644)))
    assert words(make("started", [want], [have])) == ["w@0 changed"]


@pytest.mark.parametrize(
    ("shared", "expected", "enable"),
    [
        (dataclasses.replace(THERE, active=False), ["w.target started"], False),
        (dataclasses.replace(THERE, active=False, hindered="gateway is down"), [], False),
        (dataclasses.replace(THERE, enabled=False), ["w.target enabled"], True),
        (dataclasses.replace(THERE, files={SHARED.path: OnDisk("x", 0o644, (0, 0))}), ["w.target changed"], True),
        (FoundShared(active=True), ["w.target created", "w.target enabled"], True),
    ],
)
def test_what_instances_share(shared: FoundShared, expected: list[str], enable: bool) -> None:
    made = make("started", [wanted("0")], [found("0", "new", "new")], shared)
    assert words(made) == expected
    assert made.enable_shared is enable


@pytest.mark.parametrize(
    ("state", "want", "have", "shared", "expected"),
    [
        ("started", wanted("0"), found("0", "new", "new", unread=True), THERE, ["w.target reloaded"]),
        ("started", wanted("0"), found("0", "new", "new"), dataclasses.replace(THERE, unread=True), ["w.target reloaded"]),
        ("present", wanted("0"), found("0", "new", "new", unread=True), THERE, ["w.target reloaded"]),
        # What is written or started is read in any case.
        ("started", wanted("0"), found("0", "old", "new", unread=True), THERE, ["w@0 restarted"]),
        ("started", wanted("0"), found("0", "new", "old", unread=True), THERE, ["w@0 changed"]),
        ("stopped", None, found("0", "new", "new", unread=True), THERE, ["w@0 disabled", "w@0 stopped"]),
        ("absent", None, found("0", unread=True), THERE, ["w@0 disabled", "w@0 stopped", "w@0 removed", "w.target removed"]),
    ],
)
def test_files_that_the_supervisor_has_not_read_are_read(
    state: str, want: t.Optional[plan.Wanted], have: Found, shared: FoundShared, expected: list[str]
) -> None:
    made = make(state, [want] if want else [], [have], shared)
    assert words(made) == expected
    assert made.reload is ("w.target reloaded" in expected)


def test_nothing_is_enabled_or_started_for_files_alone() -> None:
    made = make("present", [wanted("0")], [], FoundShared(), enabled=False)
    assert words(made) == ["w.target created", "w@0 created"]
    assert (made.enable_shared, made.start_shared) == (False, False)
