# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Every path below a root, computed in one place. Needs nothing of Ansible and touches no disk."""

from __future__ import annotations

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths below ``root``, an absolute directory on a host (default ``/opt/ew_ai_worker``)."""

    root: str

    @property
    def releases(self) -> str:
        """Holds one directory a release: ``releases/<id>``."""
        return os.path.join(self.root, "releases")

    @property
    def envs(self) -> str:
        """Holds one prefix an environment, ``envs/<name>-<fingerprint12>-<build>``, and the links for people."""
        return os.path.join(self.root, "envs")

    @property
    def toolchain(self) -> str:
        """Holds one virtual environment a toolchain: ``toolchain/<fingerprint>``."""
        return os.path.join(self.root, "toolchain")

    @property
    def cache(self) -> str:
        """Holds what was downloaded: ``cache/conda`` (package cache), ``cache/uv``, ``cache/pip``."""
        return os.path.join(self.root, "cache")

    @property
    def bundles(self) -> str:
        """Holds one directory a bundle, which brings packages to hosts that reach no index: ``bundles/<id>``."""
        return os.path.join(self.root, "bundles")

    @property
    def locks(self) -> str:
        """Holds the lock files of what is shared below the root."""
        return os.path.join(self.root, "locks")

    @property
    def jobs(self) -> str:
        """Holds one directory a job, long work of a module that survives its connection; gone when there is none."""
        return os.path.join(self.root, "jobs")

    def worker(self, name: str) -> WorkerLayout:
        """The paths of one worker, apart from those of every other worker below the same root."""
        return WorkerLayout(self.root, name)

    def workers(self) -> str:
        """Holds one directory a worker: ``workers/<worker_name>``."""
        return os.path.join(self.root, "workers")


@dataclasses.dataclass(frozen=True)
class WorkerLayout:
    """The paths of the worker ``name`` below ``root``."""

    root: str
    name: str

    @property
    def home(self) -> str:
        return os.path.join(self.root, "workers", self.name)

    @property
    def state(self) -> str:
        """The generations (JSON, world-readable, no secret in it)."""
        return os.path.join(self.home, "state.json")

    @property
    def lease(self) -> str:
        """Who deploys at this moment (JSON); absent when nobody does."""
        return os.path.join(self.home, "lease.json")

    @property
    def deploy_log(self) -> str:
        """One JSON line for each deploy or verb that changed something; only ever appended."""
        return os.path.join(self.home, "deploy.log")

    @property
    def endpoints(self) -> str:
        """Where the instances of this host listen (JSON), for whoever routes calls."""
        return os.path.join(self.home, "endpoints.json")

    @property
    def salt(self) -> str:
        """Random bytes (mode 0600) that go into the digest of effective values, so that a secret cannot be guessed from it."""
        return os.path.join(self.home, "salt")

    @property
    def secrets(self) -> str:
        """Holds the secret files (mode 0700, each file 0600)."""
        return os.path.join(self.home, "secrets")

    def generation_secrets(self, number: int) -> str:
        """The secrets of one generation (JSON: value by name); absent where it has none."""
        return os.path.join(self.secrets, f"generation-{number}.json")

    @property
    def supervisord(self) -> str:
        """Holds configuration, socket, pid file and program files of this worker's supervisord."""
        return os.path.join(self.home, "supervisord")

    @property
    def logs(self) -> str:
        """Holds the log files that supervisord writes; under systemd the journal has the logs."""
        return os.path.join(self.home, "logs")

    def data(self, instance: str) -> str:
        """What the instance may write, ``data/<instance>/{state,cache}``: kept by uninstall unless purged."""
        return os.path.join(self.home, "data", instance)

    def directories(self, instance: str) -> tuple[str, str]:
        """The two directories in it: state and cache."""
        data = self.data(instance)
        return os.path.join(data, "state"), os.path.join(data, "cache")
