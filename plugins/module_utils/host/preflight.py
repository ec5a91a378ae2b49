# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What stands in the way of a deploy on this host: every finding at once, each with its remedy, nothing changed.

Each check takes what is wanted and answers with findings. Needs nothing of Ansible.
"""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import os
import platform
import pwd
import stat
import sys
import typing as t

from .. import names, network, supervisors, user_manager
from ..bounds import at_least
from ..errors import OptionError, WorkerError
from ..instances import instance_of
from ..layout import Layout
from ..redact import redact
from ..sockets import Listener, collides, listeners
from . import reach

OLDEST_PYTHON = (3, 9)
OLDEST_SYSTEMD = 247
FREE_INODES = 20_000
# Of one worker on one host. The role's tasks/begin.yml makes one more at most.
MOST_INSTANCES = 1000


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that stands in the way. check: also the failure's code when it is the only one."""

    check: str
    msg: str
    remedy: str
    details: dict[str, t.Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a run wants of the host.

    user: the account of the instances, empty for whoever runs this. deploys: whether anything is installed; else the run works on
    what is deployed already. bind_to_unit: the unit that the worker is to follow, or empty.
    """

    root: str
    name: str
    ports: tuple[int, ...]
    bind: str
    supervisor: str
    scope: str
    minimum_disk_mb: int
    user: str = ""
    deploys: bool = True
    bind_to_unit: str = ""

    @property
    def unit_directory(self) -> str:
        """Where its units are, if it has any."""
        return user_manager.own_login().units if self.scope == "user" else supervisors.UNIT_DIRECTORY


@dataclasses.dataclass(frozen=True)
class Host:
    """What the host is."""

    system: str
    python_version: tuple[int, ...]
    uid: int
    systemd_version: t.Optional[int]
    has_venv: bool


def look(run_version: t.Callable[[], t.Optional[int]]) -> Host:
    """Read the host. run_version: tells systemd's version; called only where systemd runs."""
    booted = os.path.isdir("/run/systemd/system")
    return Host(platform.system(), sys.version_info[:3], os.geteuid(), run_version() if booted else None, importlib.util.find_spec("ensurepip") is not None)


def choose_supervisor(wanted: Wanted, host: Host) -> str:
    """The supervisor that is meant here."""
    return supervisors.chosen(wanted.supervisor, _installed(wanted), host.systemd_version is not None and host.uid == 0, wanted.scope)


def _installed(wanted: Wanted) -> tuple[str, ...]:
    layout = Layout(wanted.root).worker(wanted.name)
    return supervisors.installed(layout) if wanted.scope == "system" else supervisors.installed(layout, wanted.unit_directory)


def check_platform(wanted: Wanted, host: Host) -> list[Finding]:
    """Operating system, Python, supervisor, rights."""
    findings = []
    if host.system != "Linux":
        findings.append(Finding("unsupported_system", f"This host runs {host.system}.", "Use a Linux host."))
    if host.python_version < OLDEST_PYTHON:
        found = ".".join(str(part) for part in host.python_version)
        findings.append(
            Finding(
                "old_python",
                f"The host's Python is {found} ({sys.executable}); 3.9 or newer is needed.",
                "Install a newer one and set ansible_python_interpreter.",
            )
        )
    return findings + check_supervisor(wanted, host)


def check_supervisor(wanted: Wanted, host: Host) -> list[Finding]:
    """Whether the supervisor that is meant can be had; of units of the login, user_scope.check tells the rest."""
    findings = []
    kind = choose_supervisor(wanted, host)
    if host.systemd_version is None and kind == "systemd" and (wanted.scope == "user" or wanted.supervisor == "systemd"):
        asked = "worker_scope is user" if wanted.scope == "user" else "worker_supervisor is systemd"
        remedy = "Set worker_supervisor: supervisord" + (", and worker_scope: system with worker_become: false." if wanted.scope == "user" else ".")
        findings.append(Finding("no_systemd", f"{asked}, and systemd does not run on this host.", remedy))
    if kind == "systemd" and host.systemd_version is not None and host.systemd_version < OLDEST_SYSTEMD:
        msg = f"This host has systemd {host.systemd_version}; {OLDEST_SYSTEMD} or newer is needed."
        findings.append(Finding("old_systemd", msg, "Upgrade the host, or set worker_supervisor: supervisord."))
    try:
        layout = Layout(wanted.root).worker(wanted.name)
        supervisors.refuse_other_scope(layout, wanted.scope, host.uid, user_manager.own_login().units)
        supervisors.refuse_other(wanted.name, kind if wanted.scope == "user" else wanted.supervisor, _installed(wanted), wanted.scope)
    except WorkerError as error:
        findings.append(Finding(error.code, error.message, error.remedy))
    if wanted.scope == "system" and kind == "systemd" and host.uid != 0:
        remedy = "Set become: true, or worker_scope: user, or worker_supervisor: supervisord."
        findings.append(Finding("not_root", "Units of the system need root.", remedy))
    return findings


def check_user(wanted: Wanted, uid: int) -> list[Finding]:
    """Who runs the instances: only root can let somebody else do it."""
    own = _user_name(uid)
    if uid == 0 or wanted.user in ("", own):
        return []
    msg = f"worker_user is {wanted.user}, and {own} cannot run instances as somebody else."
    return [Finding("not_root", msg, f"Set become: true, or worker_user: {own}.")]


def check_unit(wanted: Wanted, host: Host, exists: t.Callable[[str], bool]) -> list[Finding]:
    """The unit that the worker is to follow. exists: whether systemd knows the unit; called only where it runs."""
    if not wanted.bind_to_unit or choose_supervisor(wanted, host) != "systemd" or host.systemd_version is None or exists(wanted.bind_to_unit):
        return []
    remedy = "Install it first, or correct the name: systemctl list-unit-files"
    return [Finding("invalid_option", f"worker_bind_to_unit is {wanted.bind_to_unit}, and there is no such unit on this host.", remedy)]


def check_files(files: t.Mapping[str, str]) -> list[Finding]:
    """Files that must be there, by the variable that names them."""
    found = []
    for variable, path in files.items():
        try:
            # A pipe would be waited for, and a number is a file that this process has open.
            with open(names.check_file(variable, str(path)), "rb"):
                pass
        except OptionError as error:
            found.append(Finding(error.code, error.message, error.remedy))
        except OSError as error:
            text = f"{variable} names {path}, which cannot be read on this host: {error.strerror}."
            found.append(Finding("missing_file", text, f"Put it there first, or correct the path: ls -l {path}"))
    return found


def check_names(wanted: Wanted) -> list[Finding]:
    """The names of worker and root, of which every path is made: with a finding here nothing below the root is looked at."""
    return _refused("invalid_name", names.check_name, "worker_name", wanted.name) + _refused("invalid_root", names.check_root, "worker_root", wanted.root)


def check_numbers(minimum_disk_mb: int, lease_timeout: int, keep: int) -> list[Finding]:
    """The numbers that no later stage looks at, or only the last one."""
    disk = _refused("invalid_option", lambda name, number: at_least(name, number, 0), "worker_minimum_disk_mb", minimum_disk_mb)
    counts = (("worker_lease_timeout", lease_timeout), ("worker_keep", keep))
    return disk + [each for option, value in counts for each in _refused("invalid_option", lambda name, number: at_least(name, number, 1), option, value)]


def check_accounts(accounts: t.Sequence[str], user: str) -> list[Finding]:
    """Names that no account can have. user: the one that the controller has judged already."""
    option = "worker_build_user" if user else "worker_user or worker_build_user"
    return [each for name in accounts if name != user for each in _refused("invalid_option", names.check_account, option, name)]


def check_instances(instances: t.Sequence[str], ports: t.Sequence[int]) -> list[Finding]:
    """Names and ports of the instances, each there once: what ew_worker would refuse only after the environment was built."""
    if len(instances) > MOST_INSTANCES:
        remedy = f"Let worker_count be {MOST_INSTANCES} at most, or give several workers names of their own."
        return [Finding("invalid_instances", f"More than {MOST_INSTANCES} instances are wanted (worker_count, worker_instances).", remedy)]
    found = [finding for name in instances for finding in _refused("invalid_instances", names.check_name, "worker_instances.name", name)]
    twice = [f"the name {name!r}" for name in _repeated(instances)] + [f"port {port}" for port in _repeated(ports)]
    remedy = "Give each of worker_instances a name and a port of its own."
    found += [Finding("invalid_instances", f"Two instances have {each}.", remedy) for each in twice]
    wrong = [port for port in ports if not 1 <= port <= 65535]
    if wrong:
        # One for all: a count that is too large makes thousands of them.
        remedy = "Let worker_port, with worker_count, or each of worker_instances give numbers from 1 to 65535."
        found.append(Finding("invalid_instances", f"An instance has the port {wrong[0]}.", remedy))
    if not ports:
        remedy = "Let worker_count be 1 or more; the stop playbook stops all instances, worker_auto_start: false starts none."
        found.append(Finding("invalid_instances", "No instance is wanted: worker_instances is empty and worker_count is below 1.", remedy))
    return found


def _repeated(values: t.Iterable[t.Any]) -> list[t.Any]:
    return sorted(value for value, count in collections.Counter(values).items() if count > 1)


def _refused(check: str, rule: t.Callable[[str, t.Any], object], option: str, value: t.Any) -> list[Finding]:
    try:
        rule(option, value)
    except OptionError as error:
        return [Finding(check, error.message, error.remedy)]
    return []


def check_root(wanted: Wanted, uid: int) -> list[Finding]:
    """The root: ours to write, not others' nor below what is others'; for a deploy executable and with room."""
    root = wanted.root.rstrip("/")
    parent = nearest(root)
    findings = []
    if not os.path.isdir(parent):
        return [Finding("not_a_directory", f"worker_root {root} cannot be made: {parent} is not a directory.", "Move it away, or choose another root.")]
    if not os.access(parent, os.W_OK | os.X_OK):
        findings.append(
            Finding("not_writable", f"{_user_name(uid)} may not write {parent} (worker_root is {root}).", "Set become: true, or choose another root.")
        )
    if uid == 0:
        findings += check_owners(root)
    return findings + (check_room(root, parent, wanted.minimum_disk_mb) if wanted.deploys else [])


def check_owners(root: str) -> list[Finding]:
    """What root would run code from belongs to root, and so does the way there: else others could exchange it."""
    found = []
    top = os.path.realpath(root)
    for path in _way_to(top):
        status = os.stat(path)
        # The group of a directory such as /usr/local is the distribution's matter; where a sticky bit is, others cannot rename.
        shared = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP) if path == top else status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if status.st_uid != 0 or shared:
            text = f"{path} belongs to user id {status.st_uid} or others may write it; root would run code from there (worker_root is {root})."
            found.append(Finding("unsafe_root", text, f"chown root:root {path} && chmod 755 {path}; or choose another root."))
    return found


def _way_to(path: str) -> list[str]:
    """Those of the path and its ancestors that exist."""
    ways = [path]
    while ways[-1] != "/":
        ways.append(os.path.dirname(ways[-1]))
    return [way for way in ways if os.path.isdir(way)]


def check_room(root: str, parent: str, minimum_disk_mb: int) -> list[Finding]:
    """Free space and inodes, and whether programs may run from the file system."""
    system = os.statvfs(parent)
    free = system.f_bavail * system.f_frsize // 1_000_000
    findings = []
    if free < minimum_disk_mb:
        findings.append(
            Finding(
                "disk_full",
                f"{parent} has {free} MB free; worker_minimum_disk_mb is {minimum_disk_mb}.",
                f"Free space (df -h {parent}), or lower worker_minimum_disk_mb.",
            )
        )
    if system.f_files > 0 and system.f_favail < FREE_INODES:
        findings.append(Finding("no_inodes", f"{parent} has {system.f_favail} free inodes; {FREE_INODES} are needed.", f"Remove files (df -i {parent})."))
    if system.f_flag & os.ST_NOEXEC:
        findings.append(
            Finding("noexec", f"The file system of {root} is mounted noexec; environments are run from there.", "Choose another root, or remount it with exec.")
        )
    return findings


def check_ports(wanted: Wanted) -> list[Finding]:
    """Ports that a process holds which is not an instance of this worker, shared ones (SO_REUSEPORT) too."""
    findings = []
    # Of more instances than are taken nobody asks where each would listen.
    for each in listeners(wanted.ports) if len(wanted.ports) <= MOST_INSTANCES else ():
        if collides(each.address, wanted.bind) and not is_ours(each, wanted):
            findings.append(port_finding(each))
    return findings


def port_finding(listener: Listener) -> Finding:
    """The finding that names who holds the port."""
    return Finding(
        "port_in_use",
        f"Port {listener.port} on {listener.address} is held by {listener}.",
        f"{listener.way_to_stop}, or choose another worker_port.",
        {"port": listener.port, "pid": listener.pid, "command": listener.command},
    )


def is_ours(listener: Listener, wanted: Wanted) -> bool:
    """Whether the listener is an instance of this worker below this root; every instance carries both in its variables."""
    return listener.pid is not None and instance_of(Layout(wanted.root).worker(wanted.name), listener.pid) is not None


def check_sources(channels: t.Iterable[str], indexes: t.Iterable[str]) -> list[Finding]:
    """Channels (names or addresses) and indexes that do not answer."""
    kinds = {**{reach.Address(each): "index" for each in indexes}, **{reach.channel_address(each): "channel" for each in channels}}
    return [
        Finding(
            f"{kinds[address]}_unreachable",
            f"The {kinds[address]} {redact(address.url)} does not answer{_through(address.url)}: {problem}.",
            f"Check network, proxy (worker_{_scheme(address.url)}_proxy, worker_no_proxy) and address, or deploy offline (worker_offline).",
            {"address": address.url},
        )
        for address, problem in reach.silent(kinds).items()
    ]


def _through(url: str) -> str:
    proxy = reach.proxy_of(url)
    return f" through the proxy {redact(proxy)}" if proxy else ""


def _scheme(url: str) -> str:
    return "https" if url.startswith("https://") else "http"


def check_network(settings: t.Optional[t.Mapping[str, t.Any]], wanted: Wanted) -> list[Finding]:
    """Proxies that are no addresses, and certificates that are not there."""
    return [Finding("invalid_option", f"worker_{each.name} is {each.value!r}: {each.why}.", each.remedy) for each in network.problems(settings, wanted.deploys)]


def check_venv(wanted: Wanted, host: Host) -> list[Finding]:
    """A toolchain must be made, and this Python cannot make virtual environments."""
    if not wanted.deploys or host.has_venv or os.path.isdir(Layout(wanted.root).toolchain):
        return []
    return [
        Finding("no_venv", f"{sys.executable} cannot make virtual environments (no ensurepip).", "Install it: apt-get install python3-venv (Debian, Ubuntu).")
    ]


def missing_users(names: t.Iterable[str]) -> list[str]:
    """Those of the names that are no account here."""
    missing = []
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            missing.append(name)
    return missing


def nearest(path: str) -> str:
    """The path itself, or its nearest ancestor that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _user_name(uid: int) -> str:
    """The account, or its number where it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
