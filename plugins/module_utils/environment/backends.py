# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What creates conda prefixes: the few methods that each backend has, and the choice among them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import typing as t

from ..errors import OptionError, WorkerError
from ..progress import Progress
from .locked import LockedPackage

CLI_BACKENDS = ("conda", "mamba", "micromamba")


@dataclasses.dataclass(frozen=True)
class Detected:
    """A backend that can be used here. executable: what is run, or the interpreter that has the library."""

    name: str
    version: str
    executable: str


@dataclasses.dataclass(frozen=True)
class CreateRequest:
    """A prefix to create in a directory that is empty.

    specs: what to solve for. channels: names or addresses, maybe with credentials, in order of priority. cache: the package
    cache, locked by the caller. timeout: seconds for each step. scratch: a directory of the caller that is removed afterwards.
    account: (uid, gid) that fetches and links, to which the prefix belongs; None: whoever runs this. locked: exactly these packages,
    each checked against its hash; then specs are empty and nothing is solved. archives: where rattler keeps the packages' own files
    instead of making a prefix, for a machine with these virtual packages, (name, version).
    """

    prefix: str
    specs: tuple[str, ...]
    channels: tuple[str, ...]
    platform: str
    cache: str
    scratch: str
    offline: bool
    timeout: float
    account: t.Optional[tuple[int, int]] = None
    locked: tuple[LockedPackage, ...] = ()
    archives: str = ""
    virtual_packages: tuple[tuple[str, str], ...] = ()


class Backend(t.Protocol):
    """Creates fresh prefixes; knows nothing of records, names or pip."""

    def detect(self) -> Detected:
        """Raises WorkerError ``backend_unavailable`` or ``unsafe_executable``. Starts at most one short child."""

    def create(self, request: CreateRequest, progress: Progress) -> list[dict[str, str]]:
        """Create the prefix, and return its packages as ``{"name", "version", "build", "channel"}``.

        Raises WorkerError ``unsatisfiable``, ``channel_unreachable``, ``hash_mismatch``, ``unsafe_package``, ``disk_full``,
        ``not_writable``, ``timeout``, ``prefix_too_long`` or ``create_failed``; then the prefix may be half there, and the caller removes it.
        """


def choose_backend(wanted: str, executable: t.Optional[str]) -> str:
    """The name of the backend for the options ``backend`` and ``executable``, as far as they tell without a look at the host.

    It stays ``auto`` where a program was named: a path is taken as it is, a bare name (``conda``) is looked for and the library takes
    its place where there is none. Raises OptionError.
    """
    if executable is not None and not executable.strip():
        raise OptionError("executable", executable, "it is empty", "Leave it out, or give a name such as conda, or a path.")
    if executable is not None and "/" in executable and not os.path.isabs(executable):
        raise OptionError("executable", executable, "it is neither a bare name nor an absolute path", "Give the whole path, such as /opt/conda/bin/conda.")
    if executable is not None and re.search(r"[\x00-\x1f\x7f]", executable):
        raise OptionError("executable", executable, "it has control characters in it", "Give a name such as conda, or a path.")
    if executable is not None and executable.startswith("-"):
        raise OptionError("executable", executable, "no program has such a name", "Give a name such as conda, or a path.")
    return "rattler" if wanted == "auto" and executable is None else wanted


def refuse_absent_program(name: str, executable: t.Optional[str]) -> None:
    """Raise WorkerError ``backend_unavailable`` or ``unsafe_executable`` where a program was named that cannot be run here.

    Looks at files alone: in check mode too, and before anything is made. What the program is, ``detect`` finds out.
    """
    if name == "rattler" or (name == "auto" and executable is None):
        return
    from .cli_detection import check_place

    check_place(name, executable, os.environ, str(pathlib.Path.home()), os.geteuid())


def make_backend(name: str, executable: t.Optional[str] = None) -> Backend:
    """The backend of that name; its file is loaded only now, because a converged run needs none."""
    if name == "rattler":
        from .rattler_backend import RattlerBackend

        return RattlerBackend()
    if name not in ("auto", *CLI_BACKENDS):
        raise WorkerError("backend_unavailable", f"There is no backend {name!r}.", "Set backend: rattler.")
    from .cli_backend import CliBackend

    return CliBackend(name, executable)
