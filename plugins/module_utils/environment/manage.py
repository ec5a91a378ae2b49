# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The two states of an environment: present and absent. Looks, plans, and acts unless it is check mode."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ..actions import Actions
from ..boundaries import boundary
from ..errors import WorkerError
from ..files import locked
from ..processes import users_of
from ..progress import Begin, Progress, silent
from .activation import base_activation
from .backends import refuse_absent_program
from .build import Means, build, remove_prefix
from .content import Content
from .content import fingerprint as fingerprint_of
from .foreign import what_is
from .leftovers import end_orphans
from .place import Place
from .plan import Plan, plan_absent, plan_present
from .prefixes import find, is_our_link
from .record import Found, look

# Every key that the module returns, before any work.
EMPTY: dict[str, t.Any] = {
    "prefix": None,
    "python": None,
    "python_version": None,
    "fingerprint": None,
    "build": None,
    "backend": {"name": None, "version": None, "executable": None},
    "created": False,
    "packages": {"conda": [], "pip": []},
    "activation": {},
    "link": None,
    "drift": [],
}
UNKNOWN = "unknown until solved"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Where, what, how to get it, whether as another build, whether with a link, and which prefix serves."""

    place: Place
    content: Content
    means: Means
    recreate: bool
    link: bool
    serving: t.Optional[str] = None


def present(wanted: Wanted, actions: Actions, check: bool, begin: Begin) -> dict[str, t.Any]:
    """Make the environment exist. Returns the result's keys."""
    place, content, means, recreate = wanted.place, wanted.content, wanted.means, wanted.recreate
    fingerprint = fingerprint_of(content)
    link_path = place.link if wanted.link else None
    plan = plan_present(place, fingerprint, find(place), recreate, wanted.serving)
    _check_link(place, link_path)
    linked = link_path is None or _target(link_path) == os.path.basename(plan.path)
    if not plan.create and linked:
        return _result(place, plan, fingerprint, content, plan.found, link_path)
    if plan.create:
        refuse_absent_program(means.backend, means.executable)
    if check:
        _tell_build(place, plan, None, actions)
        _tell_link(place, plan, link_path, actions)
        return _result(place, plan, fingerprint, content, plan.found, link_path)
    progress = begin(path=plan.path, fingerprint=fingerprint) if plan.create else silent
    with readable_by_all(), locked(place.lock, means.lock_timeout, f"environment {place.identifier(place.link or plan.path)}"):
        # Another run may have built it while we waited.
        plan = plan_present(place, fingerprint, find(place), recreate, wanted.serving)
        there = plan.found
        if plan.create:
            try:
                build(place, content, fingerprint, plan.path, plan.build, means, progress, plan.clear)
            except WorkerError as error:
                # What was tried; the error's own details win.
                error.details = {"fingerprint": fingerprint, "build": plan.build, "drift": list(plan.drift), **error.details}
                raise
            there = look(plan.path, plan.build)
            _tell_build(place, plan, there, actions)
        _tell_link(place, plan, link_path, actions)
        if link_path is not None:
            _set_link(link_path, os.path.basename(plan.path))
    return _result(place, plan, fingerprint, content, there, link_path)


@contextlib.contextmanager
def readable_by_all() -> t.Iterator[None]:
    """Whatever the caller's umask: environments are for every user, and so are the directories above them."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def absent(place: Place, lock_timeout: float, actions: Actions, check: bool, progress: Progress) -> dict[str, t.Any]:
    """Make the prefix, or the link and all builds of the name, not exist. Raises WorkerError ``in_use`` or ``foreign_prefix``."""
    if not _doomed(place) and not _is_link(place.link):
        return {}
    if check:
        _tell_removal(place, _doomed(place), actions)
        return {}
    with locked(place.lock, lock_timeout, f"environment {place.identifier(place.link or place.prefix or '')}"):
        doomed = _doomed(place)
        _tell_removal(place, doomed, actions)
        if place.link is not None and _is_link(place.link):
            os.unlink(place.link)
        for each in doomed:
            progress(f"remove {each.path}")
            if each.state == "partial":
                end_orphans(place.scratch(each.path))
            remove_prefix(each.path)
    return {}


def _doomed(place: Place) -> list[Found]:
    doomed = plan_absent(find(place))
    _check_link(place, place.link)
    for each in doomed:
        users = users_of(each.path)
        if users:
            words = ", ".join(f"pid {pid} ({line[:120]})" for pid, line in users[:5])
            pids = [pid for pid, _line in users]
            raise WorkerError("in_use", f"{each.path} is in use by {words}.", "Stop these processes first.", prefix=each.path, pids=pids)
    return doomed


def _tell_build(place: Place, plan: Plan, there: t.Optional[Found], actions: Actions) -> None:
    if plan.create:
        identifier = place.identifier(plan.path)
        actions.add("environment", identifier, "created")
        before = _package_lines(plan.before) if plan.before is not None else {}
        actions.differ("packages", before, _package_lines(there) if there is not None else UNKNOWN)
        if plan.drift:
            actions.differ("drift", list(plan.drift), [])


def _tell_link(place: Place, plan: Plan, link: t.Optional[str], actions: Actions) -> None:
    if link is None:
        return
    before, after = _target(link), os.path.basename(plan.path)
    if before != after:
        actions.add("link", place.identifier(link), "created" if before is None else "changed")
        actions.differ(place.identifier(link), before, after)


def _tell_removal(place: Place, doomed: t.Sequence[Found], actions: Actions) -> None:
    if place.link is not None and _is_link(place.link):
        actions.add("link", place.identifier(place.link), "removed")
        actions.differ(place.identifier(place.link), _target(place.link), None)
    for each in doomed:
        actions.add("environment", place.identifier(each.path), "removed")
        actions.differ(place.identifier(each.path), _package_lines(each), None)


def _package_lines(found: Found) -> dict[str, list[str]]:
    packages = found.record.get("packages") or {}
    return {kind: [f"{each['name']} {each['version']}" for each in packages.get(kind, [])] for kind in ("conda", "pip")}


def _result(place: Place, plan: Plan, fingerprint: str, content: Content, there: t.Optional[Found], link: t.Optional[str]) -> dict[str, t.Any]:
    planned = {
        "python": os.path.join(plan.path, "bin", "python") if content.has_python else None,
        "activation": base_activation(plan.path, place.name, content.variables),
    }
    recorded = {key: there.record[key] for key in ("python", "python_version", "backend", "packages", "activation")} if there is not None else planned
    return {
        **EMPTY,
        **recorded,
        "prefix": plan.path,
        "fingerprint": fingerprint,
        "build": plan.build,
        "created": plan.create,
        "link": link,
        "drift": list(plan.drift),
    }


def _is_link(path: t.Optional[str]) -> bool:
    return path is not None and os.path.islink(path)


def _check_link(place: Place, link: t.Optional[str]) -> None:
    """Raises WorkerError ``foreign_prefix`` for what has the environment's name and is not our link: it is neither replaced nor removed."""
    if link is None or not os.path.lexists(link) or is_our_link(place):
        return
    raise WorkerError(
        "foreign_prefix",
        f"{link} is {what_is(link)}; where the link of this environment belongs there must be nothing else.",
        f"Choose another name; or, where nobody uses it any more, move it away: mv {link} {link}.old",
        prefix=link,
    )


def _target(link: str) -> t.Optional[str]:
    return os.readlink(link) if os.path.islink(link) else None


def _set_link(link: str, target: str) -> None:
    if _target(link) == target:
        return
    temporary = f"{link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    boundary("environment.link.made")
    os.replace(temporary, link)
    boundary("environment.link.set")
