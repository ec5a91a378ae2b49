# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The toolchain: a virtual environment on the host with what the modules import, complete or absent, never changed in place.

``<root>/toolchain/<fingerprint>/`` is marked by ``.building`` from its first to its last moment of work; the record
``toolchain.json`` is written last, and only a directory with a record is ever used. Needs nothing of Ansible.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
import signal
import sys
import time
import typing as t

from ..actions import Actions
from ..boundaries import boundary
from ..errors import OptionError, WorkerError
from ..files import flush_directory, locked, read_json, write_json, write_text
from ..layout import Layout
from ..processes import all_pids, command, is_alive
from ..progress import Progress, silent
from ..run import check, run
from . import toolchain_pip
from .toolchain_interpreter import Interpreter, interpreter_at, refuse_without_venv
from .toolchain_pins import Pin, installed, logical_lines, parse_pins, satisfied

RECORD = "toolchain.json"
MARK = ".building"
SCRATCH = ".tmp"
REQUIREMENTS = "requirements.txt"
# What must import, or the platform lacks something that no requirement can name (an old C library).
_IMPORTS = {"grpcio": "grpc", "py-rattler": "rattler", "supervisor": "supervisor.options"}


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where packages come from, on top of pip's own settings on the host."""

    index_url: t.Optional[str] = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    offline: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    """state: ready (complete already), provided (the running interpreter will do), older (another one will do) or missing.

    python: for the later stages.
    """

    state: str
    fingerprint: str
    directory: str
    python: str


def fingerprint_of(requirements: str, interpreter: Interpreter) -> str:
    """16 hex digits over what the environment depends on: the requirements without their comments, and the interpreter's ABI."""
    parts = ["toolchain 1", interpreter.abi, interpreter.minor, interpreter.platform, *logical_lines(requirements)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class Toolchain:
    """The toolchain for ``requirements`` below ``root``, made from the interpreter at ``python`` (None: the running one).

    Raises OptionError for a text that is not pinned and hashed, and for a bad interpreter.
    """

    def __init__(self, root: str, requirements: str, python: t.Optional[str], actions: Actions) -> None:
        self._layout = Layout(root)
        self._requirements = requirements
        self._pins: list[Pin] = parse_pins(requirements)
        self._base = interpreter_at(python)
        self._chosen = python is not None and python != sys.executable
        self._actions = actions

    def plan(self, use_existing: bool = False) -> Plan:
        """What is there. use_existing: rather than make one, take another that is complete.

        Raises WorkerError ``no_venv`` where something is to be made and cannot be.
        """
        fingerprint = fingerprint_of(self._requirements, self._base)
        directory = os.path.join(self._layout.toolchain, fingerprint)
        python = os.path.join(directory, "bin", "python")
        if is_complete(directory, fingerprint):
            return Plan("ready", fingerprint, directory, python)
        if not self._chosen and satisfied(self._pins, installed(sys.path)):
            return Plan("provided", fingerprint, directory, sys.executable)
        older = newest(self._layout) if use_existing else None
        if older is not None:
            return Plan("older", os.path.basename(older), older, os.path.join(older, "bin", "python"))
        refuse_without_venv(self._base)
        refuse_foreign(directory)
        return Plan("missing", fingerprint, directory, python)

    def tell(self, plan: Plan) -> None:
        """Record what making the planned toolchain does."""
        if plan.state == "missing":
            self._actions.add("toolchain", f"toolchain/{plan.fingerprint}", "created")
            self._actions.differ(f"toolchain/{plan.fingerprint}", "", "".join(f"{pin.name}=={pin.version}\n" for pin in self._pins))

    def make(self, plan: Plan, sources: Sources, timeout: float, progress: Progress = silent) -> bool:
        """Build what is missing; whether it did (another run may have been faster). timeout: seconds for each step.

        Raises WorkerError with the reason by its code; nothing half-made is left behind, or it is not taken for whole.
        """
        environ = toolchain_pip.pip_environment(
            sources.index_url, sources.extra_index_urls, sources.find_links, sources.offline, os.path.join(self._layout.cache, "pip")
        )
        lock = os.path.join(self._layout.locks, f"toolchain-{plan.fingerprint}.lock")
        with _readable_by_all(), locked(lock, timeout, "making a toolchain"):
            if is_complete(plan.directory, plan.fingerprint):
                return False
            refuse_foreign(plan.directory)
            end_orphans(plan.directory)
            remove_tree(plan.directory)
            try:
                self._build(plan, environ, sources.offline, timeout, progress)
            except BaseException as error:
                # A directory that cannot be removed keeps its mark and has no record: the next run removes it.
                with contextlib.suppress(OSError):
                    remove_tree(plan.directory)
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise toolchain_pip.disk_full(self._layout.root) from None
                raise
        return True

    def _build(self, plan: Plan, environ: dict[str, str], offline: bool, timeout: float, progress: Progress) -> None:
        os.makedirs(plan.directory)
        mark = _mark(plan.directory)
        # pip unpacks there: a small /tmp need not have the room, and one closed to programs does no harm.
        scratch = os.path.join(plan.directory, SCRATCH)
        os.mkdir(scratch, 0o700)
        environ = {**environ, "TMPDIR": scratch}
        requirements = os.path.join(plan.directory, REQUIREMENTS)
        write_text(requirements, self._requirements.rstrip("\n") + "\n")
        boundary("toolchain.begun")
        progress(f"Make a virtual environment with {self._base.python}")
        done = run([self._base.python, "-m", "venv", plan.directory], environ, timeout=timeout)
        if done.rc:
            raise toolchain_pip.explain_failure(done, offline, self._layout.root)
        boundary("toolchain.made")
        progress(f"Install {len({pin.name for pin in self._pins})} packages")
        done = run(toolchain_pip.install_argv(plan.python, requirements), environ, timeout=timeout)
        if done.rc:
            raise toolchain_pip.explain_failure(done, offline, self._layout.root)
        boundary("toolchain.installed")
        packages = installed([_site_packages(plan.directory, self._base)])
        self._verify(plan.python, packages, environ, timeout)
        record = {
            "fingerprint": plan.fingerprint,
            "python_version": self._base.version,
            "base": self._base.python,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "packages": packages,
        }
        shutil.rmtree(scratch)
        # The record goes to the disk after all that it vouches for.
        os.sync()
        write_json(os.path.join(plan.directory, RECORD), record)
        boundary("toolchain.recorded")
        os.unlink(mark)
        flush_directory(plan.directory)
        boundary("toolchain.finished")

    def _verify(self, python: str, packages: t.Mapping[str, str], environ: dict[str, str], timeout: float) -> None:
        remedy = "The packages do not run on this machine: name another interpreter (python), or compile the requirements for it."
        check(run([python, "-I", "-m", "pip", "check"], environ, timeout=timeout), "verification_failed", remedy)
        names = [module for name, module in sorted(_IMPORTS.items()) if name in packages]
        if names:
            check(run([python, "-I", "-c", f"import {', '.join(names)}"], environ, timeout=timeout), "verification_failed", remedy)


def remove_all(root: str, actions: Actions, check_mode: bool, timeout: float) -> None:
    """Remove every toolchain below the root, half-made ones included."""
    layout = Layout(root)
    try:
        names = sorted(os.listdir(layout.toolchain))
    except FileNotFoundError:
        return
    for name in names:
        directory = os.path.join(layout.toolchain, name)
        refuse_foreign(directory)
        actions.add("toolchain", f"toolchain/{name}", "removed")
        actions.differ(f"toolchain/{name}", "present", "")
        if not check_mode:
            with locked(os.path.join(layout.locks, f"toolchain-{name}.lock"), timeout, "removing a toolchain"):
                remove_tree(directory)
    if not check_mode:
        os.rmdir(layout.toolchain)


def is_complete(directory: str, fingerprint: str) -> bool:
    """Whether the directory was finished as that toolchain and its interpreter is still there. One file is read."""
    record = read_json(os.path.join(directory, RECORD))
    finished = isinstance(record, dict) and record.get("fingerprint") == fingerprint and not os.path.lexists(os.path.join(directory, MARK))
    return finished and os.access(os.path.join(directory, "bin", "python"), os.X_OK)


def newest(layout: Layout) -> t.Optional[str]:
    """The complete toolchain that was made last and whose interpreter is still the one that it was made for, or None."""
    found = []
    for name in os.listdir(layout.toolchain) if os.path.isdir(layout.toolchain) else ():
        directory = os.path.join(layout.toolchain, name)
        with contextlib.suppress(WorkerError, NotADirectoryError):
            if is_complete(directory, name):
                found.append((str(read_json(os.path.join(directory, RECORD)).get("created")), directory))
    return next((directory for _created, directory in sorted(found, reverse=True) if _fits(directory)), None)


def _fits(directory: str) -> bool:
    """Whether it finds its packages: an upgrade of the system may have led its interpreter to another version of Python."""
    try:
        return os.path.isdir(_site_packages(directory, interpreter_at(os.path.join(directory, "bin", "python"))))
    except OptionError:
        return False


def refuse_foreign(directory: str) -> None:
    """Raises WorkerError ``foreign_directory`` where the directory was not made by this code (an empty one may be taken)."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        names = ["(a file)"]
    if names and MARK not in names and RECORD not in names:
        raise WorkerError(
            "foreign_directory",
            f"{directory} exists and is no toolchain: it has neither {RECORD} nor {MARK}.",
            f"Look at it, then move it away: mv {directory} {directory}.old",
        )


def end_orphans(directory: str) -> None:
    """End what a killed build left running: it would go on writing. Called under the lock, on a directory without a record."""
    commands = {pid: command(pid) for pid in all_pids() if pid != os.getpid()}
    left = {pid for pid, line in commands.items() if line.startswith(f"{directory}/bin/") or line.endswith(f" -m venv {directory}")}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_alive(pid) for pid in left):
        if time.monotonic() > deadline:
            pids = ",".join(map(str, sorted(left)))
            raise WorkerError(
                "locked", f"Processes of an earlier build of {directory} do not end.", f"See what they wait for: ps -o pid,stat,wchan,args -p {pids}"
            )
        time.sleep(0.02)


def remove_tree(directory: str) -> None:
    """Remove it so that a half-removed one is not taken for whole: the record goes first, the mark last. Raises OSError."""
    if not os.path.lexists(directory):
        return
    mark = _mark(directory)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, RECORD))
    for entry in os.scandir(directory):
        if entry.name == MARK:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    os.unlink(mark)
    os.rmdir(directory)


def _mark(directory: str) -> str:
    # An empty file needs no room on a full disk, and no second name that a crash could leave.
    path = os.path.join(directory, MARK)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    return path


def _site_packages(directory: str, interpreter: Interpreter) -> str:
    return os.path.join(directory, "lib", f"python{interpreter.minor}", "site-packages")


@contextlib.contextmanager
def _readable_by_all() -> t.Iterator[None]:
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
