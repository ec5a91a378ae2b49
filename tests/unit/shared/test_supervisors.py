# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which supervisor a worker gets: the same answer for those that look ahead and those that act."""

from __future__ import annotations

import contextlib
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import supervisors
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import systemd_units
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Instance, Spec, Stamp

D, U = "supervisord", "systemd"


@pytest.mark.parametrize(
    ("wanted", "installed", "usable", "chosen", "refused"),
    [
        ("auto", (), True, U, False),
        ("auto", (), False, D, False),
        # What is there stays, whatever else would do.
        ("auto", (D,), True, D, False),
        ("auto", (D,), False, D, False),
        ("auto", (U,), True, U, False),
        ("auto", (U,), False, U, False),
        ("auto", (D, U), True, D, False),
        (U, (), True, U, False),
        (U, (U,), True, U, False),
        (U, (D,), True, U, True),
        (D, (), True, D, False),
        (D, (D,), True, D, False),
        (D, (U,), True, D, True),
        # Both are there: each can be named, so that it can be removed.
        (U, (D, U), True, U, False),
        (D, (D, U), True, D, False),
    ],
)
def test_the_supervisor_of_a_worker(monkeypatch: pytest.MonkeyPatch, wanted: str, installed: tuple[str, ...], usable: bool, chosen: str, refused: bool) -> None:
    assert supervisors.chosen(wanted, installed, usable) == chosen
    with pytest.raises(WorkerError, match=f"under {installed[0]}") if refused else contextlib.nullcontext() as caught:
        supervisors.refuse_other("w", wanted, installed)
    if refused:
        assert t.cast("t.Any", caught).value.code == "other_supervisor"
    # The preflight says the same before anything is done.
    monkeypatch.setattr(supervisors, "installed", lambda _layout: installed)
    asked = preflight.Wanted("/opt/w", "w", (), "127.0.0.1", wanted, "system", 0)
    host = preflight.Host("Linux", (3, 11, 2), 0, 252 if usable else None, True)
    assert preflight.choose_supervisor(asked, host) == chosen
    assert ("other_supervisor" in [finding.check for finding in preflight.check_platform(asked, host)]) is refused


def test_what_a_worker_has_already_is_read_from_its_files(tmp_path: pathlib.Path) -> None:
    units = tmp_path / "units"
    layouts = [Layout(str(tmp_path / root)).worker(name) for root, name in (("100%", "w"), ("other", "w"), ("100%", "v"))]
    own, other_root, other_name = layouts

    def found() -> list[tuple[str, ...]]:
        return [supervisors.installed(layout, str(units)) for layout in layouts]

    assert found() == [(), (), ()]
    drop_in = units / "w@0.service.d" / "instance.conf"
    drop_in.parent.mkdir(parents=True)
    (units / "w@1.service.d").mkdir()
    assert found() == [(), (), ()]
    spec = Spec(own, 1, "/r", "/e/bin/python")
    drop_in.write_text(systemd_units.drop_in(spec, Instance("0", 0, (1,)), Stamp("d", 1), 252, None))
    assert found() == [(U,), (), ()]
    for layout in (own, other_root):
        pathlib.Path(layout.supervisord).mkdir(parents=True)
        pathlib.Path(layout.supervisord, "supervisord.conf").touch()
    assert found() == [(D, U), (D,), ()]
    assert other_name.name == "v"


@pytest.mark.parametrize(("scope", "wanted", "there"), [("system", U, False), ("user", U, False), ("user", D, True), ("system", D, False)])
def test_the_remedy_uninstalls_where_the_units_are(scope: str, wanted: str, there: bool) -> None:
    with pytest.raises(WorkerError) as refused:
        supervisors.refuse_other("w", wanted, (D if wanted == U else U,), scope)
    assert ("-e worker_scope=user" in refused.value.remedy) is there
