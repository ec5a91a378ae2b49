# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What creates conda prefixes: the few methods that each backend has, and the choice among them."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import WorkerError
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
    each checked against its hash; then specs are empty and nothing is solved.
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


class Backend(t.Protocol):
    """Creates fresh prefixes; knows nothing of records, names or pip."""

    def detect(self) -> Detected:
        """Raises WorkerError ``backend_unavailable``. Starts at most one short child."""

    def create(self, request: CreateRequest, progress: Progress) -> list[dict[str, str]]:
        """Create the prefix, and return its packages as ``{"name", "version", "build", "channel"}``.

        Raises WorkerError ``unsatisfiable``, ``channel_unreachable``, ``hash_mismatch``, ``unsafe_package``, ``disk_full``,
        ``not_writable``, ``timeout`` or ``create_failed``; then the prefix may be half there, and the caller removes it.
        """


def choose_backend(wanted: str, executable: t.Optional[str]) -> str:
    """The name of the backend for the options ``backend`` and ``executable``. Raises WorkerError ``backend_unavailable``.

    ``auto`` searches a bare name (``conda``) and falls back to the library; a path must be taken as it is.
    """
    is_path = executable is not None and "/" in executable
    if wanted in CLI_BACKENDS or (wanted == "auto" and is_path):
        what = f"Option 'backend' is {wanted!r}" if wanted in CLI_BACKENDS else f"Option 'executable' is {executable!r}"
        raise WorkerError(
            "backend_unavailable",
            f"{what}, but this version of the collection creates environments with the library rattler alone.",
            "Set backend: rattler (and leave executable out).",
        )
    return "rattler"


def make_backend(name: str) -> Backend:
    """The backend of that name; its file is loaded only now, because a converged run needs none."""
    from .rattler_backend import RattlerBackend

    if name != "rattler":
        raise WorkerError("backend_unavailable", f"There is no backend {name!r}.", "Set backend: rattler.")
    return RattlerBackend()
