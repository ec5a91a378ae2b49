# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tree of a packed interpreter: which files go in, and how they are made fit for any prefix."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import elf, relocate
from .interpreter import Interpreter
from .verify import importable

# Not needed to run a program: test suites, the desktop parts, and what belongs to the source's own installation.
LEFT_OUT_DIRS = frozenset({"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages", "dist-packages", "lib-dynload"})
LEFT_OUT_FILES = frozenset(
    # The last one, since 3.14, tells other tools where the source lies.
    {"EXTERNALLY-MANAGED", "sitecustomize.py", "usercustomize.py", "_distutils_system_mod.py", "build-details.json"}
)
LEFT_OUT_SUFFIXES = (".a", ".o", ".pyc", ".c", ".so")
# They need a desktop, Kerberos or a database that a worker has no use for.
LEFT_OUT_MODULES = frozenset({"_tkinter", "nis", "_dbm", "_gdbm", "_ctypes_test"})
EXAMPLES = ("_test", "_xxtest", "xx")


@dataclass(frozen=True)
class Tree:
    """A staged interpreter: a prefix on disk that already runs in place."""

    root: Path
    texts: frozenset[str]
    """Paths below root whose text holds the placeholder."""
    glibc: str
    """The oldest glibc it runs on."""
    left_out: tuple[str, ...]
    """Extension modules that do not work in the source either, each with the reason."""


def wanted(relative: Path) -> bool:
    """Whether a file of the standard library goes into the package."""
    if LEFT_OUT_DIRS.intersection(relative.parts[:-1]) or relative.name in LEFT_OUT_FILES:
        return False
    if relative.name.startswith("_sysconfig_vars_"):
        return False
    return not relative.name.endswith(LEFT_OUT_SUFFIXES)


def module_of(file: Path) -> str:
    """The import name of an extension module's file."""
    return file.name.split(".", 1)[0]


def wanted_module(name: str) -> bool:
    """Whether an extension module goes into the package."""
    return name not in LEFT_OUT_MODULES and not name.startswith(EXAMPLES)


def stage(python: Interpreter, root: Path) -> Tree:
    """Copy the interpreter to ``root`` in a conda prefix's layout, with the libraries it needs."""
    lib = root / "lib" / f"python{python.minor}"
    _copy_stdlib(python, lib)
    modules, left_out, finds_packages = _working_modules(python)
    binaries = [_copy_binary(file, lib / "lib-dynload" / file.name) for file in modules]
    binaries += _copy_program(python, root)
    binaries += [_copy_binary(path.resolve(), root / "lib" / name) for name, path in sorted(elf.libraries([*modules, python.executable]).items())]
    for library in sorted((root / "lib").glob("libpython*.so.*")):
        # The name that a linker looks for.
        (root / "lib" / f"{library.name.partition('.so')[0]}.so").symlink_to(library.name)
    for binary in binaries:
        elf.set_rpath(binary, root / "lib")
    _copy_headers(python, root)
    if not finds_packages:
        _hook_site(lib)
    texts = _rewrite(python, root)
    return Tree(root, frozenset(texts), elf.oldest_glibc(binaries), left_out)


def _copy_file(source: Path, target: Path, mode: int = 0o644) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
    return target


def _copy_binary(source: Path, target: Path) -> Path:
    return _copy_file(source, target, 0o755)


def _copy_stdlib(python: Interpreter, target: Path) -> None:
    # Links are followed: distributions link parts of the library to other places.
    def ignore(directory: str, names: list[str]) -> list[str]:
        inside = Path(directory).relative_to(python.stdlib)
        return [name for name in names if not wanted(inside / name / "x" if (Path(directory) / name).is_dir() else inside / name)]

    shutil.copytree(python.stdlib, target, ignore=ignore, ignore_dangling_symlinks=True)
    for path in target.rglob("*"):
        if path.is_file():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    for directory in python.wheel_dirs:
        for wheel in sorted(directory.glob("*.whl")):
            _copy_file(wheel, target / "ensurepip" / "_bundled" / wheel.name)
    # Packages hold no empty directories, and Python looks for both: without lib-dynload it takes the source's.
    for name, text in (("site-packages", "Packages installed into this prefix"), ("lib-dynload", "Extension modules")):
        (target / name).mkdir()
        (target / name / "README.txt").write_text(f"{text} lie here.\n")


def _working_modules(python: Interpreter) -> tuple[list[Path], tuple[str, ...], bool]:
    """The extension modules that import, the others with the reason, and whether packages lie where CPython puts them."""
    files = {module_of(file): file for file in sorted(python.dynload.glob("*.so")) if wanted_module(module_of(file))}
    answer = importable(python.executable, files)
    # Debian's look in dist-packages, whatever scheme they install by.
    finds_packages = python.preferred_scheme == "posix_prefix" and any(path.endswith("/site-packages") for path in answer.site)
    failed = answer.failed
    return [file for name, file in files.items() if name not in failed], tuple(f"{n}: {why}" for n, why in failed.items()), finds_packages


def _copy_program(python: Interpreter, root: Path) -> list[Path]:
    name = f"python{python.minor}"
    program = _copy_binary(python.executable, root / "bin" / name)
    for link in ("python", "python3"):
        (root / "bin" / link).symlink_to(name)
    config = next(iter(sorted(python.stdlib.glob("config-*/python-config.py"))), None)
    if config is not None:
        _copy_binary(config, root / "bin" / f"{name}-config")
        (root / "bin" / "python3-config").symlink_to(f"{name}-config")
    return [program]


def _copy_headers(python: Interpreter, root: Path) -> None:
    if not (python.include / "Python.h").is_file():
        return
    target = root / "include" / f"python{python.minor}"
    shutil.copytree(python.include, target)
    # Debian keeps the real file beside those of other architectures and points to it by the compiler's search path.
    real = python.include.parent / python.multiarch / python.include.name / "pyconfig.h"
    if python.multiarch and real.is_file():
        _copy_file(real, target / "pyconfig.h")


def _hook_site(lib: Path) -> None:
    (lib / f"{relocate.SITE_HOOK}.py").write_text(relocate.SITE_HOOK_MODULE)
    (lib / "dist-packages").mkdir()
    (lib / "dist-packages" / f"{relocate.SITE_HOOK}.pth").write_text(f"import {relocate.SITE_HOOK}\n")


def _rewrite(python: Interpreter, root: Path) -> list[str]:
    """Rewrite the texts that name a place; answer with those that hold the placeholder."""
    lib = root / "lib" / f"python{python.minor}"
    origin = relocate.Origin(python.prefix, python.multiarch)
    wheels = lib / "ensurepip" / "_bundled"
    wheel_dir = str(wheels.relative_to(root)) if wheels.is_dir() else ""
    edits: list[tuple[Path, Callable[[str], str]]] = [
        (path, lambda text: relocate.sysconfigdata(text, origin, wheel_dir)) for path in lib.glob("_sysconfigdata*.py")
    ]
    edits += [(path, lambda text: relocate.makefile(text, origin)) for path in lib.glob("config-*/Makefile")]
    edits += [(path, relocate.script) for path in [*lib.glob("config-*/python-config.py"), *root.glob("bin/python3.*-config")]]
    if python.preferred_scheme != "posix_prefix":
        package = lib / "sysconfig" / "__init__.py"
        edits.append((package if package.is_file() else lib / "sysconfig.py", relocate.sysconfig_module))
        edits.append((lib / "distutils" / "sysconfig.py", relocate.distutils_sysconfig))
    texts = []
    for path, edit in edits:
        if not path.is_file():
            continue
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")
        if relocate.PLACEHOLDER in path.read_text(encoding="utf-8"):
            texts.append(str(path.relative_to(root)))
    return texts
