# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The secrets of each generation, in files that only their owner reads, so that going back to one needs nobody to know them any more.

Needs nothing of Ansible. Written and removed only under the lock of the state.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import typing as t

from ..boundaries import boundary
from ..files import write_json
from ..layout import WorkerLayout
from . import state as states

# Also what a killed run left half-written.
_OURS = re.compile(r"\.?generation-([0-9]+)\.json(\..+)?")


def digest_of(values: t.Mapping[str, str], salt: bytes) -> str:
    """32 hex digits that name the secrets and tell nothing of them to whoever has not the salt."""
    text = json.dumps(dict(values), sort_keys=True, ensure_ascii=False)
    return hmac.new(salt, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]


def read(path: str) -> t.Optional[dict[str, str]]:
    """Value by name, or None where there is no such file or it is broken."""
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(paths: WorkerLayout, number: int, values: t.Mapping[str, str]) -> str:
    """Keep the secrets of that generation; returns the file's path."""
    with contextlib.suppress(FileExistsError):
        os.makedirs(os.path.dirname(paths.secrets), exist_ok=True)
        os.mkdir(paths.secrets, 0o700)
    path = paths.generation_secrets(number)
    write_json(path, dict(values), 0o600)
    boundary("generation.secrets.written")
    return path


def forget(paths: WorkerLayout, state: states.State) -> None:
    """Remove the secrets of every generation that the state does not have."""
    numbers = {str(each["number"]) for each in state["generations"]}
    for name in os.listdir(paths.secrets) if os.path.isdir(paths.secrets) else ():
        match = _OURS.fullmatch(name)
        if match and (match[1] not in numbers or not name.endswith(".json")):
            os.unlink(os.path.join(paths.secrets, name))
    with contextlib.suppress(OSError):
        os.rmdir(paths.secrets)
