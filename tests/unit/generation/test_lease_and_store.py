# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease keeps a second run out; pruning takes only what nobody names."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import lease, store
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import state as states
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout


def holder(run: str, seconds: float = 60) -> lease.Holder:
    """A run that holds the lease for so long."""
    return lease.Holder(run, "controller", "ann", 42, "deploy", time.time() + seconds, 600)


def test_second_run_is_refused_and_told_who_holds_it(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "w", holder("one"))
    with pytest.raises(WorkerError, match=r"ann@controller \(deploy, pid 42, run one\)") as caught:
        lease.take(str(tmp_path), "w", holder("two"))
    assert caught.value.code == "leased"
    assert caught.value.details["holder"]["run"] == "one"


def test_own_lease_is_renewed(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "w", holder("one", 5))
    lease.take(str(tmp_path), "w", holder("one", 500))
    current = lease.current(str(tmp_path), "w")
    assert current is not None
    assert current.expires_at > time.time() + 400


@pytest.mark.parametrize("over_from", ["one", "*"])
def test_dead_or_overruled_holder_loses_it(tmp_path: pathlib.Path, over_from: str) -> None:
    lease.take(str(tmp_path), "w", holder("one"))
    lease.take(str(tmp_path), "w", holder("two"), over_from)
    current = lease.current(str(tmp_path), "w")
    assert current is not None
    assert current.run == "two"


def test_expired_lease_is_nobodys(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "w", holder("one", -1))
    assert lease.current(str(tmp_path), "w") is None
    lease.take(str(tmp_path), "w", holder("two"))


@pytest.mark.parametrize("change", [{"expires_at": "soon"}, {"pid": "42"}, {"expires_at": None}, {"timeout": "long"}])
def test_what_is_no_lease_keeps_nobody_out(tmp_path: pathlib.Path, change: dict[str, object]) -> None:
    lease.take(str(tmp_path), "w", holder("one"))
    path = pathlib.Path(Layout(str(tmp_path)).worker("w").lease)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    lease.take(str(tmp_path), "w", holder("two"))
    path.write_bytes(b"\xff")
    with pytest.raises(WorkerError, match=r"lease\.json is not UTF-8 text") as caught:
        lease.take(str(tmp_path), "w", holder("two"))
    assert caught.value.code == "broken_file"


def test_only_the_holder_gives_back(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "w", holder("one"))
    lease.give_back(str(tmp_path), "w", "two")
    assert lease.current(str(tmp_path), "w") is not None
    lease.give_back(str(tmp_path), "w", "one")
    assert not os.path.exists(Layout(str(tmp_path)).worker("w").lease)


@pytest.mark.parametrize("seconds", [5, -5])
def test_the_holder_renews_also_what_is_over_but_was_not_taken(tmp_path: pathlib.Path, seconds: float) -> None:
    lease.take(str(tmp_path), "w", holder("one", seconds))
    lease.renew(str(tmp_path), "w", "one")
    current = lease.current(str(tmp_path), "w")
    assert current is not None
    assert current.expires_at > time.time() + 400


def test_who_has_lost_it_is_told_who_has_it(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "w", holder("one", -5))
    lease.take(str(tmp_path), "w", holder("two"))
    with pytest.raises(WorkerError, match=r"ann@controller \(deploy, pid 42, run two\) has it now") as caught:
        lease.renew(str(tmp_path), "w", "one")
    assert (caught.value.code, caught.value.details["holder"]["run"]) == ("lease_lost", "two")
    lease.give_back(str(tmp_path), "w", "two")
    with pytest.raises(WorkerError, match="has ended") as caught:
        lease.renew(str(tmp_path), "w", "one")
    assert caught.value.code == "lease_lost"


def test_two_workers_have_two_leases(tmp_path: pathlib.Path) -> None:
    lease.take(str(tmp_path), "a", holder("one"))
    lease.take(str(tmp_path), "b", holder("two"))
    assert dataclasses.asdict(lease.current(str(tmp_path), "a") or holder(""))["run"] == "one"


def record(root: pathlib.Path, release: str) -> states.Record:
    """A generation of that release, whose directory exists."""
    path = root / "releases" / release
    path.mkdir(parents=True, exist_ok=True)
    wanted = states.Wanted({"id": release, "path": str(path)}, {"prefix": str(root / "envs" / "e"), "fingerprint": "f"}, {})
    state = states.record_candidate(states.empty("w"), wanted, states.Candidate(1, True, False, None), "now")
    return t.cast("states.Record", state["generations"][0])


def test_what_another_worker_names_stays(tmp_path: pathlib.Path) -> None:
    shared, lone = record(tmp_path, "shared"), record(tmp_path, "lone")
    (tmp_path / "workers" / "other").mkdir(parents=True)
    store.save(str(tmp_path), "other", {**states.empty("other"), "generations": [shared]})
    paths = [each["release"]["path"] for each in (shared, lone)]
    assert store.unneeded(str(tmp_path), states.empty("w"), paths) == [lone["release"]["path"]]


def test_nothing_outside_the_root_is_ever_removed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "releases" / "r" / "worker").mkdir(parents=True)
    strange = [tmp_path / "outside", "/", tmp_path / "root", tmp_path / "root/releases", tmp_path / "root/releases/r/worker", tmp_path / "root/releases/x"]
    assert store.unneeded(str(tmp_path / "root"), states.empty("w"), map(str, strange)) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "broken_file"),
        ('{"version": 99}', "newer_state"),
        ("[]", "newer_state"),
        ('{"version": 1}', "broken_file"),
        ('{"version": 1, "worker": "w", "active": null, "next": 1, "generations": null}', "broken_file"),
        ('{"version": 1, "worker": "w", "active": null, "next": 1, "generations": [{"number": 1}]}', "broken_file"),
    ],
)
def test_strange_state_file_is_refused(tmp_path: pathlib.Path, text: str, code: str) -> None:
    path = pathlib.Path(Layout(str(tmp_path)).worker("w").state)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(WorkerError) as caught:
        store.load(str(tmp_path), "w")
    assert caught.value.code == code


def test_log_is_one_json_line_an_entry(tmp_path: pathlib.Path) -> None:
    store.save(str(tmp_path), "w", states.empty("w"))
    for verb in ("deploy", "stop"):
        store.append_log(str(tmp_path), "w", {"verb": verb})
    lines = pathlib.Path(Layout(str(tmp_path)).worker("w").deploy_log).read_text().splitlines()
    assert [json.loads(line)["verb"] for line in lines] == ["deploy", "stop"]


@pytest.mark.parametrize("left", ["whole", "half"])
def test_a_tree_goes_with_what_an_interrupted_removal_left(tmp_path: pathlib.Path, left: str) -> None:
    (tmp_path / ".removed-tree" / "half").mkdir(parents=True)
    if left == "whole":
        (tmp_path / "tree" / "whole").mkdir(parents=True)
    store.remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []
