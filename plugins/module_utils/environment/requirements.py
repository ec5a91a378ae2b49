# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Requirement files: their lines, what they include, and the local trees that they name.

What is fingerprinted is what is installed: files are read once, and the installer gets copies of what was read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import typing as t
import urllib.parse

from ..errors import WorkerError
from .specs import strip_credentials

Reader = t.Callable[[str], t.Optional[str]]
UNKNOWN_TREE = "unknown"
_SKIPPED_DIRECTORIES = {".git", "__pycache__"}
_ARCHIVES = (".whl", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_INCLUDE = re.compile(r"^(?P<option>-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-r)|(?<=-c))(?P<path>\S.*)$")
_EDITABLE = re.compile(r"^(-e|--editable)(\s|=|$)")
_FIND_LINKS = re.compile(r"^(?P<option>-f|--find-links)(?:\s*=\s*|\s+)(?P<path>\S.*)$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


@dataclasses.dataclass(frozen=True)
class Line:
    """One logical line.

    text: the line, joined, without its comment. option: ``-r`` or ``-c`` where ``nested`` is what it includes.
    local: absolute path of the directory or archive that it installs, digest its contents' hash.
    written: the part of text that is a path of this host.
    """

    text: str
    option: str = ""
    nested: t.Optional[Requirements] = None
    local: str = ""
    written: str = ""
    digest: str = ""


@dataclasses.dataclass(frozen=True)
class Requirements:
    """One requirement file, or a list given as one. path is empty for a list."""

    path: str
    lines: tuple[Line, ...]

    def canonical(self) -> list[t.Any]:
        """What the file asks for as JSON data: no path, no comment, no credentials; includes in their place."""
        found: list[t.Any] = []
        for line in self.lines:
            if line.nested is not None:
                found.append([line.option, line.nested.canonical()])
            elif line.written:
                found.append([strip_credentials(line.text.replace(line.written, "")), line.digest])
            else:
                found.append(strip_credentials(line.text))
        return found

    def has_unknown_tree(self) -> bool:
        """Whether it names a local tree that could not be read, which only check mode puts up with."""
        return any(line.digest == UNKNOWN_TREE or (line.nested is not None and line.nested.has_unknown_tree()) for line in self.lines)

    def without(self, unwanted: t.Callable[[Line], bool]) -> Requirements:
        """The same without those lines, in included files too."""
        lines = (dataclasses.replace(line, nested=line.nested.without(unwanted)) if line.nested is not None else line for line in self.lines)
        return Requirements(self.path, tuple(line for line in lines if not unwanted(line)))

    def local_directories(self) -> list[str]:
        """The local directories that are to be built, those of included files too."""
        found: list[str] = []
        for line in self.lines:
            if line.nested is not None:
                found.extend(line.nested.local_directories())
            elif line.local and os.path.isdir(line.local):
                found.append(line.local)
        return found


def read_requirements(path: str, read: Reader, lenient: bool = False) -> Requirements:
    """Read a requirement file and all that it includes.

    read: gives a file's text, or None where there is none. lenient: a missing local tree is unknown instead of an error.
    Raises WorkerError ``requirements_missing``, ``requirements_loop``, ``editable_requirement`` or ``unsupported_requirement``.
    """
    return _read(os.path.normpath(path), read, lenient, ())


def parse_requirements(lines: t.Sequence[str], directory: t.Optional[str], read: Reader, lenient: bool = False) -> Requirements:
    """A list of requirement lines; relative paths in it are below ``directory`` (None: refused)."""
    return Requirements("", tuple(_line(text, directory, read, lenient, ()) for text in logical_lines("\n".join(lines))))


def logical_lines(text: str) -> list[str]:
    """The lines as pip reads them: continued ones joined, comments and empty ones left out."""
    joined = re.sub(r"\\\r?\n", " ", text)
    lines = (re.sub(r"(^|\s+)#.*$", "", line).strip() for line in joined.splitlines())
    return [" ".join(line.split()) for line in lines if line]


def local_path(requirement: str) -> str:
    """How a requirement writes the local directory or archive that it names (``./lib``, ``file:///x``), or an empty string."""
    text = re.split(r"\s+--|\s+;|;\s", requirement)[0].strip()
    direct = re.match(r"^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*(?P<target>\S+)$", text)
    target = direct.group("target") if direct else text
    if target.startswith("file:"):
        return target
    if direct or "://" in target or target.startswith("-"):
        return ""
    path = re.sub(r"\[[^\]/]*\]$", "", target)
    is_path = path.startswith((".", "/")) or "/" in path or path.endswith(_ARCHIVES)
    return path if is_path else ""


def tree_digest(path: str) -> str:
    """sha256 over a file, or over kind, executable bit, relative path and content of all in a directory.

    ``.git`` and ``__pycache__`` do not count. Raises OSError.
    """
    total = hashlib.sha256()
    if not os.path.isdir(path):
        return _file_digest(path)
    for directory, names, files in os.walk(path):
        names[:] = sorted(name for name in names if name not in _SKIPPED_DIRECTORIES)
        for name in sorted(files + [name for name in names if os.path.islink(os.path.join(directory, name))]):
            each = os.path.join(directory, name)
            relative = os.path.relpath(each, path)
            if os.path.islink(each):
                row = ["link", relative, os.readlink(each)]
            else:
                row = ["run" if os.stat(each).st_mode & 0o100 else "file", relative, _file_digest(each)]
            total.update(("\0".join(row) + "\n").encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def expand_variables(text: str, environ: t.Mapping[str, str]) -> str:
    """``${NAME}`` replaced as pip does it: capitals only, unknown ones left alone."""
    return _VARIABLE.sub(lambda found: environ.get(found.group(1), found.group(0)), text)


def render(requirements: Requirements, included: t.Mapping[int, str], trees: t.Mapping[str, str], environ: t.Mapping[str, str]) -> str:
    """The text for the installer: absolute paths only.

    included: for the index of a line that includes a file, where that file's copy is. trees: where the copy of a local directory is.
    """
    lines: list[str] = []
    for index, line in enumerate(requirements.lines):
        if line.nested is not None:
            lines.append(f"{line.option} {included[index]}")
        elif line.local:
            target = trees.get(line.local, line.local)
            lines.append(line.text.replace(line.written, f"file://{urllib.parse.quote(target)}" if line.written.startswith("file:") else target))
        else:
            lines.append(expand_variables(line.text, environ))
    return "\n".join(lines) + "\n"


def _read(path: str, read: Reader, lenient: bool, above: tuple[str, ...]) -> Requirements:
    if path in above:
        raise WorkerError(
            "requirements_loop", f"The requirement file {path} includes itself: {' -> '.join([*above, path])}.", "Take one of these -r or -c lines out."
        )
    text = read(path)
    if text is None:
        by = f", which {above[-1]} includes," if above else ""
        raise WorkerError("requirements_missing", f"The requirement file {path}{by} does not exist.", "Create it, or name another one.", path=path)
    return Requirements(path, tuple(_line(line, os.path.dirname(path), read, lenient, (*above, path)) for line in logical_lines(text)))


def _line(text: str, directory: t.Optional[str], read: Reader, lenient: bool, above: tuple[str, ...]) -> Line:
    if _EDITABLE.match(text):
        raise WorkerError(
            "editable_requirement",
            f"The requirement '{strip_credentials(text)}' is editable: the environment would change with a directory outside of it.",
            "Leave -e out: the package is then built and copied into the environment.",
        )
    include = _INCLUDE.match(text)
    if include:
        return _included(text, include, directory, read, lenient, above)
    links = _FIND_LINKS.match(text)
    if links and "://" not in links.group("path"):
        found = _absolute(links.group("path"), directory, text)
        return Line(f"--find-links {found}", written=found)
    written = "" if text.startswith("-") else local_path(text)
    if not written:
        return Line(text)
    local = _absolute(_file_path(written), directory, text)
    return Line(text, local=local, written=written, digest=_digest(local, text, lenient))


def _included(text: str, include: re.Match[str], directory: t.Optional[str], read: Reader, lenient: bool, above: tuple[str, ...]) -> Line:
    path = include.group("path")
    if "://" in path:
        raise WorkerError(
            "unsupported_requirement",
            f"The line '{strip_credentials(text)}' includes an address, whose contents may change.",
            "Put a copy of that file beside the one that includes it.",
        )
    option = "-c" if include.group("option") in ("-c", "--constraint") else "-r"
    return Line(text, option=option, nested=_read(_absolute(path, directory, text), read, lenient, above))


def _absolute(path: str, directory: t.Optional[str], text: str) -> str:
    if directory is None and not os.path.isabs(path):
        words = f"'{strip_credentials(text)}' names a relative path, but is not in a file that it could be relative to."
        raise WorkerError("unsupported_requirement", words, "Write an absolute path.")
    return os.path.normpath(os.path.join(directory or "/", path))


def _file_path(written: str) -> str:
    if not written.startswith("file:"):
        return written
    path = urllib.parse.unquote(written[len("file:") :].split("#")[0])
    return path[len("//localhost") :] if path.startswith("//localhost/") else re.sub(r"^//(?=/)", "", path)


def _digest(local: str, text: str, lenient: bool) -> str:
    if os.path.exists(local):
        return tree_digest(local)
    if lenient:
        return UNKNOWN_TREE
    words = f"The requirement '{strip_credentials(text)}' names {local}, which does not exist."
    raise WorkerError("requirements_missing", words, "Create it, or take the line out.", path=local)


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
