# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How packages, channels and choices are made: the deciding parts, as tables."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import stat
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
import zstandard

from tools.channel import choose, interpreter, pack, package, probe, relocate, testpackages, wheels
from tools.channel.__main__ import main

from .interpreters import python

P = relocate.PLACEHOLDER


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("pip-23.2.1-py3-none-any.whl", ("pip", "23.2.1")),
        ("six-1.16.0-py2.py3-none-any.whl", ("six", "1.16.0")),
        ("Two_Words-1-py3-none-any.whl", ("two-words", "1")),
        ("numpy-2.0-cp311-cp311-linux_x86_64.whl", None),
    ],
)
def test_wheel_names(file: str, found: tuple[str, str] | None) -> None:
    wheel = wheels.parse_name(Path(file))
    assert (wheel and (wheel.name, wheel.version)) == found


def test_the_newest_bundled_wheel_is_taken(tmp_path: Path) -> None:
    for directory, version in (("a", "9.0.1"), ("b", "24.2")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / f"pip-{version}-py3-none-any.whl").touch()
    pythons = [python(wheel_dirs=[str(tmp_path / "b"), str(tmp_path / "a")])]
    wheel = wheels.bundled("pip", pythons)
    assert wheel == wheels.Wheel("pip", "24.2", tmp_path / "b" / "pip-24.2-py3-none-any.whl", bundled=True)
    assert wheels.bundled("setuptools", pythons) is None


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", ()),
        ("[other]\nx = y:z\n", ()),
        ("[console_scripts]\npip3 = p:main\npip = p:main\npip3.11 = p:main\n", ("pip = p:main", "pip3 = p:main")),
    ],
)
def test_entry_points(text: str, points: tuple[str, ...]) -> None:
    assert wheels.entry_points(text) == points


@pytest.mark.parametrize(
    ("name", "own", "requires", "spec"),
    [
        ("pip", True, ">=3.7", "python >=3.7"),
        ("wheel", False, "", "python >=3"),
        ("setuptools", True, ">=3.7", "python >=3.7,<3.12.0a0"),
        ("setuptools", False, ">=3.9", "python >=3.9"),
        ("x", False, ">=2.7, !=3.0.*", "python >=2.7,!=3.0.*"),
    ],
)
def test_the_python_that_a_wheel_wants(name: str, own: bool, requires: str, spec: str) -> None:
    assert wheels.python_range(wheels.Wheel(name, "1", Path("x"), own), requires) == spec


def _tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text(f"#!{P}/bin/python\n")
    (root / "bin" / "tool").chmod(0o750)
    (root / "bin" / "link").symlink_to("tool")
    (root / "data").write_text("x")
    return root


def _open_parts(file: Path) -> dict[str, tarfile.TarFile]:
    """The package's two parts, ``pkg`` and ``info``, read back."""
    parts = {}
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("metadata.json")) == {"conda_pkg_format_version": 2}
        for kind in ("pkg", "info"):
            packed = archive.read(f"{kind}-{file.stem}.tar.zst")
            data = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
            parts[kind] = tarfile.TarFile(fileobj=BytesIO(data))
    return parts


def test_a_package_says_what_it_holds(tmp_path: Path) -> None:
    wanted = package.Package("demo", "1.0", "linux-64", depends=("__glibc >=2.36",))
    written = package.write(wanted, _tree(tmp_path / "t"), tmp_path / "c", {"bin/tool": "text"})
    assert written.file == f"linux-64/demo-1.0-{written.build}.conda"
    parts = _open_parts(tmp_path / "c" / written.file)
    members = {member.name: member for member in parts["pkg"].getmembers()}
    assert list(members) == ["bin/link", "bin/tool", "data"]
    assert members["bin/link"].issym()
    assert members["bin/link"].linkname == "tool"
    assert (members["bin/tool"].mode, members["data"].mode) == (0o755, 0o644)
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, package.FIXED_TIME)}
    info = {name: parts["info"].extractfile(name) for name in parts["info"].getnames()}
    index = json.load(info["info/index.json"])  # type: ignore[arg-type]
    assert (index["arch"], index["platform"], index["build"]) == ("x86_64", "linux", written.build)
    paths = {entry["_path"]: entry for entry in json.load(info["info/paths.json"])["paths"]}  # type: ignore[arg-type]
    assert paths["bin/link"]["path_type"] == "softlink"
    assert (paths["bin/tool"]["file_mode"], paths["bin/tool"]["prefix_placeholder"]) == ("text", P)
    assert "file_mode" not in paths["data"]


def test_equal_contents_are_equal_packages_and_others_are_other_builds(tmp_path: Path) -> None:
    demo = package.Package("demo", "1.0", "noarch", "generic")
    first = package.write(demo, _tree(tmp_path / "a"), tmp_path / "c1")
    os.utime(_tree(tmp_path / "b") / "data", (1, 1))
    (tmp_path / "b" / "data").chmod(0o600)
    assert package.write(demo, tmp_path / "b", tmp_path / "c2") == first
    (tmp_path / "b" / "data").chmod(0o700)
    assert package.write(demo, tmp_path / "b", tmp_path / "c2").build != first.build
    other = dataclasses.replace(demo, depends=("python",))
    assert package.write(other, tmp_path / "a", tmp_path / "c2").build != first.build


def test_every_test_package_can_be_written(tmp_path: Path) -> None:
    written = testpackages.pack_all("linux-64", tmp_path / "c", tmp_path / "w")
    assert {(one.name, one.version) for one in written} >= {("ew-lib", "1.0"), ("ew-lib", "1.1"), ("ew-tool", "1.0")}
    assert all((tmp_path / "c" / one.file).stat().st_size == one.size for one in written)


def test_the_stamp_is_trusted_only_while_everything_is_there(tmp_path: Path) -> None:
    wanted = {"tool": "a"}
    entry = {"file": "noarch/x.conda", "size": 1}
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch" / "x.conda").write_text("x")
    (tmp_path / "noarch" / "repodata.json").write_text("{}")
    stamp = {"inputs": wanted, "packages": [entry], "missing": {}}
    assert pack.read_stamp(tmp_path, wanted) is None
    (tmp_path / pack.STAMP).write_text(json.dumps(stamp))
    assert pack.read_stamp(tmp_path, wanted) == stamp
    assert pack.read_stamp(tmp_path, {"tool": "b"}) is None
    (tmp_path / "noarch" / "x.conda").write_text("longer")
    assert pack.read_stamp(tmp_path, wanted) is None
    (tmp_path / "noarch" / "x.conda").write_text("x")
    (tmp_path / "noarch" / "repodata.json").unlink()
    assert pack.read_stamp(tmp_path, wanted) is None
    (tmp_path / pack.STAMP).write_text("{")
    assert pack.read_stamp(tmp_path, wanted) is None


class _Server(BaseHTTPRequestHandler):
    """A channel's web server: /new has both indexes, /old only the plain one, /shut refuses."""

    def do_GET(self) -> None:
        known = self.path.startswith("/new/") or self.path == "/old/noarch/repodata.json"
        self.send_response(403 if self.path.startswith("/shut/") else 200 if known else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "reason"), [("/new", ""), ("/old", ""), ("/none", "HTTP status 404"), ("/shut", "HTTP status 403")])
def test_a_silent_channel_is_told_from_one_that_answers(server: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert probe.why_silent(f"{server}{path}/", 5) == reason


def test_a_closed_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert probe.why_silent(f"http://127.0.0.1:{reserved.getsockname()[1]}/", 5) == "Connection refused"


class _Made:
    """Counts what ``choose`` asks for, and answers like the probe and the packer."""

    def __init__(self, answers: bool) -> None:
        self.asked, self.made, self.answers = 0, 0, answers

    def ask(self) -> probe.Answer:
        self.asked += 1
        return probe.Answer("conda-forge", "https://x/", self.answers, "it answers" if self.answers else "no route", 0.0)

    def make(self, output: Path) -> pack.Channel:
        self.made += 1
        return pack.Channel(output, ("3.11.7",), (), {}, self.made == 1, 0.0)


@pytest.mark.parametrize("answers", [True, False])
def test_the_choice_is_made_once_and_kept(tmp_path: Path, answers: bool) -> None:
    world = _Made(answers)
    first = choose.choose(tmp_path, "conda-forge", False, world.ask, world.make)
    world.answers = not answers
    second = choose.choose(tmp_path, "conda-forge", False, world.ask, world.make)
    assert (first.channel, first.python_version) == (second.channel, second.python_version)
    if answers:
        assert (first.channel, first.python_version) == ("conda-forge", None)
    else:
        assert (first.channel, first.python_version) == ((tmp_path / "channel").as_uri(), "3.11.7")
    assert (first.packed, second.packed) == (not answers, False)
    assert world.asked == 1
    assert "chosen before" in second.line()
    third = choose.choose(tmp_path, "conda-forge", True, world.ask, world.make)
    assert (world.asked, third.python_version is None) == (2, not answers)
    fourth = choose.choose(tmp_path, "another", False, world.ask, world.make)
    assert world.asked == 3, fourth


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pack", "--output", "{tmp}", "--python", "/no/such/python"], ["--python /no/such/python", "no such executable"]),
        (["pack", "--output", "{tmp}", "--python", "/bin/false"], ["--python /bin/false", "does not run", "name another"]),
        (["pack", "--output", "/proc/nowhere"], ["/proc/nowhere", "cannot be written", "another directory"]),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]) -> None:
    assert main([argument.replace("{tmp}", str(tmp_path)) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [word for word in words if word not in err] == []
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(tmp_path: Path) -> None:
    """Run by an interpreter that has nothing installed: one line says what to install."""
    done = subprocess.run(
        [str(interpreter.find(None).executable), "-S", "-m", "tools.channel", "pack", "--output", str(tmp_path / "c")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        env={"PATH": os.defpath},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "pip install" in done.stderr.splitlines()[-1]


def test_test_packages_scripts_are_executable(tmp_path: Path) -> None:
    for _name, fill, placeholders in testpackages.catalogue("linux-64"):
        fill(tmp_path)
        assert all(P.encode() in (tmp_path / name).read_bytes() for name in placeholders)
    assert stat.S_IMODE((tmp_path / "bin" / "ew-prefix").stat().st_mode) == 0o755
