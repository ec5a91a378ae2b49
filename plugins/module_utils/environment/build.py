# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Building one environment, step by step, at its final path: complete at the end, or gone."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import pathlib
import shutil
import stat
import typing as t

from ..boundaries import boundary
from ..errors import WorkerError
from ..files import locked, remove_tree, write_json, write_text
from ..progress import Progress
from ..run import Completed, check, clean_environment, run
from .activation import ACTIVATE, base_activation, declared_variables, evaluated, has_scripts
from .backends import Backend, CreateRequest, Detected, make_backend
from .content import Content
from .indexes import Indexes, without_missing
from .installers import Installer, check_fit, choose_installer, failure, problems
from .leftovers import GROUP, as_build_user, end_builders, end_orphans
from .locked import LockedPackage
from .ownership import build_identity, give, own_directory, private_directory, refuse_detours, take_back
from .package_cache import CONDA, UV, lent, reclaim, view_of
from .place import Place, building_mark
from .record import Listing, list_prefix, pip_packages, python_directory, write_record
from .sources import Sources, write_sources
from .specs import without_channel
from .wheels import fetch_wheels

# A Python without these cannot install or serve anything.
PROBE = "import ctypes, hashlib, ssl, zlib, sys; print('.'.join(map(str, sys.version_info[:3])))"
FROZEN = {"message": "This environment is complete and never changed: deploy again to build the next one."}


@dataclasses.dataclass(frozen=True)
class Means:
    """How to build, as against what: nothing in here goes into the fingerprint. Times in seconds.

    mirror: a directory with a channel that stands in for all others, or empty.
    """

    backend: str
    indexes: Indexes
    build_user: t.Optional[str]
    offline: bool
    lock_timeout: float
    timeout: float
    executable: t.Optional[str] = None
    mirror: str = ""


def build(place: Place, content: Content, fingerprint: str, path: str, number: int, means: Means, progress: Progress, clear: t.Sequence[str] = ()) -> None:
    """Build the environment at ``path``, which must not exist or be empty; the caller holds the environment's lock.

    clear: what killed builds left, which goes first. Raises WorkerError; then nothing is left at ``path``.
    """
    identity = build_identity(means.build_user)
    backend = make_backend(means.backend, means.executable)
    detected = backend.detect()
    chosen = choose_installer(content.installer)
    _check_installer(content, chosen[0])
    with contextlib.nullcontext() if identity is None else as_build_user(identity[0], means.lock_timeout, progress):
        for each in clear:
            progress(f"remove what a killed run left at {each}")
            end_orphans(place.scratch(each))
            remove_prefix(each)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_json(building_mark(path), {"fingerprint": fingerprint, "build": number, "pid": os.getpid()})
            boundary("environment.marked")
            with _scratch(place, path, identity) as scratch:
                _Build(place, content, path, means, identity, scratch, progress).work(backend, detected, chosen, fingerprint, number)
            os.unlink(building_mark(path))
            boundary("environment.finished")
        except BaseException as error:
            # The mark stays where even that fails, and the next run removes the rest.
            with contextlib.suppress(OSError):
                remove_prefix(path)
            if isinstance(error, OSError):
                raise _translated(error) from None
            if isinstance(error, RecursionError):
                raise WorkerError("build_failed", "Directories are nested too deep.", "Find the local package that has them, and leave it out.") from None
            raise


def _check_installer(content: Content, installer: str) -> None:
    """A lock leaves no room for a pip that it does not name. Raises WorkerError ``installer_unavailable``."""
    if content.locked and content.wants_pip and installer == "pip" and "pip" not in {package.name for package in content.locked}:
        remedy = "Lock pip, too, or let the task run on the toolchain's interpreter, which has uv (installer: auto)."
        raise WorkerError("installer_unavailable", "The lock has no pip, and the interpreter that runs this module has no uv.", remedy)


def in_mirror(package: LockedPackage, mirror: str) -> LockedPackage:
    """The same file, with the same hashes, in the mirror."""
    return dataclasses.replace(package, url=f"{pathlib.Path(mirror).as_uri()}/{package.subdir}/{package.file}")


def remove_prefix(path: str) -> None:
    """Remove a prefix of ours so that a kill on the way leaves it recognisable as ours and not complete."""
    if not os.path.lexists(building_mark(path)):
        write_json(building_mark(path), {})
    boundary("environment.removal.marked")
    if os.path.lexists(path):
        remove_tree(path)
    boundary("environment.removal.emptied")
    os.unlink(building_mark(path))


class _Build:
    def __init__(
        self, place: Place, content: Content, path: str, means: Means, identity: t.Optional[tuple[int, int]], scratch: str, progress: Progress
    ) -> None:
        self.place = place
        self.content = content
        self.path = path
        self.means = means
        self.identity = identity
        self.user = means.build_user if identity is not None else None
        self.scratch = scratch
        self.progress = progress
        self.python = os.path.join(path, "bin", "python")

    def work(self, backend: Backend, detected: Detected, chosen: tuple[str, str], fingerprint: str, number: int) -> None:
        sources = self._write_sources()
        self._make_prefix()
        boundary("environment.prefix.made")
        conda = self._create(backend, tuple(self.content.conda_specs(chosen[0])))
        boundary("environment.linked")
        library = python_directory(list_prefix(self.path, None).conda)
        site_packages = f"{library}/site-packages" if library is not None else None
        before = list_prefix(self.path, site_packages)
        cache = self._installer_cache(chosen, sources, conda, before) if self.content.wants_pip else ""
        # From here on downloaded code runs, and no cache is open to it.
        self._post_link(conda)
        if self.content.wants_pip:
            self._install(chosen, sources, cache)
            boundary("environment.installed")
        version = self._verify_python() if library is not None else None
        if library is not None:
            self._compile(library)
            boundary("environment.compiled")
        if self.identity is not None:
            self.progress("hand over to root")
            # One that still has a file open could change it for ever.
            end_builders(self.identity[0])
            take_back(self.path, self.identity[0])
            boundary("environment.handed_over")
        refuse_detours(self.path)
        activation = self._activation()
        self._freeze()
        boundary("environment.frozen")
        after = list_prefix(self.path, site_packages)
        write_record(
            self.path,
            {
                "fingerprint": fingerprint,
                "build": number,
                "name": self.place.name,
                "created_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
                "backend": dataclasses.asdict(detected),
                "installer": chosen[0] if self.content.wants_pip else None,
                "python": self.python if library is not None else None,
                "python_version": version,
                "site_packages": site_packages,
                "packages": {"conda": conda, "pip": pip_packages(before.pip, after.pip)},
                "activation": activation,
                "listing": dataclasses.asdict(after),
            },
        )
        boundary("environment.recorded")

    def _write_sources(self) -> Sources:
        """Now, while nobody else can put anything into that directory."""
        directory = os.path.join(self.scratch, "sources")
        os.mkdir(directory, 0o700)
        sources = write_sources(self.content, directory, os.environ)
        if self.identity is not None:
            give(directory, self.identity)
        return sources

    def _make_prefix(self) -> None:
        """Empty, and with an account to build as, that account's: whatever packages want to be put where, root does not do it."""
        os.makedirs(self.path, exist_ok=True)
        if self.identity is not None:
            os.chown(self.path, *self.identity, follow_symlinks=False)

    def _create(self, backend: Backend, specs: tuple[str, ...]) -> list[dict[str, str]]:
        cache = os.path.join(self.place.cache, CONDA)
        os.makedirs(self.place.cache, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(cache, 0o700)
        request = CreateRequest(
            prefix=self.path,
            specs=tuple(map(without_channel, specs)) if self.means.mirror else specs,
            channels=(f"file://{self.means.mirror}",) if self.means.mirror else self.content.channels,
            platform=self.content.platform,
            cache=cache,
            scratch=self.scratch,
            offline=self.means.offline,
            timeout=self.means.timeout,
            account=self.identity,
            locked=tuple(in_mirror(package, self.means.mirror) for package in self.content.locked) if self.means.mirror else self.content.locked,
        )
        # Two creates over one cold cache corrupt each other's packages.
        with self._caches():
            if self.identity is not None:
                # A killed run may have left it lent.
                reclaim(os.path.join(self.place.cache, UV), self.identity[0])
            try:
                return backend.create(request, self.progress)
            except WorkerError as error:
                # A tool that cannot write may stumble over what it could not write, and tell of that.
                if error.code == "create_failed" and _is_full(self.path):
                    raise _translated(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)) from None
                raise

    def _caches(self) -> t.ContextManager[None]:
        return locked(self.place.cache_lock, self.means.lock_timeout, "the package cache")

    def _installer_cache(self, chosen: tuple[str, str], sources: Sources, conda: t.Sequence[t.Mapping[str, str]], before: Listing) -> str:
        """The cache that the installer may use while downloaded code runs, which can change all that the build user can.

        So with a build user it is this build's own. What uv fetches itself, without building anything, is kept for later builds.
        """
        name = chosen[0]
        if self.identity is None:
            return own_directory(os.path.join(self.place.cache, name))
        if name != "uv":
            return private_directory(os.path.join(self.scratch, name), self.identity)
        shared = os.path.join(self.place.cache, UV)
        with self._caches():
            if not self.means.offline:
                self._fetch_wheels(chosen, shared, sources, conda, before)
            return view_of(shared, os.path.join(self.scratch, name), self.identity)

    def _fetch_wheels(self, chosen: tuple[str, str], shared: str, sources: Sources, conda: t.Sequence[t.Mapping[str, str]], before: Listing) -> None:
        identity = t.cast("tuple[int, int]", self.identity)
        version = next((package["version"] for package in conda if package["name"] == "python"), "")
        installed = [package["name"] for package in pip_packages((), before.pip)]
        self.progress("fetch the wheels")
        private_directory(os.path.join(self.scratch, "wheels"), identity)
        with lent(shared, identity):
            try:
                fetch_wheels(self._run_tool, self._installer(chosen, shared), sources, version, installed, self.scratch)
            finally:
                end_builders(identity[0])

    def _post_link(self, conda: t.Sequence[t.Mapping[str, str]]) -> None:
        for package in conda:
            script = os.path.join(self.path, "bin", f".{package['name']}-post-link.sh")
            if not os.path.exists(script):
                continue
            self.progress(f"post-link {package['name']}")
            number = package["build"].rsplit("_", 1)[-1]
            variables = {"PREFIX": self.path, "PKG_NAME": package["name"], "PKG_VERSION": package["version"], "PKG_BUILDNUM": number}
            remedy = f"A script of the package {package['name']} failed: leave the package out, or pin another build."
            check(self._run(["/bin/sh", script], variables), "build_failed", remedy)

    def _installer(self, chosen: tuple[str, str], cache: str) -> Installer:
        name, program = chosen
        return Installer(name, program, self.python, cache, self.means.offline, without_missing(self.means.indexes))

    def _install(self, chosen: tuple[str, str], sources: Sources, cache: str) -> None:
        self.progress(f"install the requirements with {chosen[0]}")
        installer = self._installer(chosen, cache)
        # conda's own packages may lack what these checks want to see: only what the requirements add counts.
        before = problems(self._run(installer.verify(), installer.variables()))
        done = self._run(installer.install(sources.requirements, sources.constraints), installer.variables())
        if done.rc != 0:
            raise failure(done, "Installing the requirements")
        check_fit(before, self._run(installer.verify(), installer.variables()))
        self.progress("the installed packages fit together")

    def _verify_python(self) -> str:
        self.progress("verify python")
        done = check(self._run([self.python, "-I", "-c", PROBE], {}), "verify_failed", "The channel's Python does not work on this host: see its last lines.")
        return done.stdout.strip()

    def _compile(self, library: str) -> None:
        self.progress("compile bytecode")
        # Its status is 1 for any file that is not for this Python (test data, templates): only a missing result would matter.
        self._run([self.python, "-I", "-m", "compileall", "-q", "-j", "0", os.path.join(self.path, library)], {})

    def _activation(self) -> dict[str, str]:
        state = os.path.join(self.path, "conda-meta", "state")
        if self.content.variables:
            write_json(state, {"env_vars": dict(self.content.variables)})
        base = {**declared_variables(self.path), **base_activation(self.path, self.place.name)}
        if not has_scripts(self.path):
            return base
        self.progress("evaluate activate.d")
        shell = shutil.which("bash") or "/bin/sh"
        start = {**clean_environment(), **self._own_variables(), **base, "CONDA_SHLVL": "1"}
        done = self._run_plainly([shell, "-c", ACTIVATE, self.path], start)
        check(done, "build_failed", "A package's activation script failed: leave the package out, or pin another build.")
        return {**base, **evaluated(start, done.stdout)}

    def _freeze(self) -> None:
        """Set modes that rattler chooses by itself (records for their owner alone, commands for their group), and the mark."""
        meta = os.path.join(self.path, "conda-meta")
        for directory in (meta, os.path.join(self.path, "bin")):
            for name in os.listdir(directory) if os.path.isdir(directory) else ():
                path = os.path.join(directory, name)
                status = os.lstat(path)
                # One with a second name is the package cache's, too; with a build user none is.
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                    os.chmod(path, 0o755 if status.st_mode & stat.S_IXUSR else 0o644)
        write_text(os.path.join(meta, "frozen"), json.dumps(FROZEN) + "\n")

    def _own_variables(self) -> dict[str, str]:
        return {"HOME": os.path.join(self.scratch, "home"), "TMPDIR": os.path.join(self.scratch, "tmp")}

    def _run(self, argv: t.Sequence[str], variables: t.Mapping[str, str]) -> Completed:
        return self._run_tool(argv, {**base_activation(self.path, self.place.name), **variables})

    def _run_tool(self, argv: t.Sequence[str], variables: t.Mapping[str, str]) -> Completed:
        """With no program of the environment in reach."""
        return self._run_plainly(argv, clean_environment({**self._own_variables(), **variables}))

    def _run_plainly(self, argv: t.Sequence[str], environ: t.Mapping[str, str]) -> Completed:
        home = os.path.join(self.scratch, "home")
        return run(argv, environ, cwd=home, timeout=self.means.timeout, user=self.user, groups=(GROUP,) if self.user is not None else ())


@contextlib.contextmanager
def _scratch(place: Place, path: str, identity: t.Optional[tuple[int, int]]) -> t.Iterator[str]:
    """A directory on the cache's disk: builds of big packages do not fit into a small /tmp. What a killed run left goes first.

    It is ours, and what the build user may write are directories in it. At the end none of its processes is left.
    """
    scratch = place.scratch(path)
    os.makedirs(os.path.dirname(scratch), exist_ok=True)
    if os.path.lexists(scratch):
        remove_tree(scratch)
    os.mkdir(scratch, 0o755 if identity is not None else 0o700)
    for name in ("home", "tmp"):
        private_directory(os.path.join(scratch, name), identity)
    try:
        yield scratch
    finally:
        if identity is not None:
            end_builders(identity[0])
        with contextlib.suppress(OSError):
            remove_tree(scratch)


def _is_full(path: str) -> bool:
    """Whether the file system has neither room nor inodes for another file."""
    status = os.statvfs(path)
    return status.f_bavail == 0 or (status.f_files > 0 and status.f_favail == 0)


def _translated(error: OSError) -> WorkerError:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkerError("disk_full", f"There is no space left{where}.", "Free space or inodes (df -h; df -i), then run the same command again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        first = "The file system is read-only: remount it" if error.errno == errno.EROFS else "Run it with the rights it needs (become: true)"
        remedy = f"{first}, or choose another root."
        return WorkerError("not_writable", f"The operating system refused: {error.strerror}{where}.", remedy)
    return WorkerError("os_error", f"The operating system refused: {error.strerror}{where}.", "Look at that path.")
