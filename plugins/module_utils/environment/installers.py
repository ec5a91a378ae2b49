# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""uv and pip: their command lines, their variables, and what their failures mean. Pure, but for ``find_uv``."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import typing as t

from ..errors import WorkerError
from ..network import CA_REMEDY, PROXY_REMEDY, PROXY_WORDS
from ..run import Completed, quoted, reason, tail
from .indexes import Indexes, pip_variables, uv_variables
from .specs import strip_credentials


@dataclasses.dataclass(frozen=True)
class Installer:
    """name is uv or pip; program is uv's binary, or the environment's Python for pip."""

    name: str
    program: str
    python: str
    cache: str
    offline: bool
    indexes: Indexes

    def install(self, requirements: t.Sequence[str], constraints: t.Sequence[str]) -> list[str]:
        """The command that installs these files. It only ever adds: syncing would remove conda's own packages."""
        files = [word for path in requirements for word in ("-r", path)] + [word for path in constraints for word in ("-c", path)]
        no_index = ["--no-index"] if self.indexes.no_index else []
        if self.name == "uv":
            return [*self._uv("install"), "--output-format", "json", *no_index, *files]
        return [self.python, "-I", "-m", "pip", "install", *files]

    def fetch(self, python: str, version: str, target: str, requirements: t.Sequence[str], constraints: t.Sequence[str], excludes: str) -> list[str]:
        """uv's command that fetches wheels for Python ``version`` and builds nothing; ``target`` gets links to them. excludes: a file of names."""
        files = [word for path in requirements for word in ("-r", path)] + [word for path in constraints for word in ("-c", path)]
        words = ["--python-version", version, "--target", target, "--no-build", "--link-mode", "symlink", "--excludes", excludes]
        no_index = ["--no-index"] if self.indexes.no_index else []
        return [self.program, "pip", "install", "--no-config", "--color", "never", "--python", python, *words, *no_index, *files]

    def verify(self) -> list[str]:
        """The command that finds packages which do not fit together."""
        return self._uv("check") if self.name == "uv" else [self.python, "-I", "-m", "pip", "check"]

    def variables(self) -> dict[str, str]:
        """What the command needs beside a clean environment; this is where credentials are."""
        if self.name == "uv":
            return {
                **uv_variables(self.indexes, self.offline),
                "UV_CACHE_DIR": self.cache,
                "UV_LINK_MODE": "copy",
                "UV_NO_PROGRESS": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "UV_BREAK_SYSTEM_PACKAGES": "1",
            }
        return {
            **pip_variables(self.indexes, self.offline),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_CACHE_DIR": self.cache,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_WARN_SCRIPT_LOCATION": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "PIP_PROGRESS_BAR": "off",
            "PIP_BREAK_SYSTEM_PACKAGES": "1",
        }

    def _uv(self, verb: str) -> list[str]:
        return [self.program, "pip", verb, "--no-config", "--color", "never", "--python", self.python]


def choose_installer(wanted: str) -> tuple[str, str]:
    """(uv or pip, uv's binary or nothing) for the option. Raises WorkerError ``installer_unavailable``."""
    program = find_uv() if wanted in ("auto", "uv") else None
    if program is not None:
        return "uv", program
    if wanted == "uv":
        raise WorkerError(
            "installer_unavailable",
            "Option 'installer' is 'uv', but the interpreter that runs this module has no uv.",
            "Let the task run on the toolchain's interpreter, or set installer: pip.",
        )
    return "pip", ""


def find_uv() -> t.Optional[str]:
    """The binary of the uv that is installed beside the running interpreter's libraries; no other one is trusted."""
    if importlib.util.find_spec("uv") is None:
        return None
    import uv  # type: ignore[import-not-found,unused-ignore]

    try:
        return str(uv.find_uv_bin())
    except FileNotFoundError:
        return None


# (code, remedy, what pip or uv say then); the first that fits.
_ROWS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "disk_full",
        "Free space or inodes below the prefix and the cache (df -h; df -i).",
        ("No space left on device", r"os error 28\b", "Disk quota exceeded", r"os error 122\b"),
    ),
    (
        "hash_mismatch",
        "Correct the hashes in the requirement file (worker_requirements_file), or find out who changed the package.",
        ("Hash mismatch", "DO NOT MATCH THE HASHES", "--require-hashes"),
    ),
    ("index_unreachable", PROXY_REMEDY, (PROXY_WORDS,)),
    ("index_unreachable", f"{CA_REMEDY} Or set cert in pip.conf on the host.", ("CERTIFICATE_VERIFY_FAILED", "invalid peer certificate", "UnknownIssuer")),
    (
        "index_unreachable",
        "See whether this host reaches the index (curl -I INDEX), set index_url (worker_index_url) to a mirror, or configure pip on the host (pip.conf).",
        (
            *("network was disabled", "error sending request", "dns error", "tcp connect error", "client error", "status client error", "status server error"),
            *("Failed to establish a new connection", "NewConnectionError", "NameResolutionError", "Could not fetch URL", "ReadTimeout", "Connection refused"),
            *("timed out", "40[137] Client Error", r"50\d Server Error"),
        ),
    ),
    (
        "pip_conflict",
        "Correct the requirement files or constraints (worker_requirements_file, worker_pip, worker_constraints).",
        (
            *("No solution found", "ResolutionImpossible", "conflicting dependencies", "No matching distribution", "Could not find a version"),
            *("incompatibilit", "requires .* but you have", "which is not installed"),
        ),
    ),
    (
        "build_failed",
        "Read the build tool's words; install what it misses as a conda package, or pin a version that has a wheel.",
        ("build backend returned", "Failed to build", "failed-wheel-build", "metadata-generation-failed", "subprocess-exited-with-error", "build_wheel"),
    ),
    (
        "not_writable",
        "See that the build user can read the requirement files and their local packages.",
        ("Permission denied", r"os error 13\b"),
    ),
)
_OTHER = ("install_failed", "Read the last lines, correct the requirements, run again.")


def classify(text: str) -> tuple[str, str]:
    """(code, remedy) for what a failed installer wrote."""
    return next(((code, remedy) for code, remedy, patterns in _ROWS if re.search("|".join(patterns), text)), _OTHER)


def without_wheel(text: str) -> set[str]:
    """The packages that uv would have to build, from what it writes where it must not."""
    found = re.findall(r"Wheels are required for `([^`]+)` because|attempted to build `([^`]+)`", text)
    return {name for pair in found for name in pair if name}


def problems(completed: Completed) -> set[str]:
    """The packages that do not fit together, one line each, as ``uv pip check`` or ``pip check`` writes them."""
    lines = (line.strip() for line in f"{completed.stdout}\n{completed.stderr}".splitlines()) if completed.rc != 0 else ()
    return {line for line in lines if line and not re.match(r"Using Python|Checked \d|Found \d|WARNING|\[notice\]", line)}


def check_fit(before: set[str], completed: Completed) -> None:
    """Raise WorkerError ``pip_conflict`` for problems that were not there before."""
    found = sorted(problems(completed) - before)
    if found:
        raise WorkerError(
            "pip_conflict",
            f"The installed packages do not fit together: {strip_credentials('; '.join(found))}",
            "Correct the requirement files or constraints (worker_requirements_file, worker_pip, worker_constraints).",
            cmd=quoted(completed.argv),
            problems=found,
        )


def failure(completed: Completed, step: str) -> WorkerError:
    """The error for an installer's command that ended with another status than 0: its reason, then all that it wrote, then the command."""
    code, remedy = classify(f"{completed.stdout}\n{completed.stderr}")
    words = strip_credentials(tail(completed.stderr, 12) or tail(completed.stdout, 12)) or "it wrote nothing"
    lines = [line for line in words.splitlines() if line.strip() and not line.startswith("Using Python ")] or [words]
    told = [] if lines == [reason(lines)] else lines
    return WorkerError(
        code,
        "\n".join([f"{step} failed: {reason(lines)}", *told, f"This was {quoted(completed.argv)}; its status was {completed.rc}."]),
        remedy,
        cmd=quoted(completed.argv),
        rc=completed.rc,
        stdout=strip_credentials(tail(completed.stdout)),
        stderr=strip_credentials(tail(completed.stderr)),
    )
