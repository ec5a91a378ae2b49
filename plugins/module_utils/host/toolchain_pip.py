# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How pip is called for a toolchain, and what its failures mean."""

from __future__ import annotations

import os
import re
import typing as t

from ..errors import OptionError, WorkerError
from ..network import CA_REMEDY, PROXY_REMEDY, PROXY_WORDS
from ..redact import redact
from ..run import Completed, clean_environment, describe_exit, reason, tail

# What of the host's own settings would lead the packages elsewhere, or other packages in.
_DROPPED = frozenset({"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT", "PIP_EDITABLE", "PIP_DRY_RUN", "PIP_REPORT", "PIP_LOG", "PIP_NO_BINARY"})
_KEPT = ("HOME", "NETRC", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")


def install_argv(python: str, requirements: str) -> list[str]:
    """requirements: the file's path. No address is in it: anyone may read the arguments of a process."""
    options = ["--require-hashes", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    return [python, "-I", "-m", "pip", "install", *options, "-r", requirements]


def pip_environment(
    index_url: t.Optional[str],
    extra_index_urls: t.Sequence[str],
    find_links: t.Sequence[str],
    offline: bool,
    cache: str,
    host: t.Optional[t.Mapping[str, str]] = None,
) -> dict[str, str]:
    """The variables for pip: the host's own ``PIP_*`` and configuration files stay in force, the options go before them.

    host: the variables of the host, those of this process unless given.
    """
    given = os.environ if host is None else host
    kept = {name: value for name, value in given.items() if (name.startswith("PIP_") and name not in _DROPPED) or name in _KEPT}
    environ = clean_environment(kept)
    environ.setdefault("PIP_CACHE_DIR", cache)
    # Common settings of a host that are not meant for this: `user = true`, and constraints without hashes.
    environ["PIP_USER"] = "0"
    environ["PIP_CONSTRAINT"] = os.devnull
    environ["PIP_REQUIRE_VIRTUALENV"] = "0"
    environ["PYTHONNOUSERSITE"] = "1"
    if index_url:
        environ["PIP_INDEX_URL"] = index_url
    if extra_index_urls:
        environ["PIP_EXTRA_INDEX_URL"] = " ".join(extra_index_urls)
    if find_links:
        environ["PIP_FIND_LINKS"] = " ".join(find_links)
    if offline:
        environ["PIP_NO_INDEX"] = "1"
    return environ


def refuse_blanks(option: str, values: t.Iterable[t.Optional[str]]) -> None:
    """pip separates addresses in its variables by blanks, so that none may be in them. Raises OptionError."""
    for value in values:
        if value and re.search(r"[\s\x00-\x1f\x7f]", value):
            remedy = "Write a blank as %20 in an address; a directory needs a name without blanks."
            raise OptionError(option, redact(value), "there is a blank or a control character in it", remedy)


_NO_SPACE = "Free space or inodes (df -h {root}; df -i {root}), then run the same command again."

_FAILURES: tuple[tuple[str, str, str], ...] = (
    (r"No space left on device|Errno 28\b|Disk quota exceeded", "disk_full", _NO_SPACE),
    (
        r"DO NOT MATCH THE HASHES|Hashes are required",
        "hash_mismatch",
        "The index serves other files than those pinned: check the mirror, or compile the requirements anew.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "tls_error",
        CA_REMEDY,
    ),
    (
        r"invalid path: \S+|Could not find a suitable TLS CA certificate bundle",
        "tls_error",
        CA_REMEDY,
    ),
    (
        PROXY_WORDS,
        "proxy_refused",
        PROXY_REMEDY,
    ),
    (
        r"\b(401|403|407)\b[^\n]*(Error|Forbidden|Unauthorized|Authentication)|status code (401|403|407)",
        "unauthorized",
        "Give credentials in index_url, in pip.conf or in ~/.netrc on the host.",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ReadTimeoutError|Failed to establish|Max retries exceeded"
        r"|name resolution|Network is unreachable",
        "no_network",
        "Let the host reach its package index (index_url, proxies, pip.conf), or bring the wheels along: find_links and offline.",
    ),
    (
        r"No matching distribution|Could not find a version",
        "no_wheel",
        "The index has no such wheel for this Python and platform: name another index (index_url, find_links) or interpreter (python).",
    ),
)


def explain_failure(done: Completed, offline: bool, root: str) -> WorkerError:
    """The error for a pip (or venv) that failed, by its words; ``install_failed`` where they say nothing known."""
    text = done.stdout + "\n" + done.stderr
    code, remedy = "install_failed", "Look at its output above, then run the same command again."
    for pattern, found, words in _FAILURES:
        if re.search(pattern, text):
            code, remedy = found, words.format(root=root)
            break
    if offline and code in ("no_wheel", "no_network"):
        code, remedy = "offline", "Give a directory with the wheels in find_links (pip download --require-hashes -r FILE fills one), or set offline: false."
    words = tail(done.stderr, lines=6) or tail(done.stdout, lines=6) or "it wrote nothing"
    tried = f"This was {done.argv[done.argv.index('-m') + 1]}; it ended with {describe_exit(done.rc)}."
    return WorkerError(
        code,
        f"The toolchain was not made: {reason(words.splitlines())}\n{words}\n{tried}",
        remedy,
        rc=done.rc,
        stdout=tail(done.stdout),
        stderr=tail(done.stderr),
    )


def disk_full(root: str) -> WorkerError:
    """The error for a file system that is full."""
    return WorkerError("disk_full", "The toolchain was not made: no space left on the file system.", _NO_SPACE.format(root=root))
