# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepares ``ansible-test sanity`` so that it needs nothing but the package index that pip uses on this machine.

It makes virtual environments of its own. To put pip into them it downloads a script, unless it finds that in its home;
and it hides PIP_* variables from pip. So it gets a home of its own here, with a script that needs no network, and with pip's
effective configuration written to a file.
"""

from __future__ import annotations

import ast
import collections
import configparser
import fcntl
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import typing as t

from tools.checkout import CACHE

HOME = CACHE / "sanity-home"
# Stands in for get-pip.py: the packages that the caller names, unpacked from wheels that were fetched once; ensurepip and an index take ten times as long.
BOOTSTRAP = """\
import pathlib, subprocess, sys, sysconfig, zipfile
names = [each for each in sys.argv[1:] if "==" in each]
wheels = {name: list(pathlib.Path(__file__).parent.glob(name.replace("==", "-") + "-py*.whl")) for name in names}
for found in wheels.values():
    for wheel in found:
        zipfile.ZipFile(wheel).extractall(sysconfig.get_path("purelib"))
missing = [name for name in names if not wheels[name]]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", *missing]).returncode if missing else 0)
"""


def pip_settings(listing: str) -> dict[str, dict[str, str]]:
    """The sections of a configuration file equal to what ``pip config list`` printed; later lines win, variables most of all."""
    sections: dict[str, dict[str, str]] = collections.defaultdict(dict)
    from_environment: dict[str, str] = {}
    for line in listing.splitlines():
        key, equals, literal = line.partition("=")
        section, dot, option = key.rpartition(".")
        if not equals or not dot:
            continue
        value = str(ast.literal_eval(literal))
        if section == ":env:":
            from_environment[option] = value
        else:
            sections[section][option] = value
    sections["global"].update(from_environment)
    return dict(sections)


def prepare_home(home: pathlib.Path = HOME) -> pathlib.Path:
    """Make the home directory and return it; safe in several processes at once."""
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for version in pip_versions():
            script = cache / f"get_pip_{version.replace('.', '_')}.py"
            if not script.is_file() or script.read_text(encoding="utf-8") != BOOTSTRAP:
                script.write_text(BOOTSTRAP, encoding="utf-8")
            if not list(cache.glob(f"pip-{version}-*.whl")):
                _pip("download", "--quiet", "--no-deps", "--dest", str(cache), f"pip=={version}")
        write_pip_settings(home / ".config" / "pip" / "pip.conf", {"cache-dir": _pip("cache", "dir").strip()})
    return home


def write_pip_settings(file: pathlib.Path, more: t.Mapping[str, str]) -> None:
    """Write pip's effective configuration of this machine to a file that only the owner can read. more: options where none is set.

    It may hold an index's password. Somebody may be reading an earlier one.
    """
    settings = pip_settings(_pip("config", "list"))
    settings["global"] = {**more, **settings.get("global", {})}
    parser = configparser.RawConfigParser()
    parser.read_dict(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        parser.write(stream)
    unfinished.replace(file)


def _pip(*arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def pip_versions() -> set[str]:
    """The versions of pip for which the installed ansible-test asks for a bootstrap script."""
    found = importlib.util.find_spec("ansible_test")
    places = (found.submodule_search_locations if found else None) or []
    source = "".join((pathlib.Path(place) / "_internal" / "python_requirements.py").read_text(encoding="utf-8") for place in places)
    versions = set(re.findall(r"\bpip='([0-9.]+)'", source))
    if not versions:
        raise RuntimeError("This ansible-test names no version of pip: adapt tools/testing/sanity.py to it.")
    return versions
