# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine is: the one place that tells cgroup v1 from v2 and reads its CA and proxy settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST_CA_BUNDLE = "/etc/ssl/test-ca-bundle.pem"
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
# Read on the hosts by pip, uv and conda clients; values that name a file here mean nothing there.
PASSED_ON = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
FILES = Path(__file__).resolve().parent / "files"


@dataclass(frozen=True)
class Machine:
    """What was found; ``environment`` is what a client on a host needs to reach a package index."""

    cgroup_v1: bool
    ca_bundle: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)


def read_environment(environ: Mapping[str, str]) -> tuple[Path | None, dict[str, str]]:
    """Give the CA bundle that ``environ`` names, and the variables for clients on the hosts."""
    found = {name: environ[name] for name in PASSED_ON if environ.get(name) and "file://" not in environ[name]}
    bundle = next((Path(environ[name]) for name in CA_VARIABLES if environ.get(name)), None)
    if bundle is not None:
        found.update(dict.fromkeys(CA_VARIABLES, HOST_CA_BUNDLE))
    return bundle, found


def detect(cgroup_root: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Look at this machine."""
    bundle, environment = read_environment(os.environ)
    if bundle is not None and not bundle.is_file():
        bundle = None
        environment = {name: value for name, value in environment.items() if name not in CA_VARIABLES}
    # Only a unified tree has this file at its top; hybrid machines count as version 1.
    return Machine(not (cgroup_root / "cgroup.controllers").exists(), bundle, environment)


def podman_environment(machine: Machine, environ: Mapping[str, str]) -> dict[str, str]:
    """Give the environment for podman: crun refuses cgroup v1, and defaults there exceed hard limits."""
    result = dict(environ)
    if machine.cgroup_v1:
        result.setdefault("CONTAINERS_CONF", str(FILES / "containers.conf"))
    return result
