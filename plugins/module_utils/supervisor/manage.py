# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The work of ew_worker: options, what is found, the plan, and the acting. Needs nothing of Ansible."""

from __future__ import annotations

import dataclasses
import os
import pwd
import typing as t

from .. import user_manager
from ..actions import Actions
from ..errors import OptionError, WorkerError
from ..files import locked
from ..layout import Layout, WorkerLayout
from ..salt import make_salt, read_salt
from ..supervisors import UNIT_DIRECTORY
from . import apply, gpu_holders, gpus, options, plan, port_tls, process, rows
from .base import Supervisor, account, make_directory
from .choose import choose
from .journal import iso_time
from .model import EFFECTIVE, GENERATION, File, Found, FoundShared, Instance, Spec, Stamp, number, ports_of
from .ports import check_ports

_LOCK_TIMEOUT = 300.0
_WRITING = ("present", "started", "restarted")


@dataclasses.dataclass
class Look:
    """What one look at the host and the options gives: all that the plan and the result are made from."""

    supervisor: Supervisor
    layout: WorkerLayout
    request: plan.Request
    spec: t.Optional[Spec]
    instances: list[Instance]
    found: dict[str, Found]
    shared: FoundShared
    wanted: list[plan.Wanted]
    shared_wanted: list[File]
    names: plan.Names
    warn: t.Callable[[str], None]
    # Whether instances may have the same GPU
    sharing: bool = False

    def make_plan(self) -> plan.Plan:
        return plan.make(self.request, self.wanted, self.shared_wanted, self.found, self.shared, self.names)


def manage(params: options.Params, check_mode: bool, warn: t.Callable[[str], None]) -> dict[str, t.Any]:
    """The result of ew_worker. warn: takes a sentence. Raises WorkerError, which carries what was done until then."""
    layout = options.worker_layout(params)
    _judge(params, layout, check_mode)
    if params["scope"] == "user" and params["supervisor"] != "supervisord":
        # Before root leaves anything among an account's files.
        user_manager.check_usable(user_manager.own_login())
    if check_mode:
        return _told(_look(params, layout, read_salt(layout.salt), warn))
    if params["state"] == "absent" and not os.path.isdir(layout.home):
        look = _look(params, layout, b"", warn)
        return _told(look) if not look.found and not look.shared.files else _done(params, look)
    make_directory(Layout(layout.root).locks)
    with locked(os.path.join(Layout(layout.root).locks, f"worker-{layout.name}.lock"), _LOCK_TIMEOUT, f"worker {layout.name}"):
        return _done(params, _look(params, layout, read_salt(layout.salt), warn))


def _judge(params: options.Params, layout: WorkerLayout, check_mode: bool) -> None:
    """Refuse a bad option before there is so much as a lock."""
    listed = options.instances(params)
    if params["instances"] is not None:
        options.chosen(params, [one.name for one in listed])
    if _is_writing(params):
        # Where the secrets will lie changes nothing about the options.
        port_tls.check_there(_spec(params, layout, listed, credentials=False), may_come=check_mode)


def _is_writing(params: options.Params) -> bool:
    """Whether the files of instances are to be written."""
    return params["state"] in _WRITING and params["release"] is not None


def _is_systems(supervisor: Supervisor) -> bool:
    """Whether it is the system's systemd, which alone can hand on credentials and devices."""
    return supervisor.kind == "systemd" and os.geteuid() == 0


def _look(params: options.Params, layout: WorkerLayout, salt: bytes, warn: t.Callable[[str], None]) -> Look:
    listed = options.instances(params)
    supervisor = choose(params, layout)
    spec = _spec(params, layout, listed, _is_systems(supervisor)) if _is_writing(params) else None
    found = supervisor.found()
    supervisor.check_ours({*found, *(one.name for one in listed)})
    request = _request(params, listed, found, spec is not None)
    look = Look(
        supervisor=supervisor,
        layout=layout,
        request=request,
        spec=spec,
        instances=[one for one in listed if one.name in request.names],
        found=found,
        shared=supervisor.found_shared(),
        wanted=[],
        shared_wanted=supervisor.shared_files(spec) if spec else [],
        warn=warn,
        names=plan.Names(layout.name, supervisor.shared_first, supervisor.shared_service(), supervisor.shared_object),
    )
    if spec is not None:
        _find_gpus(look, bool(params["gpu_sharing"]))
        owner = account(spec.user)
        if owner is not None:
            port_tls.check(spec, owner)
    _want(look, salt)
    for warning in supervisor.warnings(spec) if spec is not None else ():
        warn(warning)
    if spec is not None and look.shared.missing:
        raise OptionError(
            "bind_to_unit", look.shared.missing, "there is no such unit on this host", "Install it first, or correct the name: systemctl list-unit-files"
        )
    if request.state in ("started", "restarted"):
        going = {one.name for one in look.make_plan().instances if one.run}
        check_ports(look.instances or _recorded_instances(look), params["bind"], supervisor.owner, going)
    return look


def _find_gpus(look: Look, sharing: bool) -> None:
    """Give the instances the nodes of their GPUs. Raises WorkerError where one is not there, or somebody else's."""
    if not any(one.gpus for one in look.instances):
        return
    resolved = gpus.resolved(look.instances, gpus.found(), gpus.has_amd())
    if _is_systems(look.supervisor) and look.spec is not None and look.spec.sandbox != "none":
        # Elsewhere an instance finds all nodes there are.
        look.instances = resolved
    look.sharing = sharing
    if not sharing:
        going = {*(one.name for one in look.instances), *look.request.unwanted}
        held = gpu_holders.holders(look.layout.root, (UNIT_DIRECTORY, user_manager.own_login().units))
        gpu_holders.check(look.layout.home, look.instances, held, going)


def _recorded_instances(look: Look) -> list[Instance]:
    """The instances to act on as their files say, where none is listed."""
    return [Instance(name, 0, tuple(ports_of(look.found[name].recorded))) for name in look.request.names]


def _spec(params: options.Params, layout: WorkerLayout, listed: t.Sequence[Instance], credentials: bool) -> Spec:
    spec = dataclasses.replace(options.spec(params, layout), credentials=credentials)
    for instance in listed:
        if not instance.ports:
            raise OptionError("instances.ports", [], f"instance {instance.name!r} has no port", "Give it one.")
        process.argv(spec, instance)
    if spec.user and os.geteuid() != 0 and spec.user != pwd.getpwuid(os.geteuid()).pw_name:
        raise OptionError("user", spec.user, "only root can run instances as somebody else", "Set become: true, or leave user out.")
    return spec


def _request(params: options.Params, listed: t.Sequence[Instance], found: t.Mapping[str, Found], writing: bool) -> plan.Request:
    known = [one.name for one in listed] if params["instances"] is not None else sorted(found)
    names = options.chosen(params, known)
    absent = [name for name in names if name not in found]
    if params["state"] in _WRITING and not writing and (absent or not names):
        raise WorkerError(
            "not_deployed",
            f"The worker {params['name']!r} has no instance{f' {absent[0]!r}' if absent else ''} on this host.",
            "Deploy it first, or give the options release, python and instances.",
        )
    return plan.Request(
        state=params["state"],
        names=names,
        unwanted=tuple(sorted(set(found) - set(known))) if params["exclusive"] and params["instances"] is not None else (),
        partial=params["only"] is not None,
        enabled=params["enabled"],
        force_restart=bool(params["force_restart"]),
        linger=params["linger"],
    )


def _want(look: Look, salt: bytes) -> None:
    """Fill in what each instance must be. An instance whose values are the same keeps the generation that it runs."""
    if look.spec is None:
        return
    owner = account(look.spec.user)
    look.wanted = []
    for instance in look.instances:
        effective = process.digest(look.spec, instance, look.supervisor.kind, salt)
        recorded = look.found[instance.name].recorded if instance.name in look.found else {}
        same = bool(salt) and recorded.get(EFFECTIVE) == effective
        generation = number(recorded.get(GENERATION)) if same else look.spec.generation or None
        files = look.supervisor.instance_files(look.spec, instance, Stamp(effective, generation))
        missing = apply.data_is_missing(look.layout, instance.name, owner)
        alone = () if look.sharing else instance.gpus
        look.wanted.append(plan.Wanted(instance.name, effective, tuple(files), missing, instance.ports, alone, instance.nodes))


def _told(look: Look) -> dict[str, t.Any]:
    """The result of what would be done."""
    tracker = Actions()
    plan_ = look.make_plan()
    for action in plan_.actions(look.names):
        tracker.add(*action)
    _differ(look, plan_, tracker)
    return _result(look, plan_, tracker, look.found)


def _done(params: options.Params, look: Look) -> dict[str, t.Any]:
    """Do it, and the result."""
    if look.spec is not None:
        _check_host(look.spec)
        written = [file.path for one in look.wanted for file in one.files]
        apply.make_home(look.layout, any(path.startswith(look.layout.secrets) for path in written))
        _want(look, make_salt(look.layout.salt))
    plan_ = look.make_plan()
    tracker = Actions()
    _differ(look, plan_, tracker)
    stop_timeout = max([float(params["stop_timeout"])] + [one.stop_timeout for one in look.found.values()])
    effective = {name: one.recorded.get(EFFECTIVE, "") for name, one in look.found.items()}
    effective.update({one.name: one.effective for one in look.wanted})
    owner = account(look.spec.user) if look.spec else None
    act = apply.Apply(look.supervisor, look.layout, look.names, tracker, owner, effective, stop_timeout)
    try:
        act(plan_)
    except WorkerError as error:
        error.details = {**_result(look, plan_, tracker, look.supervisor.found(), act), **error.details}
        raise
    found = look.supervisor.found() if tracker.changed else look.found
    return _result(look, plan_, tracker, found, act)


def _check_host(spec: Spec) -> None:
    """What must be there before anything is touched."""
    owner = account(spec.user)
    if owner is None:
        raise OptionError("user", spec.user, "there is no such account on this host", f"Make it: useradd --system --shell /usr/sbin/nologin {spec.user}")
    if not os.path.isdir(spec.release):
        raise OptionError("release", spec.release, "there is no such directory on this host", "Unpack the release first.")
    if not os.access(spec.python, os.X_OK):
        raise OptionError("python", spec.python, "there is no such program on this host", "Make the environment first.")


def _differ(look: Look, plan_: plan.Plan, tracker: Actions) -> None:
    shown = look.supervisor.shown
    on_disk = {**look.shared.files, **{path: file for one in look.found.values() for path, file in one.files.items()}}
    files = [*plan_.shared_write, *(file for one in plan_.instances for file in one.write)]
    for file in files:
        before = on_disk.get(file.path)
        tracker.differ(file.path, shown(file.path, before.text) if before else "", shown(file.path, file.text))
    gone = {path for one in plan_.instances for path in one.delete}
    gone |= {path for name in plan_.removed for path in look.found[name].files} | (set(look.shared.files) if plan_.remove_shared else set())
    for path in sorted(gone):
        tracker.differ(path, shown(path, on_disk[path].text), "")


def _result(
    look: Look,
    plan_: plan.Plan,
    tracker: Actions,
    found: t.Mapping[str, Found],
    done: t.Optional[apply.Apply] = None,
) -> dict[str, t.Any]:
    changed = {one.name for one in plan_.instances if not one.idle}
    names = look.request.names if look.request.state != "absent" else ()
    killed = done.killed if done else []
    stopped_at = done.stopped_at if done else {}
    for name in killed:
        look.warn(f"Instance {name!r} did not end within its stop timeout after SIGTERM and was killed.")
    if look.shared.ends_with_session and not plan_.linger and look.request.state in ("started", "restarted"):
        account_ = look.shared.ends_with_session
        look.warn(f"The instances end with the last session of {account_}, which does not linger: sudo loginctl enable-linger {account_}")
    if look.shared.hindered and plan_.restart_batches:
        look.warn(f"{look.names.shared_service[1]} was not started: {look.shared.hindered}. The instances follow it from its next start on.")
    return {
        **tracker.as_result(),
        "supervisor": look.supervisor.kind,
        "scope": "system" if os.geteuid() == 0 else "user",
        "instances": [
            {
                **rows.row(look.layout, look.supervisor, found.get(name, Found(name)), name in changed, name in killed),
                "stopped_at": iso_time(stopped_at[name]) if name in stopped_at else None,
            }
            for name in names
        ],
        "batches": plan_.restart_batches,
        "removed": plan_.removed,
    }
