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
        auth = os.path.join(request.scratch, "channel-auth.json")
        _write_private(auth, auth_store(request.channels))
        data = dataclasses.asdict(request)
        data["channels"] = [strip_credentials(channel) for channel in request.channels]
        # No cache, configuration or login of whoever runs the deploy.
        environ = clean_environment({"HOME": request.scratch, "RATTLER_CACHE_DIR": request.cache, "RATTLER_AUTH_FILE": auth, "TMPDIR": request.scratch})
        try:
            program = [sys.executable, "-c", inspect.getsource(rattler_child)]
            ended = stream(program, json.dumps(data) + "\n", environ, request.timeout, lambda line: _tell(line, progress))
        finally:
            # Later steps run code of others with the scratch directory in reach.
            os.unlink(auth)
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


def _outcome(ended: Stream, request: CreateRequest) -> list[dict[str, str]]:
    """Judge by what was written: the exit status alone says nothing of this library."""
    for line in reversed(ended.lines):
        message = _message(line)
        if "packages" in message:
            return [dict(package) for package in message["packages"]]
        if "error" in message:
            raise classify(str(message["error"]), str(message["message"]), request)
    raise WorkerError(
        "create_failed",
        f"The solver's process ended with status {ended.rc} without an answer: {tail(ended.stderr, 5) or 'it wrote nothing'}",
        "Run the same command again; if it stays, look for memory pressure (dmesg | tail).",
        stderr=tail(ended.stderr),
    )


def _message(line: str) -> dict[str, t.Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write_private(path: str, data: t.Any) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as handle:
        json.dump(data, handle)
