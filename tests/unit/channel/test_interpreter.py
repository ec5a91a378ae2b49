# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an interpreter is taken apart: the deciding parts, as tables."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.channel import elf, interpreter, relocate, stage, verify

from .interpreters import python

P = relocate.PLACEHOLDER


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"machine": "aarch64"}, ""),
        ({"implementation": "PyPy"}, "PyPy, not CPython"),
        ({"version": "3.8.18", "version_info": [3, 8]}, "older than 3.9"),
        ({"debug": True}, "debug or free-threaded"),
        ({"abiflags": "t"}, "debug or free-threaded"),
        ({"machine": "riscv64"}, "riscv64"),
        ({"bits": 32}, "32 bits"),
        ({"libc": ""}, "not glibc"),
        ({"stdlib": "/py/lib64/python3.11"}, "/py/lib64/python3.11"),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_reason(changes: dict[str, Any], words: str) -> None:
    why = interpreter.refusal(python(**changes))
    assert words in why
    assert bool(why) == bool(words)


def test_the_interpreter_of_a_virtual_environment_is_its_base() -> None:
    found = interpreter.find(None)
    assert str(found.prefix) == sys.base_prefix
    assert found.executable == Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    assert found.version_info == sys.version_info[:2]


LDD = """\
/py/lib-dynload/_ssl.so:
\tlinux-vdso.so.1 (0x00007ffc3)
\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f1)
\tlibnsl.so.2 => /lib/x86_64-linux-gnu/libnsl.so.2 (0x00007f1)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f3)
/py/lib-dynload/_gone.so:
\tlibgone.so.1 => not found
/py/lib-dynload/_static.so:
\tstatically linked
"""


def test_ldd_output_is_read() -> None:
    found, missing = elf.parse_ldd(LDD)
    assert found == {
        "libssl.so.3": Path("/lib/x86_64-linux-gnu/libssl.so.3"),
        "libnsl.so.2": Path("/lib/x86_64-linux-gnu/libnsl.so.2"),
    }
    assert missing == {"libgone.so.1"}


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("libc.so.6", True),
        ("libm.so.6", True),
        ("libresolv.so.2", True),
        ("libnsl.so.1", True),
        ("libnsl.so.2", False),
        ("/lib64/ld-linux-x86-64.so.2", True),
        ("ld-linux-aarch64.so.1", True),
        ("libc-2.31.so", True),
        ("ld-2.31.so", True),
        ("libcrypt.so.1", False),
        ("libcrypto.so.3", False),
        ("libmpdec.so.3", False),
        ("libpython3.11.so.1.0", False),
    ],
)
def test_only_glibc_is_left_to_the_host(name: str, host: bool) -> None:
    assert elf.from_host(name) is host


@pytest.mark.parametrize(
    ("binary", "rpath"),
    [
        ("bin/python3.11", "$ORIGIN/../lib"),
        ("lib/libssl.so.3", "$ORIGIN"),
        ("lib/python3.11/lib-dynload/_ssl.so", "$ORIGIN/../.."),
    ],
)
def test_the_search_path_is_relative(binary: str, rpath: str) -> None:
    assert elf.rpath_for(Path("/env") / binary, Path("/env/lib")) == rpath


@pytest.mark.parametrize(
    ("contents", "version"),
    [
        ([b"\0GLIBC_2.2.5\0GLIBC_2.4\0", b"\0GLIBC_2.34\0GLIBC_2.9\0"], "2.34"),
        ([b"\0GLIBC_2.9\0GLIBC_2.10\0"], "2.10"),
        ([b"text about GLIBC_2.99"], "2.17"),
    ],
)
def test_the_oldest_glibc_is_the_newest_symbol(tmp_path: Path, contents: list[bytes], version: str) -> None:
    for number, content in enumerate(contents):
        (tmp_path / str(number)).write_bytes(content)
    assert elf.oldest_glibc(tmp_path.iterdir()) == version


OWN = relocate.Origin(Path("/data/py"), "x86_64-linux-gnu")
DEBIAN = relocate.Origin(Path("/usr"), "x86_64-linux-gnu")


@pytest.mark.parametrize(
    ("origin", "before", "after"),
    [
        (OWN, "/data/py", P),
        (OWN, "/data/py/lib", f"{P}/lib"),
        (OWN, "-L/data/py/lib -Wl,-rpath,/data/py/lib", f"-L{P}/lib -Wl,-rpath,{P}/lib"),
        (OWN, "'--prefix=/data/py' 'CPPFLAGS=-I/data/py/include'", f"'--prefix={P}' 'CPPFLAGS=-I{P}/include'"),
        (OWN, "/data/py2/lib", "/data/py2/lib"),
        (OWN, "/srv/data/py", "/srv/data/py"),
        (DEBIAN, "/usr/lib/x86_64-linux-gnu/pkgconfig", f"{P}/lib/pkgconfig"),
        (DEBIAN, "/usr /usr/include", f"{P} {P}/include"),
        (DEBIAN, "./usr/lib", "./usr/lib"),
    ],
)
def test_paths_move_at_their_boundaries_only(origin: relocate.Origin, before: str, after: str) -> None:
    assert origin.moved(before) == after


@pytest.mark.parametrize(
    ("origin", "before", "after"),
    [
        (OWN, {"LDSHARED": "gcc -L/data/py/lib", "N": 8}, {"LDSHARED": f"gcc -L{P}/lib", "N": 8}),
        (
            DEBIAN,
            {"LIBDIR": "/usr/lib/x86_64-linux-gnu", "TZPATH": "/usr/share/zoneinfo", "INSTALL": "/usr/bin/install -c"},
            {"LIBDIR": f"{P}/lib", "TZPATH": "/usr/share/zoneinfo", "INSTALL": "/usr/bin/install -c"},
        ),
        (DEBIAN, {"WHEEL_PKG_DIR": "/usr/share/python-wheels/"}, {"WHEEL_PKG_DIR": f"{P}/lib/wheels"}),
        (OWN, {"WHEEL_PKG_DIR": ""}, {"WHEEL_PKG_DIR": ""}),
    ],
)
def test_sysconfig_variables_move(origin: relocate.Origin, before: dict[str, Any], after: dict[str, Any]) -> None:
    text = relocate.sysconfigdata(f"# generated\nbuild_time_vars = {before!r}\n", origin, "lib/wheels")
    head, _mark, literal = text.partition("build_time_vars = ")
    assert head == "# generated\n"
    assert ast.literal_eval(literal) == after
    assert text.count(P) == sum(str(value).count(P) for value in after.values()), "a placeholder is split over lines"


@pytest.mark.parametrize(
    ("origin", "before", "after"),
    [
        (OWN, "CC=gcc -I/data/py/include\n", f"CC=gcc -I{P}/include\n"),
        (DEBIAN, "prefix=\t/usr\nINSTALL=\t/usr/bin/install -c\n", f"prefix=\t{P}\nINSTALL=\t/usr/bin/install -c\n"),
    ],
)
def test_the_makefile_moves(origin: relocate.Origin, before: str, after: str) -> None:
    assert relocate.makefile(before, origin) == after


def test_a_script_starts_with_the_new_interpreter() -> None:
    assert relocate.script("#!/usr/bin/python3.11\n# body\n") == f"#!{P}/bin/python3\n# body\n"


def test_the_placeholder_is_as_long_as_a_path_may_be() -> None:
    assert len(P) == 255


@pytest.mark.parametrize(
    ("path", "goes_in"),
    [
        ("os.py", True),
        ("encodings/utf_8.py", True),
        ("ensurepip/_bundled/pip-23.2.1-py3-none-any.whl", True),
        ("config-3.11-x86_64-linux-gnu/Makefile", True),
        ("config-3.11-x86_64-linux-gnu/libpython3.11.a", False),
        ("config-3.11-x86_64-linux-gnu/config.c", False),
        ("test/support/__init__.py", False),
        ("ctypes/test/test_cast.py", False),
        ("unittest/case.py", True),
        ("__pycache__/os.cpython-311.pyc", False),
        ("site-packages/pip/__init__.py", False),
        ("tkinter/__init__.py", False),
        ("lib-dynload/_ssl.so", False),
        ("EXTERNALLY-MANAGED", False),
        ("sitecustomize.py", False),
        ("_sysconfigdata__linux_x86_64-linux-gnu.py", True),
        ("_sysconfig_vars__linux_x86_64-linux-gnu.json", False),
    ],
)
def test_which_files_of_the_library_go_in(path: str, goes_in: bool) -> None:
    assert stage.wanted(Path(path)) is goes_in


@pytest.mark.parametrize(
    ("name", "goes_in"), [("_ssl", True), ("_sqlite3", True), ("_tkinter", False), ("_testcapi", False), ("xxlimited", False), ("nis", False)]
)
def test_which_extension_modules_go_in(name: str, goes_in: bool) -> None:
    assert stage.wanted_module(name) is goes_in


GOOD = verify.Answer(
    failed={},
    mapped=["/env/lib/libssl.so.3", "/lib/x86_64-linux-gnu/libc.so.6"],
    prefix="/env",
    paths={"purelib": "/env/lib/python3.11/site-packages", "platlib": "/env/lib/python3.11/site-packages"},
    site=["/env/lib/python3.11/site-packages"],
    search=["/env/lib/python3.11"],
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"failed": {"_ssl": "ImportError: libssl"}}, "_ssl does not import (ImportError: libssl)"),
        ({"prefix": "/usr"}, "sys.prefix is /usr"),
        ({"paths": GOOD.paths | {"purelib": "/usr/local/x"}}, "purelib is /usr/local/x"),
        ({"site": ["/env/lib/python3/dist-packages"]}, "dist-packages"),
        ({"search": ["/usr/lib/python3"]}, "sys.path holds /usr/lib/python3"),
        ({"mapped": ["/usr/lib/libssl.so.3"]}, "/usr/lib/libssl.so.3 is loaded from the host"),
    ],
)
def test_a_staged_interpreter_that_leans_on_its_source_is_found_out(changes: dict[str, Any], words: str | None) -> None:
    found = verify.faults(dataclasses.replace(GOOD, **changes), Path("/env"), python())
    assert found == [] if words is None else [line for line in found if words in line] == found != []
