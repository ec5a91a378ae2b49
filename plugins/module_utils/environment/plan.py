# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Deciding what to do: from what is wanted and what was found to a plan. Pure functions."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import WorkerError
from .place import Place
from .record import Found, describe


@dataclasses.dataclass(frozen=True)
class Plan:
    """create: whether ``path`` is to be built. found: the complete environment that serves, where create is false.

    before: the newest complete build of the name, for the difference. clear: what killed runs left, which goes first.
    """

    path: str
    build: int
    create: bool
    clear: tuple[str, ...] = ()
    found: t.Optional[Found] = None
    before: t.Optional[Found] = None
    drift: tuple[dict[str, str], ...] = ()


def plan_present(place: Place, fingerprint: str, found: t.Sequence[Found], recreate: bool, serving: t.Optional[str] = None) -> Plan:
    """found: every prefix of the name (or the exact one). serving: the prefix that is kept where it is one of several that would do.

    Raises WorkerError ``foreign_prefix`` or ``prefix_differs``.
    """
    if place.prefix is not None:
        return _plan_exact(place.prefix, fingerprint, found[0], recreate)
    complete = [each for each in found if each.state == "complete"]
    before = max(complete, key=lambda each: (str(each.record.get("created_at", "")), each.build), default=None)
    same = [each for each in found if place.path(fingerprint, each.build) == each.path]
    builds = sorted((each for each in same if each.state == "complete"), key=lambda each: each.build)
    newest = next((each for each in reversed(builds) if each.fingerprint == fingerprint), None)
    kept = next((each for each in builds if each.fingerprint == fingerprint and each.path == serving and not each.drift), newest)
    if kept is not None and not kept.drift and not recreate:
        return Plan(kept.path, kept.build, create=False, found=kept, before=before)
    build = builds[-1].build + 1 if builds else 1
    path = place.path(fingerprint, build)
    _refuse_foreign(next((each for each in same if each.build == build), Found(path, "absent", build)))
    clear = tuple(each.path for each in found if each.state == "partial")
    return Plan(path, build, create=True, clear=clear, before=before, drift=newest.drift if newest is not None else ())


def _plan_exact(prefix: str, fingerprint: str, there: Found, recreate: bool) -> Plan:
    _refuse_foreign(there)
    if there.state != "complete":
        return Plan(prefix, 1, create=True, clear=(prefix,) if there.state == "partial" else ())
    if there.fingerprint == fingerprint and not there.drift and not recreate:
        return Plan(prefix, there.build, create=False, found=there, before=there)
    if there.fingerprint != fingerprint:
        problem = "holds another environment than the one that is wanted"
    elif there.drift:
        problem = f"was changed since it was built: {', '.join(describe(each) for each in there.drift)}"
    else:
        problem = "is complete, and recreate asks for the next build, which needs another path"
    raise WorkerError(
        "prefix_differs",
        f"{prefix} {problem}. A complete environment is never written again.",
        "Give name and root, and each build gets a path of its own; or remove this one first with state: absent.",
        prefix=prefix,
        drift=list(there.drift),
    )


def plan_absent(found: t.Sequence[Found]) -> list[Found]:
    """The prefixes to remove, in order of their paths. Raises WorkerError ``foreign_prefix``."""
    for each in found:
        _refuse_foreign(each)
    return sorted((each for each in found if each.state != "absent"), key=lambda each: each.path)


def _refuse_foreign(found: Found) -> None:
    if found.state == "foreign":
        raise WorkerError(
            "foreign_prefix",
            f"{found.path} is {found.what or 'not empty'}, and was not made by this module: it has neither our record nor our mark.",
            f"Choose another name or prefix; or, where nobody uses it any more, move it away: mv {found.path} {found.path}.old",
            prefix=found.path,
        )
