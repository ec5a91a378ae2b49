# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The files with which a worker secures its port, and where its process finds them. Needs nothing of Ansible.

The system's systemd hands them on as credentials, so that the key may stay root's alone. Elsewhere the process reads them where they are.
"""

from __future__ import annotations

import os
import pathlib
import pwd
import stat
import typing as t

from ..errors import OptionError
from ..names import check_file, check_path
from ..trust import writable_by_others
from .model import Instance, Spec

# Suboption of tls -> variable of the process; the placeholder in arguments is {tls_<suboption>}.
VARIABLES = {"cert": "EW_TLS_CERT", "key": "EW_TLS_KEY", "client_ca": "EW_TLS_CLIENT_CA"}
_CREDENTIALS = "/run/credentials"
_ACCESS_LIST = "system.posix_acl_access"


def files_of(given: t.Optional[t.Mapping[str, t.Any]]) -> tuple[tuple[str, str], ...]:
    """(suboption, path) of option tls. Raises OptionError."""
    return tuple((name, check_path(f"tls.{name}", given[name])) for name in VARIABLES if given and given.get(name))


def paths(spec: Spec, instance: Instance) -> dict[str, str]:
    """Suboption -> the path at which the instance's process finds the file."""
    directory = f"{_CREDENTIALS}/{spec.unit(instance.name)}.service"
    return {name: f"{directory}/tls_{name}" if spec.credentials else path for name, path in spec.tls}


def check_there(spec: Spec, may_come: bool) -> None:
    """Raise OptionError for what is no file, or not there. may_come: whether it may be missing yet, as in check mode."""
    for name, path in spec.tls:
        check_file(f"tls.{name}", path)
        if not may_come:
            _status(f"tls.{name}", path)


def check(spec: Spec, owner: tuple[int, int]) -> None:
    """Raise OptionError for a file that the process will not be able to read, or that others could exchange; see ``check_there`` for one that is missing.

    owner: (uid, gid) of the account of the process.
    """
    for name, path in spec.tls:
        if os.path.exists(path):
            check_one(f"tls.{name}", path, spec.credentials, owner)


def check_one(option: str, path: str, credentials: bool, owner: t.Optional[tuple[int, int]]) -> None:
    """As ``check``, for the file that one option names. owner: None where the account is not there yet."""
    _status(option, path)
    # systemd reads a credential as root at every start, wherever links lead: who could exchange it could have any file of root's handed on.
    exchangeable = writable_by_others(path, lasting=True) if credentials else None
    if exchangeable:
        remedy = f"Keep it where root alone can write, such as /etc/ssl: ls -ld {exchangeable}"
        raise OptionError(option, path, f"others than root can write {exchangeable}", remedy)
    if credentials or owner is None:
        return
    closed, (uid, gid) = _closed_to(path, *owner), owner
    if closed and os.path.isdir(closed):
        remedy = f"Put the file where the account gets to it, or let its group through: chgrp {gid} {closed} && chmod g+x {closed}"
        raise OptionError(option, path, f"the account of the instances (uid {uid}) may not get through {closed}", remedy)
    if closed:
        remedy = f"Give it to the group of the account: chgrp {gid} {closed} && chmod 640 {closed}"
        raise OptionError(option, path, f"the account of the instances (uid {uid}) may not read it", remedy)


def _status(option: str, path: str) -> os.stat_result:
    try:
        return os.stat(check_file(option, path))
    except OSError as error:
        raise OptionError(option, path, f"it cannot be read: {error.strerror}", "Put the file there first, on the host.") from None


def _closed_to(path: str, uid: int, gid: int) -> str:
    """The file, or the directory on the way to it, that the account may not read or get through; empty where none is."""
    if uid == 0:
        return ""
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    real = os.path.realpath(path)
    directories = [str(each) for each in reversed(pathlib.PurePath(real).parents)]
    wanted = [*((each, stat.S_IXOTH) for each in directories), (real, stat.S_IROTH)]
    return next((each for each, bit in wanted if not _allows(each, bit, uid, groups)), "")


def _allows(path: str, bit: int, uid: int, groups: t.Collection[int]) -> bool:
    status = os.stat(path)
    if _ACCESS_LIST in _attributes(path):
        # Who may what stands there then; what is refused all the same is told when the worker starts.
        return True
    if status.st_uid == uid:
        return bool(status.st_mode & bit << 6)
    return bool(status.st_mode & (bit << 3 if status.st_gid in groups else bit))


def _attributes(path: str) -> list[str]:
    try:
        return os.listxattr(path)
    except OSError:
        return []
