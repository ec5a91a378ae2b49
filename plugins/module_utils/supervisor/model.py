# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The words of supervision as data: what is wanted of a worker, what is found, and the files between. Needs nothing of Ansible."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..instances import INSTANCE, STATE_DIR, WORKER
from ..layout import WorkerLayout
from ..redact import redact

# What a process tells of itself in its environment, so that "what runs" is read from the process.
GENERATION = "EW_GENERATION"
EFFECTIVE = "EW_EFFECTIVE"
RELEASE = "EW_RELEASE"
ENVIRONMENT = "EW_ENVIRONMENT"
PORTS = "EW_PORTS"
GPUS = "CUDA_VISIBLE_DEVICES"
# The device nodes that it was given: they may change with the machine's hardware, while what is wanted does not.
NODES = "EW_GPU_NODES"
CACHE_DIR = "EW_CACHE_DIR"
RESERVED = frozenset(
    (
        GENERATION,
        EFFECTIVE,
        RELEASE,
        ENVIRONMENT,
        PORTS,
        WORKER,
        INSTANCE,
        STATE_DIR,
        CACHE_DIR,
        NODES,
        "EW_PORT",
        "EW_BIND",
        "EW_TLS_CERT",
        "EW_TLS_KEY",
        "EW_TLS_CLIENT_CA",
    )
)

# By these a process finds its GPUs.
GPU_VARIABLES = frozenset(("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"))
# A whole GPU, or a part of one.
GPU = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")

LONGEST_LINE = 4000


@dataclasses.dataclass(frozen=True)
class Restart:
    """When a process that ended is started again. delay, window: seconds; burst: starts within the window."""

    policy: str = "always"
    delay: float = 2.0
    burst: int = 5
    window: float = 300.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one instance may use; None leaves it to the supervisor. memory: ``8G``; cpu: cores; memlock: ``infinity`` or a size."""

    memory: t.Optional[str] = None
    cpu: t.Optional[float] = None
    tasks: t.Optional[int] = None
    files: t.Optional[int] = None
    memlock: t.Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Instance:
    """One instance as wanted. index: its place in the list, from 0. gpus: UUIDs; nodes: the device nodes that it needs for them."""

    name: str
    index: int
    ports: tuple[int, ...]
    env: tuple[tuple[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Spec:
    """What all instances of a worker have in common. user: the account, empty for the one that runs the module.

    tls: (suboption, path) of the files that secure the port; credentials: whether the supervisor hands them on.
    """

    layout: WorkerLayout
    generation: int
    release: str
    python: str
    activation: tuple[tuple[str, str], ...] = ()
    module: str = "worker.main"
    arguments: tuple[str, ...] = ("--port", "{port}")
    bind: t.Optional[str] = None
    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[tuple[str, str], ...] = ()
    restart: Restart = Restart()
    stop_timeout: int = 10
    limits: Limits = Limits()
    sandbox: str = "standard"
    writable_paths: tuple[str, ...] = ()
    unit_overrides: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...] = ()
    bind_to_unit: t.Optional[str] = None
    tls: tuple[tuple[str, str], ...] = ()
    credentials: bool = False

    @property
    def environment(self) -> str:
        """The prefix that the interpreter belongs to: ``<prefix>/bin/python``."""
        return self.python.rsplit("/", 2)[0]

    def unit(self, instance: str) -> str:
        """What the collection calls an instance everywhere: ``ew-worker@0``."""
        return f"{self.layout.name}@{instance}"


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What an instance's process carries to tell what it runs."""

    effective: str
    generation: t.Optional[int]


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it must be. owner: (uid, gid), None leaves it to whoever writes."""

    path: str
    text: str
    mode: int = 0o644
    owner: t.Optional[tuple[int, int]] = None


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """A file as it is."""

    text: str
    mode: int
    owner: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Found:
    """One instance as found.

    state: running, starting, stopped, failed or absent. files: those of its files that exist, by path. runs: what the process says of itself, None where
    none runs; recorded: what its files say. result: the supervisor's word (``exit-code``, ``signal``, ``timeout``,
    ``start-limit-hit`` …); exit_status: of the last process that ended, negative for a signal. started_at: seconds since
    the epoch. reason: a sentence about a failed instance, where the supervisor has one. stop_timeout: as its files say, in seconds.
    unread: the supervisor says that the files are newer than what it has read. memory_limit: as its files say, or empty.
    """

    name: str
    state: str = "absent"
    files: t.Mapping[str, OnDisk] = dataclasses.field(default_factory=dict)
    enabled: bool = False
    pid: t.Optional[int] = None
    started_at: t.Optional[float] = None
    restarts: int = 0
    result: str = "success"
    exit_status: t.Optional[int] = None
    reason: str = ""
    runs: t.Optional[t.Mapping[str, str]] = None
    recorded: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    stop_timeout: float = 0.0
    unread: bool = False
    memory_limit: str = ""

    @property
    def deployed(self) -> bool:
        return bool(self.files)

    @property
    def ports(self) -> set[int]:
        """Those that its process has, and those that its files would give to the next one."""
        return {*ports_of(self.recorded), *ports_of(self.runs or {})}

    @property
    def gpus(self) -> set[str]:
        """As with the ports."""
        return {*gpus_of(self.recorded), *gpus_of(self.runs or {})}

    @property
    def up(self) -> bool:
        return self.state == "running"


@dataclasses.dataclass(frozen=True)
class FoundShared:
    """What the instances of a worker share: units or the supervisord itself.

    active: the target or the supervisord runs. hindered: why it is not to be started now, empty where it may be. missing:
    the unit that it is to be bound to, where there is none of that name. unread: as in Found. ends_with_session: the account with
    whose last session everything ends, because it does not linger; empty where that is not so.
    """

    files: t.Mapping[str, OnDisk] = dataclasses.field(default_factory=dict)
    enabled: bool = False
    active: bool = False
    hindered: str = ""
    missing: str = ""
    unread: bool = False
    ends_with_session: str = ""


@dataclasses.dataclass(frozen=True)
class LogLine:
    """time: ISO 8601 in UTC, or empty where a line before any known time has none. line: see ``log_line``."""

    time: str
    line: str


def number(text: t.Optional[str]) -> t.Optional[int]:
    """The number that a variable holds, None for anything else: a process may overwrite its own variables with what it likes."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) else None


def ports_of(variables: t.Mapping[str, str]) -> list[int]:
    """The ports that an instance's variables tell; what is no port is left out."""
    numbers = (number(word) for word in variables.get(PORTS, "").split(","))
    return [each for each in numbers if each is not None and 1 <= each <= 65535]


def gpus_of(variables: t.Mapping[str, str]) -> tuple[str, ...]:
    """The GPUs that an instance's variables tell; what is no UUID is left out."""
    return tuple(word for word in variables.get(GPUS, "").split(",") if GPU.fullmatch(word))


def log_line(text: str) -> str:
    """What a worker wrote as a result may carry it: credentials in addresses masked, and of a very long line the beginning."""
    shown = redact(text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]} … ({len(shown)} characters)"
