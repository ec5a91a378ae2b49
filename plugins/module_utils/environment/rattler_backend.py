# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The backend that needs no conda on the host: py-rattler, in a child of the interpreter that runs the module."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import inspect
import json
import os
import sys
import typing as t

from ..errors import WorkerError
from ..progress import Progress
from ..run import clean_environment, tail
from . import rattler_child
from .backends import CreateRequest, Detected
from .leftovers import GROUP, end_builders
from .made_prefix import check_records, read_records
from .ownership import private_directory
from .package_cache import lent, opened, tidy
from .rattler_errors import classify
from .specs import credentials, strip_credentials
from .stream import Stream, stream


class RattlerBackend:
    """See ``Backend``."""

    def detect(self) -> Detected:
        """Looks for the library without importing it."""
        if importlib.util.find_spec("rattler") is None:
            raise WorkerError(
                "backend_unavailable",
                f"The Python library rattler (package py-rattler) is not installed for {sys.executable}.",
                "Let the task run on the toolchain's interpreter (ansible_python_interpreter), or install it: pip install py-rattler",
            )
        return Detected("rattler", importlib.metadata.version("py-rattler"), sys.executable)

    def create(self, request: CreateRequest, progress: Progress) -> list[dict[str, str]]:
        """See ``Backend``."""
        if request.account is None:
            try:
                return _judged(self._fetch(request, ("fetch", "link"), progress), request)
            finally:
                tidy(request.cache)
        with lent(request.cache, request.account):
            fetched = self._fetch(request, ("fetch",), progress)
        # Linking follows the paths that packages name: it reads a cache that it cannot write.
        with opened(request.cache, request.account[1]):
            return _judged(self._child(request, ("link",), fetched["records"], {}, progress), request)

    def archive(self, request: CreateRequest, progress: Progress) -> list[dict[str, t.Any]]:
        """Solve, and put the packages' files into the request's directory ``archives``. Returns what the index says of each; nothing for a lock's."""
        return [json.loads(text) for text in self._fetch(request, ("archive",), progress)["records"]]

    def _fetch(self, request: CreateRequest, steps: tuple[str, ...], progress: Progress) -> dict[str, t.Any]:
        auth = os.path.join(request.scratch, "channel-auth.json")
        _write_private(auth, auth_store([*request.channels, *(package.url for package in request.locked)]), request.account)
        try:
            return self._child(request, steps, (), {"RATTLER_AUTH_FILE": auth}, progress)
        finally:
            # Later steps run code of others with the scratch directory in reach.
            os.unlink(auth)

    def _child(
        self, request: CreateRequest, steps: tuple[str, ...], records: t.Sequence[str], variables: t.Mapping[str, str], progress: Progress
    ) -> dict[str, t.Any]:
        """The last message of a child that did the steps. What it left running has ended, too."""
        work = private_directory(os.path.join(request.scratch, f"rattler-{steps[-1]}"), request.account)
        account = (*request.account, GROUP) if request.account is not None else None
        data = {**dataclasses.asdict(request), "account": account, "steps": steps, "work": work, "records": records}
        data["channels"] = [strip_credentials(channel) for channel in request.channels]
        data["locked"] = [{**dataclasses.asdict(package), "url": package.address} for package in request.locked]
        # No cache, configuration or login of whoever runs the deploy.
        environ = clean_environment({"HOME": work, "TMPDIR": work, "RATTLER_CACHE_DIR": work, **variables})
        program = [sys.executable, "-I", "-c", inspect.getsource(rattler_child)]
        try:
            ended = stream(program, json.dumps(data) + "\n", environ, request.timeout, lambda line: _tell(line, progress))
        finally:
            if request.account is not None:
                end_builders(request.account[0])
        return _outcome(ended, request)


def auth_store(channels: t.Sequence[str]) -> dict[str, t.Any]:
    """The credentials in channel addresses in the form of rattler's own store, so that no address in the prefix carries them."""
    store: dict[str, t.Any] = {}
    for channel in channels:
        secret = credentials(channel)
        if secret is not None and secret.token:
            store[secret.host] = {"CondaToken": secret.token}
        elif secret is not None:
            store[secret.host] = {"BasicHTTP": {"username": secret.user, "password": secret.password}}
    return store


def _tell(line: str, progress: Progress) -> None:
    message = _message(line)
    if "progress" in message:
        progress(str(message["progress"]))


def _outcome(ended: Stream, request: CreateRequest) -> dict[str, t.Any]:
    """Judge by what was written: the exit status alone says nothing of this library."""
    for line in reversed(ended.lines):
        message = _message(line)
        if "packages" in message:
            return message
        if "error" in message:
            raise classify(str(message["error"]), str(message["message"]), request)
    raise WorkerError(
        "create_failed",
        f"The solver's process ended with status {ended.rc} without an answer: {tail(ended.stderr, 5) or 'it wrote nothing'}",
        "Run the same command again; if it stays, look for memory pressure (dmesg | tail).",
        stderr=tail(ended.stderr),
    )


def _judged(message: t.Mapping[str, t.Any], request: CreateRequest) -> list[dict[str, str]]:
    """The packages that were made. The prefix is looked at, as with every other tool: no answer is worth more than what stands on disk."""
    packages = [dict(package) for package in message["packages"]]
    problem = check_records(request.prefix, read_records(request.prefix), {package["name"].lower() for package in packages})
    if problem:
        raise WorkerError("create_failed", f"rattler answered, but {problem}.", "Run the same command again; if it stays, see what else writes there.")
    return packages


def _message(line: str) -> dict[str, t.Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_private(path: str, data: t.Any, owner: t.Optional[tuple[int, int]]) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        json.dump(data, handle)
        if owner is not None:
            os.fchown(handle.fileno(), *owner)
