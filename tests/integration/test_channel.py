# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The channel tool for real: packed from this machine's interpreters, installed by py-rattler, used by uv and pip."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.figures import tell
from tools.channel import interpreter
from tools.channel.errors import ChannelError

pytestmark = pytest.mark.xdist_group("channel")

CHECKOUT = Path(__file__).parents[2]
DISTRIBUTION = Path("/usr/bin/python3")
LARGEST_PYTHON = 40_000_000
"""Bytes, compressed."""

# In a process of its own that leaves by os._exit: py-rattler crashes now and then at the end of a short run.
INSTALL = """
import asyncio, os, sys
from rattler import VirtualPackage, install, solve
from rattler.platform import Subdir
channel, prefix, cache, *specs = sys.argv[1:]

async def run():
    platforms = [Subdir.current(), Subdir("noarch")]
    records = await solve([channel], specs, platforms=platforms, virtual_packages=VirtualPackage.detect())
    await install(records, prefix, cache_dir=cache, show_progress=False, execute_link_scripts=True)
    return [f"{record.name.normalized} {record.version}" for record in records]

try:
    print("\\n".join(sorted(asyncio.run(run()))), flush=True)
except Exception as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(1)
os._exit(0)
"""

FACTS = """
import bz2, ctypes, hashlib, json, lzma, sqlite3, ssl, sys, sysconfig, uuid, zlib
maps = {line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if len(line.split(None, 5)) == 6}
print(json.dumps({
    "version": sys.version.split()[0], "prefix": sys.prefix, "path": sys.path, "paths": sysconfig.get_paths(),
    "vars": sysconfig.get_config_vars("prefix", "INCLUDEPY", "LIBDIR", "LIBDEST", "BINDIR"),
    "shared": [path for path in maps if ".so" in path and path.startswith("/")],
}))
"""


@dataclass(frozen=True)
class Packed:
    """The channel that this module's tests install from."""

    report: dict[str, Any]
    path: Path
    versions: dict[str, str]
    """``own`` and, where there is one that can be packed, ``distribution``: the versions."""


def tool(*arguments: str, status: int = 0, **environment: str) -> tuple[dict[str, Any], str]:
    """Run the tool as a user does; its JSON and its lines for people."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.channel", *arguments],
        cwd=CHECKOUT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout or "{}"), done.stderr


def distribution() -> str | None:
    """The version of the distribution's own interpreter, if it can be packed beside the one that runs the tests."""
    own = interpreter.find(None)
    try:
        other = interpreter.find(str(DISTRIBUTION))
    except ChannelError:
        return None
    return None if other.executable == own.executable or other.version == own.version else other.version


def pack_arguments(versions: dict[str, str]) -> list[str]:
    return ["--test-packages", *(["--also", str(DISTRIBUTION)] if "distribution" in versions else [])]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    versions = {"own": interpreter.find(None).version}
    other = distribution()
    if other:
        versions["distribution"] = other
    path = tmp_path_factory.mktemp("channel") / "c"
    report, said = tool("pack", "--output", str(path), *pack_arguments(versions))
    print(said)
    return Packed(report, path, versions)


def install(channel: str, prefix: Path, *specs: str, cache: Path, status: int = 0) -> str:
    argv = [sys.executable, "-c", INSTALL, channel, str(prefix), str(cache), *specs]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def out(*argv: str | Path, **environment: str) -> str:
    done = subprocess.run([str(part) for part in argv], env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module", params=["own", "distribution"])
def prefix(request: pytest.FixtureRequest, packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param not in packed.versions:
        pytest.skip(f"{DISTRIBUTION} is missing, cannot be packed, or is the interpreter that runs these tests")
    root = tmp_path_factory.mktemp(request.param)
    # Longer than a shebang line may be on older kernels, as far as a real root can be.
    target = root / "opt" / "ew_ai_worker" / "envs" / "x-0123456789ab-1"
    spec = f"python =={packed.versions[request.param]}"
    install(packed.report["channel"], target, spec, "pip", "setuptools", "wheel", "ew-tool", cache=root / "cache")
    return target


def test_the_packages_are_small_and_the_report_says_what_they_are(packed: Packed) -> None:
    tell("packages of a channel (bytes): " + ", ".join(f"{one['name']} {one['size']}" for one in packed.report["packages"]))
    assert packed.report["packed"] is True
    assert packed.report["python_versions"] == list(packed.versions.values())
    assert packed.report["missing"] == {}
    pythons = [one for one in packed.report["packages"] if one["name"] == "python"]
    assert [one["version"] for one in pythons] == list(packed.versions.values())
    assert max(one["size"] for one in pythons) < LARGEST_PYTHON
    assert sorted(path.name for path in packed.path.iterdir() if not path.name.startswith(".")) == sorted({"noarch", interpreter.find(None).subdir})


def test_nothing_new_is_packed_a_second_time(packed: Packed) -> None:
    before = {path: path.stat().st_mtime_ns for path in packed.path.rglob("*")}
    again, said = tool("pack", "--output", str(packed.path), *pack_arguments(packed.versions))
    assert (again["packed"], again["packages"]) == (False, packed.report["packages"])
    assert "nothing new" in said
    tell(f"packing a channel: {packed.report['seconds']} s, again with nothing new: {again['seconds']} s")
    assert {path: path.stat().st_mtime_ns for path in packed.path.rglob("*")} == before


def test_the_same_interpreters_make_the_same_packages(packed: Packed, tmp_path: Path) -> None:
    again, _said = tool("pack", "--output", str(tmp_path / "elsewhere"), *pack_arguments(packed.versions))
    assert again["packed"] is True
    assert again["packages"] == packed.report["packages"]


def test_the_installed_interpreter_lives_in_its_prefix_alone(prefix: Path) -> None:
    facts = json.loads(out(prefix / "bin" / "python", "-I", "-c", FACTS))
    minor = ".".join(facts["version"].split(".")[:2])
    home = str(prefix)
    library = f"{home}/lib/python{minor}"
    assert facts["prefix"] == home
    assert facts["paths"]["purelib"] == facts["paths"]["platlib"] == f"{library}/site-packages"
    assert facts["paths"]["stdlib"] == library
    assert facts["paths"]["scripts"] == f"{home}/bin"
    assert facts["vars"] == [home, f"{home}/include/python{minor}", f"{home}/lib", library, f"{home}/bin"]
    assert [path for path in facts["path"] if not path.startswith(f"{home}/lib/python")] == []
    allowed = ("libc.so", "libm.so", "ld-linux", "libpthread.so", "libdl.so", "librt.so", "libutil.so")
    outside = [path for path in facts["shared"] if not path.startswith(f"{home}/")]
    assert [path for path in outside if not os.path.basename(path).startswith(allowed)] == []
    assert list(prefix.rglob("EXTERNALLY-MANAGED")) == []
    assert out(prefix / "bin" / "pip", "--version").endswith(f"site-packages/pip (python {minor})")
    assert out(prefix / "bin" / "ew-tool") == "ew-lib 1.1"


def test_uv_and_pip_install_into_the_prefix(prefix: Path) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    assert uv, "uv is one of the development requirements"
    python = prefix / "bin" / "python"
    out(uv, "pip", "install", "--quiet", "--python", python, "numpy", "grpcio")
    out(python, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "PyYAML")
    places = out(python, "-I", "-c", "import numpy, grpc, yaml; print(numpy.__file__, grpc.__file__, yaml.__file__)")
    assert [place for place in places.split() if f"{prefix}/lib/python" not in place or "/site-packages/" not in place] == []
    assert out(python, "-m", "pip", "check") == "No broken requirements found."
    out(python, "-m", "pip", "uninstall", "--quiet", "--yes", "--root-user-action=ignore", "PyYAML")


def test_a_virtual_environment_can_be_made_from_it(prefix: Path, tmp_path: Path) -> None:
    out(prefix / "bin" / "python", "-m", "venv", tmp_path / "v")
    assert str(tmp_path / "v") in out(tmp_path / "v" / "bin" / "pip", "--version")
    path = out(tmp_path / "v" / "bin" / "python", "-I", "-c", "import sys; print(sys.path)")
    assert f"{prefix}/lib" in path
    assert f"{prefix}/lib/python" + path.split(f"{prefix}/lib/python")[1][:4] + "/site-packages" not in path


def test_prefixes_replace_the_placeholder_and_link_scripts_run(packed: Packed, tmp_path: Path) -> None:
    target = tmp_path / "p"
    install(packed.report["channel"], target, "ew-prefix-text", "ew-prefix-binary", "ew-post-link", cache=tmp_path / "c")
    assert out(target / "bin" / "ew-prefix").splitlines() == [f"prefix = {target}", f"data = {target}/share/ew"]
    binary = (target / "lib" / "ew-prefix.bin").read_bytes()
    assert f"{target}/share/ew\0".encode() in binary
    assert binary.endswith(b"END\0")
    assert len(binary) == len(b"\x00\x01EWBIN\x00") + 255 + len("/share/ew") + 16 + len(b"END\0")
    assert (target / "etc" / "ew-post-link").read_text().strip()


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["ew-unsatisfiable"], "ew-lib >=9"),
        (["ew-tool", "ew-lib <1"], "ew-lib"),
        (["python 3.1.*"], "python"),
    ],
)
def test_what_cannot_be_solved_is_said(packed: Packed, tmp_path: Path, specs: list[str], words: str) -> None:
    assert words in install(packed.report["channel"], tmp_path / "p", *specs, cache=tmp_path / "c", status=1)
    assert not (tmp_path / "p" / "conda-meta").exists()


@pytest.mark.parametrize(("specs", "version"), [(["ew-lib"], "1.1"), (["ew-lib ==1.0"], "1.0")])
def test_older_versions_can_be_asked_for(packed: Packed, tmp_path: Path, specs: list[str], version: str) -> None:
    assert install(packed.report["channel"], tmp_path / "p", *specs, cache=tmp_path / "c").strip() == f"ew-lib {version}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(packed: Packed) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=packed.path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_plain_web_server_is_enough_for_other_hosts(served: str, packed: Packed, tmp_path: Path) -> None:
    version = packed.versions["own"]
    found = install(served, tmp_path / "p", f"python =={version}", "pip", cache=tmp_path / "c")
    assert f"python {version}" in found.splitlines()
    assert out(tmp_path / "p" / "bin" / "python", "-c", "import ssl, sys; print(sys.prefix)") == str(tmp_path / "p")


def test_a_channel_that_answers_is_taken_and_kept_when_it_falls_silent(served: str, tmp_path: Path) -> None:
    answer, _said = tool("probe", "--channel", served, no_proxy="127.0.0.1")
    assert (answer["answers"], answer["channel"]) == (True, served)
    arguments = ("choose", "--cache", str(tmp_path), "--channel", served)
    choice, said = tool(*arguments, no_proxy="127.0.0.1")
    assert (choice["channel"], choice["python_version"], choice["packed"]) == (served, None, False)
    assert said.count("\n") == 1
    # A proxy that nobody listens on stands for a network that has gone.
    again, said = tool(*arguments, http_proxy="http://127.0.0.1:9", no_proxy="")
    assert (again["channel"], again["python_version"]) == (served, None)
    assert "chosen before" in said


def test_a_silent_channel_gives_way_to_one_packed_here(tmp_path: Path) -> None:
    silent = "http://127.0.0.1:9/none"
    answer, said = tool("probe", "--channel", silent, status=1, no_proxy="127.0.0.1")
    assert answer["answers"] is False
    assert answer["reason"] in said
    choice, said = tool("choose", "--cache", str(tmp_path), "--channel", silent, no_proxy="127.0.0.1")
    assert choice["channel"] == (tmp_path / "channel").as_uri()
    assert choice["python_version"] == interpreter.find(None).version
    assert choice["packed"] is True
    assert silent in choice["reason"]
    assert said.splitlines()[-1].startswith(f"packages come from this machine's own CPython {choice['python_version']}")
    again, said = tool("choose", "--cache", str(tmp_path), "--channel", silent, no_proxy="127.0.0.1")
    assert (again["channel"], again["python_version"], again["packed"]) == (choice["channel"], choice["python_version"], False)
    assert "chosen before" in said
