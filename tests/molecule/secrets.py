# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking for secrets where nobody may find one: in command lines while a playbook runs, in texts, and in the files of a host."""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import shlex
import subprocess
import threading
import typing as t
import urllib.parse

from .fleet import Fleet

INTERVAL = 0.02  # seconds between two looks; a module's own start takes far longer


def spellings(secrets: t.Mapping[str, str]) -> dict[str, str]:
    """Every form in which a login travels, with the name of the secret. secrets: ``user:password`` or a token by name."""
    found: dict[str, str] = {}
    for name, login in secrets.items():
        password = login.partition(":")[2] or login
        forms = (password, urllib.parse.quote(password, safe=""), base64.b64encode(login.encode()).decode())
        found.update(dict.fromkeys(forms, name))
    return found


def told(text: str, forms: t.Mapping[str, str]) -> list[str]:
    """The names of the secrets that are in the text."""
    return sorted({name for form, name in forms.items() if form in text})


@contextlib.contextmanager
def watched_arguments(forms: t.Mapping[str, str]) -> t.Iterator[dict[str, str]]:
    """The command lines with a secret, by the secret's name, of all processes while the block runs: this machine's, and so its containers' too.

    A process that ran for less than two looks may not have been seen.
    """
    hits: dict[str, str] = {}
    looks = 0
    done = threading.Event()

    def look() -> None:
        nonlocal looks
        while not done.wait(INTERVAL):
            looks += 1
            for line in filter(None, map(_arguments, filter(str.isdigit, os.listdir("/proc")))):
                for name in told(line, forms):
                    hits.setdefault(name, line)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield hits
    finally:
        done.set()
        thread.join()
    assert looks > 10, "it was looked often enough"


def _arguments(pid: str) -> str:
    try:
        return pathlib.Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return ""


def holders(fleet: Fleet, host: str, forms: t.Mapping[str, str], *places: str) -> list[str]:
    """``<mode> <path>`` of the host's files below the places that hold a secret. The secrets go in by standard input."""
    script = f"grep -rlaF --devices=skip -f - {shlex.join(places)} 2>/dev/null | xargs -r -d '\\n' stat -c '%a %n'"
    done = subprocess.run(fleet.ssh_argv(host, script), input="\n".join(forms) + "\n", text=True, capture_output=True, check=False, timeout=120)
    return sorted(done.stdout.splitlines())
