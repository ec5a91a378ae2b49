# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the command lines conda, mamba and micromamba are asked, and what they find around them. Pure functions."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import typing as t
import urllib.parse

from ..run import clean_environment
from .backends import CreateRequest
from .locked import LockedPackage
from .specs import Secret, credentials, strip_credentials

CHANNEL_ALIAS = "https://conda.anaconda.org"
# The tools run a package's link scripts by the first bash in PATH. This one, put before it, leaves them to the caller, who runs
# them as the build user, with no cache in reach, and fails where they fail; everything else it hands on.
# conda wraps them into a script of its own, which activates the prefix first.
_SHELL = """\
#!/bin/sh
for last in "$@"; do :; done
case "$last" in
    */.*-pre-link.sh | */.*-post-link.sh) exit 0 ;;
esac
if [ -f "$last" ] && grep -qE '^[.] .*/[.][^/]*-(pre|post)-link[.]sh' "$last"; then
    exit 0
fi
exec {real} "$@"
"""


def shell_script(real: str) -> str:
    """Our ``bash``. real: the path of the one that it stands before."""
    return _SHELL.format(real=shlex.quote(real))


def channel_address(channel: str) -> str:
    """What is said to the tool: an address, so that no configuration gives a name another meaning, and without credentials."""
    address = strip_credentials(channel)
    return address if "://" in address else f"{CHANNEL_ALIAS}/{address}"


def argument_of(spec: str) -> str:
    """A spec as one word, which is read alike by all of them: ``python=3.10.*`` for ``python 3.10.*``."""
    words = spec.split()
    if len(words) < 2 or "[" in spec:
        return spec
    name, rest = words[0], words[1:]
    if re.match(r"[<>=!~]", rest[0]):
        return name + "".join(rest)
    # A bare version means exactly that one, unless a build goes with it.
    joint = "=" if len(rest) > 1 or rest[0].endswith("*") else "=="
    return "=".join([f"{name}{joint}{rest[0]}", *rest[1:]])


def create_argv(name: str, executable: str, request: CreateRequest, prefix: str, explicit: t.Optional[str], download_only: bool = False) -> list[str]:
    """``create`` of a fresh prefix. explicit: the file of locked packages, which are then not solved for."""
    own = {
        "conda": ["--no-default-packages", "--no-pin", "--strict-channel-priority"],
        "mamba": ["--no-rc", "--no-pyc", "--channel-priority", "strict"],
    }["conda" if name == "conda" else "mamba"]
    argv = [executable, "create", "--prefix", prefix, "--yes", "--json"]
    if explicit is not None:
        argv += [*(["--no-default-packages"] if name == "conda" else ["--no-rc", "--no-pyc"]), "--file", explicit]
    else:
        channels = [word for channel in request.channels for word in ("--channel", channel_address(channel))]
        argv += [*own, "--override-channels", *channels]
    if request.account is not None:
        # The account may not link root's files (fs.protected_hardlinks), and nothing in the prefix may be the cache's.
        argv.append("--copy" if name == "conda" else "--always-copy")
    if download_only:
        argv.append("--download-only")
    elif request.offline or (request.account is not None and explicit is None):
        argv.append("--offline")
    if request.offline and "--offline" not in argv:
        argv.append("--offline")
    return argv + ([] if explicit is not None else [argument_of(spec) for spec in request.specs])


def explicit_list(locked: t.Sequence[LockedPackage]) -> str:
    """The packages as a file that nothing is solved for. A hash without a word before it is taken by all of them."""
    lines = [f"{strip_credentials(each.url)}#{each.sha256 or each.md5}".rstrip("#") for each in locked]
    return "\n".join(["@EXPLICIT", *lines, ""])


def environment(request: CreateRequest, work: str, packages: str, shell: str) -> dict[str, str]:
    """The whole environment of the tool: of the caller's ``CONDA_*``, ``MAMBA_*``, home and configuration nothing comes through.

    work: its home. packages: its package cache. shell: the directory of our ``bash``.
    """
    base = clean_environment()
    return {
        **base,
        "PATH": f"{shell}:{base['PATH']}",
        "HOME": work,
        "TMPDIR": work,
        "XDG_CONFIG_HOME": os.path.join(work, "config"),
        "XDG_CACHE_HOME": os.path.join(work, "xdg-cache"),
        "XDG_DATA_HOME": os.path.join(work, "data"),
        "PYTHONNOUSERSITE": "1",
        "NETRC": os.path.join(work, NETRC),
        "BINSTAR_CONFIG_DIR": os.path.join(work, BINSTAR),
        "CONDARC": os.path.join(work, CONDARC),
        "CONDA_PKGS_DIRS": packages,
        "CONDA_SUBDIR": request.platform,
        "CONDA_CHANNEL_ALIAS": CHANNEL_ALIAS,
        "CONDA_REPORT_ERRORS": "false",
        "CONDA_NOTIFY_OUTDATED_CONDA": "false",
        "CONDA_NUMBER_CHANNEL_NOTICES": "0",
        "MAMBA_ROOT_PREFIX": os.path.join(work, "root"),
        "MAMBA_SKIP_RUN_LINK_SCRIPTS": "true",
        "MAMBA_NO_BANNER": "1",
    }


CONDARC, NETRC, BINSTAR, MAMBA_AUTH = "condarc.yml", "netrc", "binstar", ".mamba/auth/authentication.json"
# The last of the files that conda reads, so it has the last word; JSON is YAML, too.
CONDARC_TEXT = json.dumps({"always_yes": True, "add_pip_as_python_dependency": False, "auto_update_conda": False, "notify_outdated_conda": False}) + "\n"


def private_files(request: CreateRequest) -> dict[str, str]:
    """Configuration and credentials as files below the tool's home, by their paths there; nobody else can read them."""
    netrc, mamba, files = [], {}, {CONDARC: CONDARC_TEXT}
    for address in (*request.channels, *(each.url for each in request.locked)):
        secret = credentials(address)
        if secret is None:
            continue
        scheme, place = _place(address)
        if secret.token:
            files[f"{BINSTAR}/data/{urllib.parse.quote_plus(f'{scheme}://{place}')}.token"] = secret.token
        else:
            netrc.append(f"machine {secret.host} login {_quoted(secret.user)} password {_quoted(secret.password)}\n")
        mamba[place] = _mamba_login(secret)
    if netrc:
        files[NETRC] = "".join(dict.fromkeys(netrc))
    if mamba:
        files[MAMBA_AUTH] = json.dumps(mamba)
    return files


def _place(address: str) -> tuple[str, str]:
    scheme, _separator, rest = address.partition("://")
    return scheme, re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]


def _mamba_login(secret: Secret) -> dict[str, str]:
    if secret.token:
        return {"type": "CondaToken", "token": secret.token}
    return {"type": "BasicHTTPAuthentication", "user": secret.user, "password": base64.b64encode(secret.password.encode()).decode()}


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
