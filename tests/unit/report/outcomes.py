# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role gathers on a host, for tests of what is made of it."""

from __future__ import annotations

import typing as t


def instance(**changes: t.Any) -> dict[str, t.Any]:
    """An instance as ew_worker returns it."""
    row = {
        "name": "0",
        "id": "ew-worker@0",
        "state": "running",
        "pid": 12345,
        "started_at": "2026-01-02T03:00:00Z",
        "ports": [50051],
        "generation": 2,
        "release": "/x/releases/r2",
        "environment": "/x/envs/e-f-1",
        "memory_bytes": 52428800,
        "cpu_seconds": 1.25,
    }
    return {**row, **changes}


def outcome(**changes: t.Any) -> dict[str, t.Any]:
    """What the role gathers on a host after a good first deploy."""
    verified = {"targets": [{"name": "ew-worker@0", "status": "serving", "healthy": True, "latency_ms": {"connect": 4.0, "rpc": 8.0}}], "elapsed": 0.5}
    start = {"changed": True, "elapsed": 1.0, "instances": [instance()], "actions": [{"what": "instance", "id": "ew-worker@0", "status": "started"}]}
    found: dict[str, t.Any] = {
        "verb": "deploy",
        "name": "ew-worker",
        "enabled": True,
        "check_mode": False,
        "began": 1000.0,
        "ended": 1001.0,
        "preflight": {"elapsed": 0.1},
        "bundle": {},
        "toolchain": {"elapsed": 0.2},
        "release": {"elapsed": 0.3, "changed": True, "actions": [{"what": "release", "id": "releases/r2", "status": "created"}]},
        "environment": {"elapsed": 3.12, "changed": True, "created": True, "prefix": "/x/envs/e-f-1", "backend": {"name": "rattler"}},
        "generation": {"elapsed": 0.1, "changed": True},
        "record": {"number": 2, "release": {"id": "r2"}, "environment": {"prefix": "/x/envs/e-f-1"}},
        "previous": {},
        "plan": {},
        "applied": [start],
        "moves": [],
        "found": {},
        "call": start,
        "log": {},
        "verified": verified,
        "verified_remotely": {},
        "failure": {},
        "restored": {},
        "finished": {},
        "status": {"workerPort": 50051, "condaEnvName": "ew_ai_worker", "workerDir": "./worker"},
    }
    return {**found, **changes}
