# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the user names as the source to a directory on the controller: as it is, unpacked, or checked out."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import stat
import tarfile
import tempfile
import typing as t
import urllib.parse
import zipfile

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import split_address
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError, shown
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked, remove_tree
from ansible_collections.ew_ai.worker.plugins.module_utils.redact import redact
from ansible_collections.ew_ai.worker.plugins.module_utils.release.unpack import DAMAGED, Writer, safe_path, unpack_tar
from ansible_collections.ew_ai.worker.plugins.module_utils.run import check, run

GIT_TIMEOUT = 600.0
SOURCES = "Let source (worker_dir) name a directory, an archive, or git+<url>@<ref>."
_GIT_SCHEMES = ("https", "http", "ssh", "git", "file")
_GIT_VARIABLES_OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the worker directory is. trusted: its own links may lead to other places of the controller."""

    directory: str
    trusted: bool


@dataclasses.dataclass(frozen=True)
class GitSource:
    """``git+<url>@<ref>#subdirectory=<path>``; without a ref the remote's HEAD."""

    url: str
    ref: str
    subdirectory: str


def parse_git(source: str) -> GitSource:
    """The parts of a git source. Raises OptionError."""
    remedy = "Write it as git+https://host/path.git@ref, git+ssh://… or git+file:///…, with #subdirectory=path behind it if need be."
    address, _mark, fragment = source[len("git+") :].partition("#")
    match = re.fullmatch(r"(?P<scheme>[a-z]+)://(?P<authority>[^/]*)(?P<path>/.+)", address)
    if match is None or match["scheme"] not in _GIT_SCHEMES:
        raise OptionError("source", redact(source), f"it is no address with one of the schemes {', '.join(_GIT_SCHEMES)}", remedy)
    if split_address(address) is None:
        raise OptionError("source", redact(source), "its host is none", remedy)
    path, mark, ref = match["path"].rpartition("@")
    if not mark:
        path, ref = match["path"], "HEAD"
    name, _mark, subdirectory = fragment.partition("=")
    if not ref or ref.startswith("-") or (fragment and (name != "subdirectory" or ".." in subdirectory.split("/"))):
        raise OptionError("source", redact(source), "its ref or its subdirectory is none", remedy)
    return GitSource(f"{match['scheme']}://{match['authority']}{path}", ref, subdirectory.strip("/"))


def find_origin(source: str, scratch: str) -> Origin:
    """The worker directory of the source.

    Archives are unpacked and repositories checked out below ``scratch``, once a run: every host of a play gets the same.
    Raises WorkerError ``source_missing``, ``bad_archive``, ``git_failed``; OptionError.
    """
    if source.startswith("git+"):
        git = parse_git(source)
        top = _once(scratch, source, lambda place: _check_out(git, place))
        return Origin(_below(top, git.subdirectory, source), trusted=False)
    path = os.path.abspath(os.path.expanduser(source))
    if os.path.isdir(path):
        return Origin(path, trusted=True)
    if not os.path.exists(path):
        raise WorkerError("source_missing", f"The worker directory {shown(path)} does not exist.", SOURCES)
    status = os.stat(path)
    top = _once(scratch, f"{path}\0{status.st_size}\0{status.st_mtime_ns}", lambda place: _unpack(path, place))
    return Origin(_single_directory(top), trusted=False)


def _below(top: str, subdirectory: str, source: str) -> str:
    """A link in the repository must not lead to a directory of this controller."""
    path = os.path.join(top, subdirectory) if subdirectory else top
    real = os.path.realpath(path)
    if not f"{real}/".startswith(f"{os.path.realpath(top)}/"):
        raise OptionError("source", redact(source), f"in the repository {subdirectory} is a link that leads out of it", "Name the directory itself.")
    return path


def _once(scratch: str, key: str, make: t.Callable[[str], None]) -> str:
    """The directory that ``make`` filled, in this process or in another one that shares the scratch directory."""
    place = os.path.join(scratch, "source-" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16])
    with locked(f"{place}.lock", 2 * GIT_TIMEOUT, "the source is being fetched or unpacked"):
        if not os.path.isdir(place):
            staging = tempfile.mkdtemp(prefix=f"{os.path.basename(place)}-", dir=scratch)
            try:
                make(staging)
                os.rename(staging, place)
            except BaseException:
                with contextlib.suppress(OSError):
                    remove_tree(staging)
                raise
    return place


def _single_directory(top: str) -> str:
    """Archives are often made of a directory: then that one, unless it is the package itself."""
    names = os.listdir(top)
    inner = os.path.join(top, names[0]) if len(names) == 1 else ""
    return inner if inner and names != ["worker"] and os.path.isdir(inner) and not os.path.islink(inner) else top


def _unpack(path: str, place: str) -> None:
    if not os.path.isfile(path):
        raise WorkerError("source_missing", f"{path} is neither a directory nor an archive.", SOURCES)
    if zipfile.is_zipfile(path):
        _unpack_zip(path, place)
    elif _is_tar(path):
        unpack_tar(path, place, "r|*")
    else:
        raise WorkerError("bad_archive", f"{path} is neither a zip nor a tar archive (plain, gzip, bzip2 or xz).", SOURCES)


def _is_tar(path: str) -> bool:
    """One that breaks off while it is looked at is one, too: unpacking tells what is wrong."""
    try:
        return tarfile.is_tarfile(path)
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return True


def _unpack_zip(path: str, place: str) -> None:
    writer = Writer(place)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _unpack_zip_member(archive, member, writer)
        writer.finish()
    except (*DAMAGED, RuntimeError, NotImplementedError) as error:
        # RuntimeError: encrypted; NotImplementedError: a compression that this Python lacks
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise WorkerError("bad_archive", f"{path} cannot be unpacked: {error}.", "Make the archive again, without encryption.") from None


def _unpack_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, writer: Writer) -> None:
    mode = member.external_attr >> 16
    path = safe_path(member.filename)
    if member.is_dir():
        writer.directory(path)
    elif stat.S_ISLNK(mode):
        writer.link(path, os.fsdecode(archive.read(member)))
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise WorkerError("bad_archive", f"The archive holds {member.filename!r}, a device or a named pipe.", "Make the archive again.")
    else:
        with archive.open(member) as content:
            writer.file(path, content, bool(mode & stat.S_IXUSR))


def _check_out(git: GitSource, place: str) -> None:
    """A shallow fetch of the ref; a server that does not give single commits is asked for everything."""
    environ = {name: value for name, value in os.environ.items() if name not in _GIT_VARIABLES_OF_ANOTHER_REPOSITORY}
    address, helpers, login = _login(git.url)
    environ.update(GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8", **login)
    environ.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    remedy = f"Correct source (worker_dir), or try it by hand: git ls-remote {redact(git.url)} {git.ref}"

    def call(*words: str) -> bool:
        settings = ["core.hooksPath=/dev/null", "advice.detachedHead=false", *helpers]
        done = run(["git", "-C", place, *(word for each in settings for word in ("-c", each)), *words], environ, timeout=GIT_TIMEOUT)
        return bool(check(done, "git_failed", remedy))

    call("init", "--quiet")
    try:
        call("fetch", "--quiet", "--depth=1", "--", address, git.ref)
        call("checkout", "--quiet", "--detach", "FETCH_HEAD")
    except WorkerError as error:
        if error.code != "git_failed" or not re.fullmatch(r"[0-9a-f]{7,40}", git.ref):
            raise
        call("fetch", "--quiet", "--tags", "--", address, "+refs/heads/*:refs/remotes/origin/*")
        call("checkout", "--quiet", "--detach", git.ref)


def _login(url: str) -> tuple[str, list[str], dict[str, str]]:
    """(the address without its credentials, settings for git, variables with the credentials).

    Command lines can be read by every account of the controller, and the repository that git makes remembers its address.
    """
    parts = urllib.parse.urlsplit(url)
    authority, mark, host = parts.netloc.rpartition("@")
    if not mark or parts.scheme not in ("http", "https"):
        return url, [], {}
    user, has_password, password = (urllib.parse.unquote(each) for each in authority.partition(":"))
    variables = {"EW_GIT_USERNAME": user}
    say = ' && printf "username=%s\\n" "$EW_GIT_USERNAME"'
    if has_password:
        variables["EW_GIT_PASSWORD"] = password
        say += ' && printf "password=%s\\n" "$EW_GIT_PASSWORD"'
    # Only for that very host: git asks others when it is sent on to them. A password of the address goes before what is kept elsewhere.
    key = f"credential.{parts.scheme}://{host}.helper"
    helpers = [*([f"{key}="] if has_password else []), f'{key}=!f() {{ test "$1" = get{say}; }}; f']
    return urllib.parse.urlunsplit(parts._replace(netloc=host)), helpers, variables
