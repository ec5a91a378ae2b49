# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Carrying a plan out: thin, in the plan's order, every action recorded when it is done."""

from __future__ import annotations

import os
import time
import typing as t

from ..actions import Actions
from ..boundaries import boundary
from ..errors import WorkerError
from ..layout import WorkerLayout
from ..user_manager import enable_linger, own_login
from . import stability
from .base import Supervisor, make_directory, remove_files, write_files
from .model import EFFECTIVE, Found
from .plan import RESTART, START, STOP, InstancePlan, Names, Plan


class Apply:
    """One run over one worker.

    data_owner: (uid, gid) of the directories that instances write. effective: the digest of the values that each instance's
    files have when it is started, by name. stop_timeout: seconds, the longest of what is found and what is wanted. killed: filled
    with the instances that did not stop by themselves; stopped_at: with the time (seconds since the epoch) at which each was told to stop.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        layout: WorkerLayout,
        names: Names,
        tracker: Actions,
        data_owner: t.Optional[tuple[int, int]],
        effective: t.Mapping[str, str],
        stop_timeout: float,
    ) -> None:
        self._supervisor = supervisor
        self._layout = layout
        self._names = names
        self._tracker = tracker
        self._data_owner = data_owner
        self._effective = effective
        self._stop_timeout = stop_timeout
        self.killed: list[str] = []
        self.stopped_at: dict[str, float] = {}

    def __call__(self, plan: Plan) -> None:
        """Do all of it. Raises WorkerError ``start_failed`` where an instance does not stay up; the rest is left as it was."""
        self._remove(plan)
        if not plan.remove_shared:
            self._shared(plan)
        if plan.start_shared and self._supervisor.shared_first:
            self._start_shared()
        for batch in plan.batches:
            self._batch(batch)
        if plan.start_shared and not self._supervisor.shared_first:
            self._start_shared()

    def _remove(self, plan: Plan) -> None:
        for one in plan.removals:
            if one.run == STOP:
                self._stop([one.name])
            if one.enable is False:
                self._supervisor.disable([one.name])
            self._supervisor.remove([one.name])
            boundary("instance.removed")
            self._record(one)
        if plan.remove_shared:
            self._supervisor.remove_shared()
            boundary("supervisor.shared.removed")
            remove_files([self._layout.salt])
            self._record_all(plan.shared_actions)
        elif plan.removals:
            self._supervisor.settle(())

    def _shared(self, plan: Plan) -> None:
        if plan.linger:
            enable_linger(own_login())
        if plan.shared_write:
            write_files(plan.shared_write)
            boundary("supervisor.shared.written")
        if plan.shared_write or plan.reload:
            self._supervisor.settle([file.path for file in plan.shared_write])
            boundary("supervisor.shared.reloaded")
        if plan.enable_shared:
            self._supervisor.enable_shared()
            boundary("supervisor.shared.enabled")
        self._record_all(plan.shared_actions)

    def _start_shared(self) -> None:
        self._supervisor.start_shared()
        boundary("supervisor.shared.started")
        self._record_all([(*self._names.shared_service, "started")])

    def _batch(self, batch: t.Sequence[InstancePlan]) -> None:
        for one in batch:
            if one.make_data:
                make_data(self._layout, one.name, self._data_owner)
                boundary("instance.data.made")
            if one.write:
                write_files(one.write)
                boundary("instance.written")
            remove_files(one.delete)
        changed = [path for one in batch for path in (*(file.path for file in one.write), *one.delete)]
        if any(one.settles for one in batch):
            self._supervisor.settle(changed)
            boundary("instance.reloaded")
        self._switch(batch)
        stopping = [one.name for one in batch if one.run in (STOP, RESTART)]
        if stopping:
            self._stop(stopping)
        leaving = [one.name for one in batch if one.remove]
        if leaving:
            self._supervisor.remove(leaving)
            self._supervisor.settle(())
        for one in batch:
            self._record(one)
        starting = [one.name for one in batch if one.run in (START, RESTART)]
        if starting:
            complaint = self._supervisor.start(starting)
            boundary("instance.started")
            found = stability.wait(self._supervisor, starting, complaint)
            check_values(self._supervisor, found, {name: self._effective[name] for name in starting})

    def _switch(self, batch: t.Sequence[InstancePlan]) -> None:
        for enable, call in ((True, self._supervisor.enable), (False, self._supervisor.disable)):
            names = [one.name for one in batch if one.enable is enable]
            if names:
                call(names)
                boundary("instance.enabled" if enable else "instance.disabled")

    def _stop(self, names: t.Sequence[str]) -> None:
        self.stopped_at.update(dict.fromkeys(names, time.time()))
        self.killed += self._supervisor.stop(names, self._stop_timeout)
        boundary("instance.stopped")

    def _record(self, one: InstancePlan) -> None:
        self._record_all(one.actions(self._names))

    def _record_all(self, actions: t.Iterable[tuple[str, str, str]]) -> None:
        for action in actions:
            self._tracker.add(*action)


def check_values(supervisor: Supervisor, found: t.Mapping[str, Found], effective: t.Mapping[str, str]) -> None:
    """Whether the processes that were started have the values of their files. Raises WorkerError ``stale_unit``.

    A process that does not tell is believed.
    """
    for name, wanted in effective.items():
        runs = (found[name].runs or {}).get(EFFECTIVE)
        if wanted and runs is not None and runs != wanted:
            raise WorkerError(
                "stale_unit",
                f"Instance {name!r} was started with other values than its files have: {supervisor.kind} read something else.",
                f"Look what overrides them: {supervisor.show_command(name)}",
                stale_instance=name,
            )


def data_is_missing(layout: WorkerLayout, instance: str, owner: t.Optional[tuple[int, int]]) -> bool:
    """Whether a directory of the instance is absent or belongs to somebody else. owner: None where it is not known yet."""
    for path in layout.directories(instance):
        if not os.path.isdir(path):
            return True
        status = os.stat(path)
        if owner is not None and (status.st_uid, status.st_gid) != owner:
            return True
    return False


def make_data(layout: WorkerLayout, instance: str, owner: t.Optional[tuple[int, int]]) -> None:
    """The instance's directories for state and cache, readable by nobody else (mode 0750)."""
    for path in layout.directories(instance):
        make_directory(path, 0o750)
        if owner is not None:
            os.chown(path, *owner)
        os.chmod(path, 0o750)


def make_home(layout: WorkerLayout, secret: bool) -> None:
    """The directories that hold what is written below the worker's home. secret: files with secrets are among that."""
    make_directory(layout.home)
    if secret:
        make_directory(layout.secrets, 0o700)
