# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is made of. The tag is a hash of the recipe, so the same recipe is never built twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

REPOSITORY = "localhost/ewtest-host"
DEFAULT_MIRROR = "http://deb.debian.org/debian"
INIT_PATH = "/usr/local/sbin/test-host-init"
PACKAGES = (
    "ca-certificates",
    "dbus",
    "dbus-user-session",
    "iproute2",
    "iptables",
    "libpam-systemd",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tini",
)
UNPACKED_NOT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# What a machine says about reaching its mirror; the rest of its apt settings is its own business.
APT_SETTINGS = re.compile(
    r"Acquire::("
    r"(http|https|ftp)::(.*::)?(Proxy|Proxy-Auto-Detect|CaInfo|CaPath|Verify-Peer|Verify-Host|Timeout)"
    r"|Check-Valid-Until|Check-Date|Retries)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Recipe:
    """A suite and the init wrapper's text; packages and options are the same for all."""

    suite: str
    init: str

    @property
    def tag(self) -> str:
        """Give the image's name with a tag that changes with anything that goes into the image."""
        content = json.dumps([self.suite, self.init, INIT_PATH, PACKAGES, UNPACKED_NOT])
        return f"{REPOSITORY}:{self.suite}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def apt_settings(dump: str) -> tuple[str, ...]:
    """Pick from ``apt-config dump`` the lines needed to reach a mirror the way this machine does."""
    lines = (line.strip() for line in dump.splitlines())
    return tuple(line for line in lines if APT_SETTINGS.match(line) and not line.endswith('"";'))


def debian_mirror(sources: Iterable[str]) -> str:
    """Find a Debian mirror in the texts of a machine's sources files, else the public one.

    Security and other archives have other paths; only ``…/debian`` carries every suite.
    """
    for text in sources:
        for line in text.splitlines():
            words = re.sub(r"\[.*?\]", "", line.split("#")[0]).split()
            if not words or words[0].lower() not in ("deb", "uris:"):
                continue
            for word in words[1:]:
                if urlsplit(word).scheme and urlsplit(word).path.rstrip("/").endswith("/debian"):
                    return word.rstrip("/")
    return DEFAULT_MIRROR


def bootstrap_argv(recipe: Recipe, mirror: str, settings: Sequence[str], init_file: str, target: str) -> list[str]:
    """Give the mmdebstrap command that writes the image's file system to the tar file ``target``."""
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    argv += [f"--aptopt={line}" for line in settings]
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in UNPACKED_NOT]
    argv += [
        f"--customize-hook=upload {init_file} {INIT_PATH}",
        f'--customize-hook=chmod 0755 "$1{INIT_PATH}"',
        # Where the key goes; bullseye's packages do not make it.
        '--customize-hook=mkdir -p -m 0700 "$1/root/.ssh"',
        # Mirror, proxy and CA settings of the building machine stay out of the image.
        '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
        recipe.suite,
        target,
        mirror,
    ]
    return argv


def import_argv(recipe: Recipe, archive: str) -> list[str]:
    """Give the podman arguments that turn the tar file into an image."""
    return ["import", "--quiet", "--change", f"CMD {INIT_PATH}", archive, recipe.tag]
