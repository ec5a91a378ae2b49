# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words that tell which machine a file was written on."""

from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse

from tools.checkout import CHECKOUT

# Hosts that everybody uses: naming them says nothing about a machine.
PUBLIC = ("pypi.org", "pythonhosted.org", "anaconda.org", "debian.org", "npmjs.org", "github.com", "example.com", "example.org", "localhost")
SHORTEST_HOST = 5  # characters; shorter names of hosts are words of their own


def machine_words() -> dict[str, str]:
    """Words that no file of the project may have, each with where it comes from."""
    paths = {str(CHECKOUT): "the checkout", str(pathlib.Path.home()): "the home directory", sys.base_prefix: "the interpreter", sys.prefix: "its environment"}
    words = {path: why for path, why in paths.items() if len(pathlib.Path(path).parts) > 2 and not path.startswith("/usr")}
    for address in _addresses(_pip_settings()):
        host = urllib.parse.urlsplit(address).hostname
        if host and len(host) >= SHORTEST_HOST and not host.endswith(PUBLIC):
            words[host] = "pip's settings"
    return words


def _addresses(settings: str) -> list[str]:
    return re.findall(r"[a-z+]+://[^\s'\"]+", settings)


def _pip_settings() -> str:
    """Everything that pip is told on this machine, by files and by variables."""
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    values = [str(ast.literal_eval(line.partition("=")[2])) for line in listing.splitlines() if "=" in line]
    variables = [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "CONDA_")) or name.lower().endswith("_proxy")]
    return "\n".join([*values, *variables])
