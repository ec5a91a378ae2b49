# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the tests' packages come from: a channel packed from this machine's CPython, wheels made on the spot, and a web server."""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import functools
import hashlib
import http.server
import io
import json
import os
import pathlib
import ssl
import tarfile
import tempfile
import threading
import typing as t
import zipfile

import rattler.index

from tools.channel import interpreter
from tools.channel.pack import pack
from tools.checkout import CACHE

BACKEND = '''\
"""A build backend without dependencies: the wheel tells who built it."""
import base64, hashlib, os, pathlib, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    gate = pathlib.Path(__file__).with_name("gate.txt")
    while gate.exists() and not os.path.exists(gate.read_text().strip()):
        time.sleep(0.02)
    if pathlib.Path(__file__).with_name("broken").exists():
        raise SystemExit("no compiler here")
    name = "{name}-1.0-py3-none-any.whl"
    pathlib.Path(__file__).with_name("written").write_text("a build writes into its tree")
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("{name}.py", f"BUILT_BY = {{os.getuid()}}\\n")
        wheel.writestr("{name}-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        wheel.writestr("{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        files = [*wheel.namelist(), "{name}-1.0.dist-info/RECORD"]
        wheel.writestr(files[-1], "".join(each + ",,\\n" for each in files))
    return name
'''


@functools.cache
def local_channel() -> pathlib.Path:
    """A channel with the Python that runs the tests, pip, and the tool's tiny packages; packed again only when it must be."""
    return pack(CACHE / "test-channel", [interpreter.find(None)], True, False, lambda line: None).path


def python_version() -> str:
    """``3.11``: the version in the channel."""
    return ".".join(interpreter.find(None).version.split(".")[:2])


def write_wheel(directory: pathlib.Path, name: str, version: str, requires: t.Sequence[str] = (), ballast: int = 0) -> pathlib.Path:
    """A pure wheel with one module that knows its version. ballast: random bytes beside it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        **({f"{name}_data.bin": os.urandom(ballast)} if ballast else {}),
        f"{info}/METADATA": "".join(
            f"{line}\n" for line in ("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires))
        ).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{each},sha256={_digest(content)},{len(content)}" for each, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for each, content in files.items():
            wheel.writestr(each, content)
    return path


def write_source_package(directory: pathlib.Path, name: str) -> pathlib.Path:
    """A directory that builds a wheel without any dependency."""
    directory.mkdir(parents=True)
    (directory / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\n[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (directory / "backend.py").write_text(BACKEND.format(name=name))
    return directory


def write_source_archive(directory: pathlib.Path, name: str, backend: str = "") -> pathlib.Path:
    """A source distribution of version 1.0, for an index or ``find-links``. backend: more Python, for before it builds."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = write_source_package(pathlib.Path(scratch) / f"{name}-1.0", name)
        (tree / "PKG-INFO").write_text(f"Metadata-Version: 1.2\nName: {name}\nVersion: 1.0\n")
        (tree / "backend.py").write_text((tree / "backend.py").read_text() + backend)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{name}-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(tree, tree.name)
    return path


def write_conda_package(channel: pathlib.Path, name: str, members: t.Mapping[str, str], listed: t.Sequence[str]) -> None:
    """A package as nobody should write one. members: {path: text, or "-> target" of a link}; listed: what ``paths.json`` says is in it."""
    index = {"name": name, "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "noarch", "noarch": "generic"}
    entries = [{"_path": path, "path_type": "hardlink"} for path in listed]
    texts = {**members, "info/index.json": json.dumps(index), "info/paths.json": json.dumps({"paths": entries, "paths_version": 1})}
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    with tarfile.open(channel / "noarch" / f"{name}-1.0-0.tar.bz2", "w:bz2") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(path)
            member.mode = 0o755
            if text.startswith("-> "):
                member.type, member.linkname = tarfile.SYMTYPE, text[3:]
            else:
                member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def index_channel(channel: pathlib.Path) -> pathlib.Path:
    """Write what the solver reads."""
    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    asyncio.run(rattler.index.index_fs(channel, write_zst=False, write_shards=False, force=True))
    return channel


def write_index(directory: pathlib.Path, wheels: t.Sequence[pathlib.Path]) -> pathlib.Path:
    """A simple index over copies of the wheels and source distributions."""
    for wheel in wheels:
        project = directory / wheel.name.split("-")[0].replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).write_bytes(wheel.read_bytes())
        (project / "index.html").write_text("".join(f'<a href="{each.name}">{each.name}</a>\n' for each in sorted(project.glob("*-*"))))
    return directory


@contextlib.contextmanager
def served(
    directory: pathlib.Path,
    login: str = "",
    certificate: t.Optional[tuple[pathlib.Path, pathlib.Path]] = None,
    asked: t.Optional[list[str]] = None,
    address: str = "127.0.0.1",
    breaks: int = 0,
) -> t.Iterator[str]:
    """The host and port under which the directory is served while the block runs.

    login: ``user:password`` that is asked for. asked: gets the path of each file that was sent.
    breaks: so many times each package is cut off in the middle.
    """
    broken: collections.Counter[str] = collections.Counter()
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            if wanted and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="tests"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if self.path.endswith((".conda", ".tar.bz2")) and broken[self.path] < breaks:
                broken[self.path] += 1
                content = (directory / self.path.lstrip("/")).read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            super().do_GET()

        def log_message(self, *words: t.Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=str(directory))) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"{address}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
