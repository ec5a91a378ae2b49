# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the images that are not there yet."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .machine import FILES
from .podman import Podman
from .recipe import REPOSITORY, Recipe, apt_settings, bootstrap_argv, debian_mirror, import_argv
from .spec import HostsError

INIT_FILE = FILES / "test-host-init.sh"
BUILD_TIMEOUT = 900


def recipe(suite: str) -> Recipe:
    """Give the recipe of one suite."""
    return Recipe(suite, INIT_FILE.read_text())


def ensure(podman: Podman, suites: Iterable[str], cache: Path) -> tuple[dict[str, str], bool]:
    """Build what is missing; return suite → image name, and whether one was built. Two calls at once build nothing twice."""
    tags: dict[str, str] = {}
    built = False
    with _lock(cache):
        for suite in sorted(set(suites)):
            wanted = recipe(suite)
            if podman.run(["image", "exists", wanted.tag], check=False).returncode:
                print(f"building the image {wanted.tag} (once; half a minute)", file=sys.stderr, flush=True)
                _build(podman, wanted)
                built = True
            tags[suite] = wanted.tag
    return tags, built


def remove(podman: Podman) -> list[str]:
    """Remove every image of test hosts that no container uses; return their names."""
    done = podman.run(["images", "--filter", f"reference={REPOSITORY}", "--format", "{{.Repository}}:{{.Tag}}"])
    return [tag for tag in done.stdout.split() if not podman.run(["rmi", tag], check=False).returncode]


def _build(podman: Podman, wanted: Recipe) -> None:
    with tempfile.TemporaryDirectory(prefix="ewtest-image-") as directory:
        archive = str(Path(directory) / "root.tar")
        argv = bootstrap_argv(wanted, debian_mirror(_sources()), _settings(), str(INIT_FILE), archive)
        try:
            done = subprocess.run(argv, text=True, capture_output=True, timeout=BUILD_TIMEOUT, check=False)
        except FileNotFoundError as missing:
            raise HostsError("mmdebstrap is not installed: run tests/hosts/install_packages.sh") from missing
        except subprocess.TimeoutExpired as late:
            raise HostsError(f"mmdebstrap did not end within {BUILD_TIMEOUT} s: is the Debian mirror slow?") from late
        if done.returncode:
            tail = "\n".join(done.stderr.strip().splitlines()[-15:])
            raise HostsError(f"mmdebstrap ended with {done.returncode}:\n{tail}")
        podman.run(import_argv(wanted, archive))


def _sources() -> list[str]:
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    return [path.read_text(errors="replace") for path in files if path.is_file() and path.suffix in (".list", ".sources")]


def _settings() -> tuple[str, ...]:
    try:
        return apt_settings(subprocess.run(["apt-config", "dump"], text=True, capture_output=True, check=True).stdout)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ()


@contextmanager
def _lock(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "image.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
