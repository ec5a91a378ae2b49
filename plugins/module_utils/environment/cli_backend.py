# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The backends conda, mamba and micromamba: one ``create`` of a fresh prefix by a program of the host, judged by what then stands on disk."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import typing as t

from ..errors import WorkerError
from ..files import remove_tree
from ..progress import Progress
from ..run import clean_environment, quoted, run, tail
from . import cli_answers, cli_commands
from .backends import Backend, CreateRequest, Detected
from .cli_detection import bad_path, check_place, check_version, identify
from .leftovers import GROUP, end_builders
from .made_prefix import check_complete, check_hashes, check_locked_files, forget_credentials, packages_of, read_records
from .ownership import private_directory
from .package_cache import CLI_PACKAGES, lent, tidy, view_of
from .rattler_backend import RattlerBackend
from .stream import Stream, stream

LONGEST_PREFIX = 253
_VERSION_TIMEOUT = 60.0


class CliBackend:
    """See ``Backend``. name: conda, mamba, micromamba, or auto for whatever the program is. executable: a path, a bare name, or None."""

    def __init__(self, name: str, executable: t.Optional[str]) -> None:
        self.name = name
        self.executable = executable
        self.detected: t.Optional[Detected] = None
        self.instead: t.Optional[Backend] = None

    def detect(self) -> Detected:
        """Looks for the program and asks it what it is; with ``auto`` the library takes the place of a name that is nowhere, or too old."""
        path = check_place(self.name, self.executable, os.environ, str(pathlib.Path.home()), os.geteuid())
        is_path = self.executable is not None and "/" in self.executable
        if path is not None:
            try:
                self.detected = self._identified(path)
                return self.detected
            except WorkerError:
                if self.name != "auto" or is_path:
                    raise
        self.instead = RattlerBackend()
        return self.instead.detect()

    def _identified(self, path: str) -> Detected:
        # Without a home: a broken configuration of whoever runs the deploy must not be in the way.
        done = run([path, "--version"], clean_environment({"HOME": "/nonexistent", "CONDARC": os.devnull}), timeout=_VERSION_TIMEOUT)
        found = identify(done.stdout, path) or identify(done.stderr, path)
        if found is None:
            said = tail(done.stdout or done.stderr, 3) or "nothing"
            raise WorkerError(
                "backend_unavailable",
                f"{path} is neither conda, mamba nor micromamba: {quoted(done.argv)} said {said!r}.",
                "Name another program (executable), or set backend: rattler.",
                executable=path,
            )
        if self.name not in ("auto", found.name):
            raise bad_path(path, f"is {found.name} {found.version}, while backend is {self.name}")
        check_version(found)
        return found

    def create(self, request: CreateRequest, progress: Progress) -> list[dict[str, str]]:
        """See ``Backend``."""
        if self.instead is not None:
            return self.instead.create(request, progress)
        if len(request.prefix.encode()) > LONGEST_PREFIX:
            message = f"The prefix {request.prefix} has {len(request.prefix.encode())} bytes, and {LONGEST_PREFIX} are the most that programs can have in them."
            raise WorkerError("prefix_too_long", message, "Choose a shorter root, name or prefix.")
        check_locked_files(request.locked)
        detected = self.detected or self.detect()
        cache = f"{request.cache}-{detected.name}"
        try:
            return _Creation(detected, request, cache, progress).work()
        except WorkerError as error:
            if error.code == "hash_mismatch" and os.path.lexists(cache):
                # What was unpacked of it must not pass for the right one when the channel is in order again.
                remove_tree(cache)
            raise


class _Creation:
    """One ``create``. cache: the package cache of this tool alone; no other one can read its layout."""

    def __init__(self, detected: Detected, request: CreateRequest, cache: str, progress: Progress) -> None:
        self.detected = detected
        self.request = request
        self.cache = cache
        self.progress = progress
        self.work_directory = private_directory(os.path.join(request.scratch, f"cli-{detected.name}"), request.account)
        self.shell = os.path.join(request.scratch, "cli-shell")
        self.explicit = os.path.join(self.work_directory, "locked.txt") if request.locked else None

    def work(self) -> list[dict[str, str]]:
        self._write_shell()
        if self.explicit is not None:
            self._write(self.explicit, cli_commands.explicit_list(self.request.locked))
        if self.request.account is None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.cache, 0o700)
            try:
                linked = self._with_login(lambda: self._create(self.cache, self.request.prefix))
            finally:
                tidy(self.cache)
        else:
            linked = self._create_as_account(self.request.account)
        return self._judge(linked)

    def _create_as_account(self, account: tuple[int, int]) -> set[str]:
        """First fetch into the cache, which runs nothing that was downloaded; then link from a view of it, which may be lost."""
        view = os.path.join(self.request.scratch, "cli-packages")
        if self.explicit is not None:
            # Here conda would link at once, whatever it is told: what it fetches is this build's own.
            with lent(self.cache, account):
                pass
            view_of(self.cache, view, account)
            return self._with_login(lambda: self._create(view, self.request.prefix))
        with lent(self.cache, account):
            self._with_login(lambda: self._create(self.cache, os.path.join(self.work_directory, "unused"), download_only=True))
        view_of(self.cache, view, account)
        return self._create(view, self.request.prefix)

    def _with_login(self, step: t.Callable[[], set[str]]) -> set[str]:
        files = {os.path.join(self.work_directory, name): text for name, text in cli_commands.private_files(self.request).items()}
        for path, text in files.items():
            self._write(path, text)
        try:
            return step()
        finally:
            # Later steps run code of others with the scratch directory in reach. So may this one have, where a lock was linked at once:
            # what has become a link to elsewhere holds none of ours.
            for path in files:
                if os.path.basename(path) != cli_commands.CONDARC and _is_within(path, self.work_directory):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)

    def _create(self, cache: str, prefix: str, download_only: bool = False) -> set[str]:
        """Run the tool, and return the names that it says it linked. What it left running has ended, too."""
        request, name = self.request, self.detected.name
        argv = cli_commands.create_argv(name, self.detected.executable, request, prefix, self.explicit, download_only)
        packages = os.path.join(cache, CLI_PACKAGES)
        environ = cli_commands.environment(request, self.work_directory, packages, self.shell)
        what = f"{len(request.locked)} locked packages" if request.locked else f"solve {len(request.specs)} specs over {len(request.channels)} channels"
        self.progress(f"{'link' if request.account is not None and not download_only else what} with {name} {self.detected.version}")
        account = (*request.account, GROUP) if request.account is not None else None
        try:
            ended = stream(argv, "", environ, request.timeout, lambda line: None, account, self.work_directory)
        except WorkerError as error:
            error.details.setdefault("cmd", quoted(argv))
            raise
        finally:
            if request.account is not None:
                end_builders(request.account[0])
        self.ended, self.argv = ended, argv
        stdout = "\n".join(ended.lines)
        if ended.rc != 0:
            raise cli_answers.failure(argv, ended.rc, stdout, ended.stderr, request, self.cache, _is_indexed(packages))
        return cli_answers.linked_in(cli_answers.answer_in(stdout))

    def _judge(self, linked: set[str]) -> list[dict[str, str]]:
        """By what stands on disk: an exit status of 0 and an answer of success came with empty and with half prefixes, too."""
        ended: Stream = self.ended
        records = read_records(self.request.prefix)
        problem = check_complete(self.request, records, linked)
        if problem:
            stdout = "\n".join(ended.lines)
            said = cli_answers.words_of(cli_answers.answer_in(stdout)) or tail(ended.stderr, 5) or tail(stdout if not linked else "", 5)
            raise WorkerError(
                "create_failed",
                f"{self.detected.name} ended with status {ended.rc}, but {problem}" + (f": {said}" if said else "."),
                f"Run the same command again; if it stays, remove {self.cache}, or set backend: rattler.",
                **cli_answers.details(self.argv, ended.rc, stdout, ended.stderr, self.request),
            )
        check_hashes(records, self.request.channels)
        forget_credentials(self.request.prefix)
        return packages_of(records)

    def _write_shell(self) -> None:
        """Ours, for the account to run and not to change."""
        os.mkdir(self.shell, 0o755)
        path = os.path.join(self.shell, "bash")
        with open(path, "x", encoding="utf-8") as handle:
            handle.write(cli_commands.shell_script(shutil.which("bash") or "/bin/sh"))
            os.fchmod(handle.fileno(), 0o755)

    def _write(self, path: str, text: str) -> None:
        """A file that only the tool's account can read. Nobody else has been in its directory yet, and nothing that was downloaded has run."""
        for directory in _missing(os.path.dirname(path)):
            private_directory(directory, self.request.account)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as handle:
            handle.write(text)
            if self.request.account is not None:
                os.fchown(handle.fileno(), *self.request.account)


def _is_within(path: str, directory: str) -> bool:
    """Whether the path leads to an entry below the directory, links on the way resolved."""
    return f"{os.path.realpath(os.path.dirname(path))}/".startswith(f"{os.path.realpath(directory)}/")


def _missing(directory: str) -> list[str]:
    missing: list[str] = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    return missing[::-1]


def _is_indexed(packages: str) -> bool:
    """Whether any channel's index is in the package cache."""
    with contextlib.suppress(OSError):
        return any(name.endswith(".json") for name in os.listdir(os.path.join(packages, "cache")))
    return False
