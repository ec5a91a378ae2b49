# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Requirement files: their lines, what they include, and the local packages that they name. Controller and host read them alike.

What is fingerprinted is what is installed: files are read once, and the installer gets copies of what was read. Whoever wrote
such a file has no say in what root reads: nothing outside of the tree that the file belongs to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
import stat
import typing as t
import urllib.parse

from ..errors import WorkerError
from .specs import strip_credentials

Reader = t.Callable[[str], t.Optional[str]]
UNKNOWN_TREE = "unknown"
_SKIPPED_DIRECTORIES = {".git", "__pycache__"}
_ARCHIVES = (".whl", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.lz", ".tlz", ".tar.lzma")
_INCLUDE = re.compile(r"^(?P<option>-r|--requirement|-c|--constraint)(?:\s*=\s*|\s+|(?<=-r)|(?<=-c))(?P<path>\S.*)$")
_DIRECT = re.compile(r"^[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*(?P<target>\S+)$")
_EDITABLE = re.compile(r"^(-e|--editable)(\s|=|$)")
_FIND_LINKS = re.compile(r"^(?P<option>-f|--find-links)(?:\s*=\s*|\s+)(?P<path>\S.*)$")
_DEEPEST = 50
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")


def tree_digest(path: str) -> str:
    """sha256 over a file, or over kind, executable bit, relative path and content of all in a directory.

    ``.git`` and ``__pycache__`` do not count. Raises OSError.
    """
    total = hashlib.sha256()
    if not os.path.isdir(path):
        return _file_digest(path)
    waiting = [path]
    while waiting:
        directory = waiting.pop()
        inner: list[str] = []
        for name in sorted(os.listdir(directory)):
            each = os.path.join(directory, name)
            mode = os.lstat(each).st_mode
            if not stat.S_ISDIR(mode):
                total.update(("\0".join(_row(each, os.path.relpath(each, path), mode)) + "\n").encode("utf-8", "surrogateescape"))
            elif name not in _SKIPPED_DIRECTORIES:
                inner.append(each)
        waiting.extend(reversed(inner))
    return total.hexdigest()


def _row(path: str, relative: str, mode: int) -> list[str]:
    if stat.S_ISLNK(mode):
        return ["link", relative, os.readlink(path)]
    return ["run" if mode & 0o100 else "file", relative, _file_digest(path)] if stat.S_ISREG(mode) else ["special", relative]


def digest_on_disk(path: str) -> t.Optional[str]:
    """The hash of what is at the path, or None where nothing is."""
    return tree_digest(path) if os.path.exists(path) else None


@dataclasses.dataclass(frozen=True)
class Tree:
    """What requirement files may name, and how it is read.

    text: gives a file's text, or None where there is none. top: the directory outside of which nothing is read; None, for what
    an option itself says, lets absolute paths be. real: a path with its links resolved. digest: the hash of a local package, or
    None where there is none. moves: the tree will be somewhere else when it is used, so that absolute paths never lead into it.
    lenient: a missing package is unknown instead of an error.
    """

    text: Reader
    top: t.Optional[str]
    real: t.Callable[[str], str] = os.path.realpath
    digest: t.Callable[[str], t.Optional[str]] = digest_on_disk
    moves: bool = False
    lenient: bool = False

    def holds(self, path: str) -> bool:
        """Whether the path is in the tree, links resolved."""
        return self.top is None or f"{self.real(path)}/".startswith(f"{self.real(self.top).rstrip('/')}/")


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


def read_requirements(path: str, tree: Tree) -> Requirements:
    """Read a requirement file and all that it includes.

    Raises WorkerError ``requirements_missing``, ``requirements_outside``, ``requirements_loop``, ``editable_requirement`` or
    ``unsupported_requirement``.
    """
    path = os.path.normpath(path)
    return _read(path, tree, f"The file {path}", ())


def parse_requirements(lines: t.Sequence[str], directory: t.Optional[str], tree: Tree, where: str) -> Requirements:
    """A list of requirement lines; relative paths in it are below ``directory`` (None: refused). where: what holds them, for messages."""
    return Requirements("", tuple(_line(text, directory, tree, where, ()) for text in logical_lines("\n".join(lines))))


def logical_lines(text: str) -> list[str]:
    """The lines as pip reads them: continued ones joined as they are, comments and empty ones left out."""
    lines: list[str] = []
    begun = ""
    for line in text.lstrip("\ufeff").splitlines():
        if re.match(r"\s*#", line):
            # A comment ends what it stands in.
            lines.append(begun)
            begun = ""
        elif line.endswith("\\"):
            begun += line.strip("\\")
        else:
            lines.append(begun + line)
            begun = ""
    bare = (re.sub(r"(^|\s+)#.*$", "", line) for line in [*lines, begun])
    return [" ".join(line.split()) for line in bare if line.strip()]


def local_path(requirement: str) -> str:
    """How a requirement writes the local directory or archive that it names (``./lib``, ``file:///x``), or an empty string."""
    text = _bare(requirement)
    direct = _DIRECT.match(text)
    target = direct.group("target") if direct else text
    if target.startswith("file:"):
        return target
    if "://" in target or target.startswith("-"):
        return ""
    path = target if direct else re.sub(r"\[[^\]/]*\]$", "", target)
    is_path = path.startswith((".", "/")) or "/" in path or path.lower().endswith(_ARCHIVES)
    return path if is_path else ""


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
            # Behind an @ both installers want an address.
            address = line.written.startswith("file:") or _DIRECT.match(_bare(line.text)) is not None
            lines.append(line.text.replace(line.written, f"file://{urllib.parse.quote(target)}" if address else target))
        else:
            lines.append(expand_variables(line.text, environ))
    return "\n".join(lines) + "\n"


def _bare(requirement: str) -> str:
    """Without options and markers."""
    return re.split(r"\s+--|\s+;|;\s", requirement)[0].strip()


def _read(path: str, tree: Tree, by: str, above: tuple[str, ...]) -> Requirements:
    """by: who names the file, as the subject of a sentence. above: the files that include it, the outermost first."""
    if path in above or len(above) == _DEEPEST:
        chain = " -> ".join([*above[-3:], path])
        raise WorkerError("requirements_loop", f"Requirement files include each other without an end: {chain}.", "Take one of these -r or -c lines out.")
    if not tree.holds(path):
        raise _outside(by, path, tree)
    text = tree.text(path)
    if text is None:
        words = f", which {by[0].lower()}{by[1:]} includes," if above else ""
        raise WorkerError("requirements_missing", f"The requirement file {path}{words} does not exist.", "Create it, or name another one.", path=path)
    lines = logical_lines(text)
    return Requirements(path, tuple(_line(line, os.path.dirname(path), tree, path, (*above, path)) for line in lines))


def _line(text: str, directory: t.Optional[str], tree: Tree, where: str, above: tuple[str, ...]) -> Line:
    if _EDITABLE.match(text):
        raise WorkerError(
            "editable_requirement",
            f"The line '{strip_credentials(text)}' of {where} is editable: the environment would change with a directory outside of it.",
            "Leave -e out: the package is then built and copied into the environment.",
        )
    include = _INCLUDE.match(text)
    if include:
        return _included(text, include, directory, tree, where, above)
    links = _FIND_LINKS.match(text)
    if links and "://" not in links.group("path"):
        found = _absolute(_unquoted(links.group("path"), text, where), directory, text, where)
        return Line(f"--find-links {found}", written=found)
    written = "" if text.startswith("-") else local_path(text)
    if not written:
        return Line(text)
    local = _inside(_file_path(written), directory, tree, text, where)
    return Line(text, local=local, written=written, digest=_digest(local, tree, text, where))


def _included(text: str, include: re.Match[str], directory: t.Optional[str], tree: Tree, where: str, above: tuple[str, ...]) -> Line:
    if "://" in include.group("path"):
        raise WorkerError(
            "unsupported_requirement",
            f"The line '{strip_credentials(text)}' of {where} includes an address, whose contents may change.",
            "Put a copy of that file beside the one that includes it.",
        )
    path = _inside(_unquoted(include.group("path"), text, where), directory, tree, text, where)
    # What an option names has a tree of its own.
    inner = dataclasses.replace(tree, top=os.path.dirname(path)) if tree.top is None else tree
    option = "-c" if include.group("option") in ("-c", "--constraint") else "-r"
    return Line(text, option=option, nested=_read(path, inner, _subject(text, where), above or (where,)))


def _subject(text: str, where: str) -> str:
    return f"The line '{strip_credentials(text)}' of {where}"


def _unquoted(path: str, text: str, where: str) -> str:
    """The one path that an option's value is, as a shell would read it, which is how pip does."""
    try:
        words = shlex.split(path)
    except ValueError:
        words = []
    if len(words) != 1:
        raise WorkerError("unsupported_requirement", f"{_subject(text, where)} does not name exactly one file.", "Put quotes around a path with blanks.")
    return words[0]


def _inside(written: str, directory: t.Optional[str], tree: Tree, text: str, where: str) -> str:
    """The absolute path. Raises WorkerError ``requirements_outside`` for one that the tree does not hold."""
    path = _absolute(written, directory, text, where)
    if not tree.holds(path) or (tree.moves and os.path.isabs(written)):
        raise _outside(_subject(text, where), path, tree)
    return path


def _outside(subject: str, path: str, tree: Tree) -> WorkerError:
    return WorkerError(
        "requirements_outside",
        f"{subject} leads to {tree.real(path)}, outside of {tree.top}.",
        "Copy it into that directory and name it there; or put a wheel of it into a directory of find_links, and write its name.",
        path=path,
    )


def _absolute(path: str, directory: t.Optional[str], text: str, where: str) -> str:
    if directory is None and not os.path.isabs(path):
        words = f"{_subject(text, where)} names a relative path, but is not in a file that it could be relative to."
        raise WorkerError("unsupported_requirement", words, "Write an absolute path.")
    return os.path.normpath(os.path.join(directory or "/", path))


def _file_path(written: str) -> str:
    if not written.startswith("file:"):
        return written
    path = urllib.parse.unquote(written[len("file:") :].split("#")[0])
    return path[len("//localhost") :] if path.startswith("//localhost/") else re.sub(r"^//(?=/)", "", path)


def _digest(local: str, tree: Tree, text: str, where: str) -> str:
    found = tree.digest(local)
    if found is not None:
        return found
    if tree.lenient:
        return UNKNOWN_TREE
    raise WorkerError("requirements_missing", f"{_subject(text, where)} names {local}, which does not exist.", "Create it, or take the line out.", path=local)


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
