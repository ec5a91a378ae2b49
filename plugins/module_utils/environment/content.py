# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What an environment holds, as data, and its fingerprint. Pure functions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import typing as t

from ..errors import WorkerError
from .locked import LockedPackage
from .requirements import Requirements
from .specs import python_spec, spec_name, strip_credentials

FINGERPRINT_VERSION = 1
_PLATFORMS = {
    "x86_64": "linux-64",
    "aarch64": "linux-aarch64",
    "ppc64le": "linux-ppc64le",
    "s390x": "linux-s390x",
    "riscv64": "linux-riscv64",
}


@dataclasses.dataclass(frozen=True)
class Content:
    """Everything that decides what ends up in an environment, and nothing else.

    channels may carry credentials, the fingerprint never does. installer is the option's value: ``auto`` is the same
    content on every host, whatever is installed there. locked: exactly these packages; then python_version and packages are
    empty, and no channel is asked: the channels only give credentials.
    """

    python_version: t.Optional[str]
    packages: tuple[str, ...]
    channels: tuple[str, ...]
    requirements: tuple[Requirements, ...]
    constraints: tuple[Requirements, ...]
    pip: Requirements
    variables: tuple[tuple[str, str], ...]
    installer: str
    platform: str
    locked: tuple[LockedPackage, ...] = ()

    @property
    def wants_pip(self) -> bool:
        return any(requirements.lines for requirements in (*self.requirements, self.pip))

    @property
    def has_unknown_tree(self) -> bool:
        return any(each.has_unknown_tree() for each in (*self.requirements, *self.constraints, self.pip))

    @property
    def has_python(self) -> bool:
        """Whether there will be a Python in it."""
        return "python" in {package.name for package in self.locked} | {spec_name(spec) for spec in self.conda_specs("uv")}

    @property
    def unverified(self) -> list[str]:
        """The locked packages without a hash."""
        return [f"{package.name} {package.version}" for package in self.locked if not package.is_verified]

    def conda_specs(self, installer: str) -> list[str]:
        """What to ask the solver for, when ``installer`` (uv or pip) puts in the rest."""
        if self.locked:
            return []
        names = {spec_name(spec) for spec in self.packages}
        specs = list(self.packages)
        if self.python_version is not None:
            specs.insert(0, python_spec(self.python_version))
        elif self.wants_pip and "python" not in names:
            specs.insert(0, "python")
        if self.wants_pip and installer == "pip" and "pip" not in names:
            specs.append("pip")
        return specs


def fingerprint(content: Content) -> str:
    """64 hex digits over the contents: no path, no credential, no index goes in."""
    data: dict[str, t.Any] = {
        "version": FINGERPRINT_VERSION,
        "python_version": content.python_version,
        "packages": sorted(content.packages),
        "channels": [strip_credentials(channel).rstrip("/") for channel in content.channels],
        "requirements": [each.canonical() for each in content.requirements],
        "constraints": [each.canonical() for each in content.constraints],
        "pip": content.pip.canonical(),
        "variables": sorted(content.variables),
        "installer": content.installer,
        "platform": content.platform,
    }
    if content.locked:
        data["channels"] = []
        data["locked"] = sorted([package.address, package.sha256, package.md5] for package in content.locked)
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def this_platform() -> str:
    """The conda name of this machine, ``linux-64``. Raises WorkerError ``unsupported_platform``."""
    machine = platform.machine()
    if machine not in _PLATFORMS:
        raise WorkerError("unsupported_platform", f"conda has no name for the machine type {machine!r}.", f"Use one of {', '.join(sorted(_PLATFORMS))}.")
    return _PLATFORMS[machine]
