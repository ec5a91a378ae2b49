# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is to be done, from what is wanted and what is found. Pure: the same plan is told in check mode and carried out."""

from __future__ import annotations

import dataclasses
import typing as t

from .base import differs
from .model import EFFECTIVE, NODES, File, Found, FoundShared

START, RESTART, STOP = "start", "restart", "stop"
_DONE = {START: "started", RESTART: "restarted", STOP: "stopped"}

Action = tuple[str, str, str]
# A port or a GPU
Claim = t.Union[int, str]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller asks for.

    names: the instances to act on, in order. unwanted: those that are to go because they are not listed; partial: for now
    only where one of them is in the way of a chosen one. enabled: None follows the state. linger: nothing may end with a session.
    """

    state: str
    names: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    partial: bool = False
    enabled: t.Optional[bool] = None
    force_restart: bool = False
    linger: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """One instance as it must be. missing_data: its own directories are absent or belong to somebody else. gpus: those that it shares with nobody.

    nodes: the device nodes that it is to find.
    """

    name: str
    effective: str
    files: tuple[File, ...]
    missing_data: bool = False
    ports: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    @property
    def alone(self) -> tuple[Claim, ...]:
        """What no other instance may have at the same time."""
        return (*self.ports, *self.gpus)


@dataclasses.dataclass(frozen=True)
class Names:
    """How actions call things: of an instance, of its data, of a shared file, and of what is started for all."""

    worker: str
    shared_first: bool
    shared_service: tuple[str, str]
    shared_object: t.Callable[[str], tuple[str, str]]

    def unit(self, instance: str) -> str:
        return f"{self.worker}@{instance}"

    def data(self, instance: str) -> str:
        return f"workers/{self.worker}/data/{instance}"


@dataclasses.dataclass(frozen=True)
class InstancePlan:
    """What becomes of one instance. enable: None leaves it as it is; run: START, RESTART, STOP or nothing."""

    name: str
    write: tuple[File, ...] = ()
    delete: tuple[str, ...] = ()
    make_data: bool = False
    enable: t.Optional[bool] = None
    run: str = ""
    remove: bool = False
    created: bool = False

    @property
    def idle(self) -> bool:
        return not (self.write or self.delete or self.make_data or self.run or self.remove) and self.enable is None

    @property
    def settles(self) -> bool:
        """Whether it makes the supervisor read the files: before a start too, for an earlier run may have ended before it did."""
        return bool(self.write or self.delete or self.remove) or self.run in (START, RESTART)

    def actions(self, names: Names) -> list[Action]:
        """In the order in which they happen."""
        unit = names.unit(self.name)
        rows: list[Action] = []
        if self.make_data:
            rows.append(("data", names.data(self.name), "created"))
        if self.write or self.delete:
            rows.append(("instance", unit, "created" if self.created else "changed"))
        if self.enable is not None:
            rows.append(("instance", unit, "enabled" if self.enable else "disabled"))
        if self.run:
            rows.append(("instance", unit, _DONE[self.run]))
        if self.remove:
            rows.append(("instance", unit, "removed"))
        return rows


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that is to be done: removals first; then what is shared; then batch by batch.

    A batch holds a removal too, where one of its instances takes over a port of the one that goes. reload: nothing else that
    is done makes the supervisor read the files, and it has not read them as they are. linger: the account that is to from now on.
    """

    removals: tuple[InstancePlan, ...] = ()
    shared_write: tuple[File, ...] = ()
    reload: bool = False
    shared_actions: tuple[Action, ...] = ()
    enable_shared: bool = False
    start_shared: bool = False
    linger: str = ""
    batches: tuple[tuple[InstancePlan, ...], ...] = ()
    remove_shared: bool = False

    @property
    def instances(self) -> tuple[InstancePlan, ...]:
        return self.removals + tuple(one for batch in self.batches for one in batch)

    def actions(self, names: Names) -> list[Action]:
        """All of them, in the order in which they happen. names.shared_first: what is shared starts before the instances."""
        started: list[Action] = [(*names.shared_service, "started")] if self.start_shared else []
        rows = [action for one in self.removals for action in one.actions(names)]
        rows += self.shared_actions
        rows += started if names.shared_first else []
        rows += [action for batch in self.batches for one in batch for action in one.actions(names)]
        return rows + ([] if names.shared_first else started)

    @property
    def removed(self) -> list[str]:
        """The names of what is removed."""
        return [one.name for one in self.instances if one.remove]

    @property
    def restart_batches(self) -> list[list[str]]:
        """The names of what is started or restarted, as the caller should take them in turn."""
        rows = [[one.name for one in batch if one.run in (START, RESTART)] for batch in self.batches]
        return [row for row in rows if row]


def make(
    request: Request,
    wanted: t.Sequence[Wanted],
    shared_wanted: t.Sequence[File],
    found: t.Mapping[str, Found],
    shared: FoundShared,
    names: Names,
) -> Plan:
    """The plan. wanted: the instances with what they must be; empty where only what exists is started or stopped."""
    by_name = {one.name: one for one in wanted}
    if request.state == "absent":
        leaving = tuple(_removal(found[name]) for name in request.names if name in found)
        last = not set(found) - set(request.names) and bool(shared.files)
        return Plan(removals=leaving, remove_shared=last, shared_actions=_removed(shared, names) if last else ())
    changes = [_instance(request, by_name.get(name), found.get(name, Found(name))) for name in request.names]
    leaving = tuple(_removal(found[name]) for name in request.unwanted if name in found)
    groups = _groups((*leaving, *changes), {name: one.alone for name, one in by_name.items()}, found)
    handing = {one.name for group in groups for one in group}
    write = tuple(file for file in shared_wanted if differs(file, shared.files.get(file.path)))
    enabled = any(change.enable or found.get(change.name, Found("")).enabled for change in changes if change.enable is not False)
    # Where its text changed, an enabled target is enabled again: it may be wanted by another unit now.
    enable_shared = (enabled and not shared.enabled) or (bool(write) and shared.enabled)
    runs = any(change.run in (START, RESTART) for change in changes)
    running = any(found[name].up for name in request.names if name in found) and request.state in ("started", "restarted")
    start_shared = not shared.active and not shared.hindered and (runs or running)
    removals = () if request.partial else tuple(one for one in leaving if one.name not in handing)
    batches = _batches([change for change in changes if change.name not in handing], groups)
    unread = shared.unread or any(found[name].unread for name in request.names if name in found)
    linger = shared.ends_with_session if request.linger and request.state != "stopped" and (runs or running or enabled) else ""
    reload = unread and request.state != "stopped" and not (write or removals or any(one.settles for batch in batches for one in batch))
    shared_actions = (*_lingering(linger), *_shared_actions(write, shared, enabled and not shared.enabled, names))
    return Plan(
        removals=removals,
        shared_write=write,
        reload=reload,
        shared_actions=(*shared_actions, (*names.shared_service, "reloaded")) if reload else shared_actions,
        enable_shared=enable_shared,
        start_shared=start_shared,
        linger=linger,
        batches=batches,
    )


def _removal(found: Found) -> InstancePlan:
    stop = STOP if found.pid is not None or found.state in ("running", "starting") else ""
    return InstancePlan(found.name, enable=False if found.enabled else None, run=stop, remove=True)


def _instance(request: Request, wanted: t.Optional[Wanted], found: Found) -> InstancePlan:
    write = tuple(file for file in wanted.files if differs(file, found.files.get(file.path))) if wanted else ()
    delete = tuple(sorted(set(found.files) - {file.path for file in wanted.files})) if wanted else ()
    enabled = request.enabled if request.enabled is not None else {"started": True, "restarted": True, "stopped": False}.get(request.state)
    if not found.deployed and wanted is None:
        enabled = None
    return InstancePlan(
        found.name,
        write=write,
        delete=delete,
        make_data=wanted is not None and wanted.missing_data,
        enable=enabled if enabled is not None and enabled != found.enabled else None,
        run=_run(request, wanted, found),
        created=not found.deployed,
    )


def _run(request: Request, wanted: t.Optional[Wanted], found: Found) -> str:
    if request.state == "present":
        return ""
    if request.state == "stopped":
        return STOP if found.pid is not None or found.state in ("running", "starting") else ""
    if not found.up:
        return START
    if request.state == "restarted" or request.force_restart:
        return RESTART
    # What counts is what the process runs, not what stands in the files: it may have been started before they changed.
    if wanted is None:
        return ""
    runs = found.runs or {}
    # One that does not tell its nodes was started by an older version, which gave it all of them.
    renumbered = bool(wanted.nodes) and runs.get(NODES, ",".join(wanted.nodes)) != ",".join(wanted.nodes)
    return RESTART if renumbered or runs.get(EFFECTIVE) != wanted.effective else ""


def _groups(moves: t.Sequence[InstancePlan], claims: t.Mapping[str, tuple[Claim, ...]], found: t.Mapping[str, Found]) -> list[tuple[InstancePlan, ...]]:
    """Those that hand ports or GPUs to each other, as far as they hang together: all of them must be down before the first is started.

    claims: what each is to have alone; one that is to go, or is started as it is, wants nothing.
    """
    holders: dict[Claim, set[int]] = {}
    for place, move in enumerate(moves):
        one = found.get(move.name, Found(move.name))
        claimed: set[Claim] = {*one.ports, *one.gpus}
        for claim in claimed:
            holders.setdefault(claim, set()).add(place)
    groups: list[set[int]] = []
    for place, move in enumerate(moves):
        wanted = claims.get(move.name, ()) if move.run in (START, RESTART) else ()
        linked = {place}.union(*(holders.get(claim, ()) for claim in wanted))
        joined = [group for group in groups if group & linked]
        groups = [group for group in groups if not group & linked] + [linked.union(*joined)]
    return [tuple(moves[place] for place in group) for group in sorted(map(sorted, groups)) if len(group) > 1]


def _batches(changes: t.Sequence[InstancePlan], groups: t.Sequence[tuple[InstancePlan, ...]]) -> tuple[tuple[InstancePlan, ...], ...]:
    """Those that are down, or need no restart, together and first; then those that run, one by one; groups stay together."""
    apart = [(change,) for change in changes if change.run == RESTART]
    together = tuple(change for change in changes if change.run != RESTART and not change.idle)
    return ((together,) if together else ()) + tuple(apart) + tuple(groups)


def _lingering(account: str) -> tuple[Action, ...]:
    return (("supervisor", f"linger/{account}", "enabled"),) if account else ()


def _shared_actions(write: t.Sequence[File], shared: FoundShared, enabled: bool, names: Names) -> tuple[Action, ...]:
    rows: list[Action] = []
    for file in write:
        what, identifier = names.shared_object(file.path)
        created = not any(names.shared_object(path) == (what, identifier) for path in shared.files)
        row = (what, identifier, "created" if created else "changed")
        if row not in rows:
            rows.append(row)
    if enabled:
        rows.append((*names.shared_service, "enabled"))
    return tuple(rows)


def _removed(shared: FoundShared, names: Names) -> tuple[Action, ...]:
    rows: list[Action] = []
    for path in sorted(shared.files):
        row = (*names.shared_object(path), "removed")
        if row not in rows:
            rows.append(row)
    return tuple(rows)
