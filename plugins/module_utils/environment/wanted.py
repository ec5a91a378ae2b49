# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From the module's options to what is wanted: checked, and with every file read once."""

from __future__ import annotations

import os
import typing as t

from ..errors import OptionError, WorkerError
from ..files import read_text
from ..layout import Layout
from ..names import check_file, check_path, check_root
from .content import Content, this_platform
from .environment_file import EnvironmentFile
from .inputs import parse_input
from .place import Place, is_name
from .requirements import Reader, Requirements, Tree, parse_requirements, read_requirements
from .specs import check_channels, check_lines, check_packages, check_python_version, is_version, refuse_anaconda

Options = t.Mapping[str, t.Any]


def wanted_place(options: Options) -> Place:
    """Where. Raises OptionError."""
    for option in ("root", "prefix", "cache", "serving_prefix", "mirror"):
        value = options.get(option)
        if value or option == "root":
            (check_root if option in ("root", "prefix") else check_path)(option, value)
    if options.get("name") and not is_name(options["name"]):
        problem = "it must begin with a letter or digit and go on with letters, digits, '.', '_' or '-'"
        raise OptionError("name", options["name"], problem, "Choose a name such as ew_ai_worker.")
    root = os.path.normpath(options["root"])
    prefix = options.get("prefix")
    return Place(
        root=root,
        cache=os.path.normpath(options.get("cache") or os.path.join(root, "cache")),
        name=options.get("name"),
        prefix=os.path.normpath(prefix) if prefix else None,
    )


def wanted_content(options: Options, check: bool, platform: str = "") -> Content:
    """What, for this machine's platform unless one is given. check: the texts in ``planned_files`` stand in for files that do not exist yet.

    Raises WorkerError.
    """
    planned = options.get("planned_files") or {}
    read = _reader(planned if check else {})
    platform = platform or this_platform()
    listed = _environment_file(options, read, platform)
    python_version = check_python_version(options.get("python_version"))
    if listed.locked:
        check_lock(listed, options, python_version)
        python_version = None
    packages = check_packages([*(options.get("packages") or []), *listed.packages])
    pip = parse_requirements(check_lines(options.get("pip") or []), None, Tree(read, None, lenient=check), "the option pip")
    if options.get("file"):
        tree = Tree(read, tree_of(options["file"], options), lenient=check)
        of_file = parse_requirements(listed.pip, os.path.dirname(os.path.normpath(options["file"])), tree, options["file"])
        pip = Requirements("", (*pip.lines, *of_file.lines))

    def files(option: str) -> tuple[Requirements, ...]:
        paths = [_absolute(option, path) for path in options.get(option) or []]
        return tuple(read_requirements(path, Tree(read, tree_of(path, options), lenient=check)) for path in paths)

    content = Content(
        python_version=python_version,
        packages=packages,
        channels=check_channels(options.get("channels") or listed.channels, bool(options.get("allow_anaconda_defaults"))),
        requirements=files("requirements"),
        constraints=files("constraints"),
        pip=pip,
        variables=listed.variables,
        installer=options["installer"],
        platform=platform,
        locked=listed.locked,
    )
    if content.locked and content.wants_pip and not content.has_python:
        problem = "it locks no Python, but Python packages are to be installed"
        raise OptionError("file", options["file"], problem, "Lock a Python, too; or leave requirements and pip empty.")
    if not content.locked and not content.conda_specs("uv"):
        raise WorkerError(
            "empty_environment",
            "Nothing is to be installed: python_version, packages, file, requirements and pip are all empty.",
            'Give at least one of them, for example python_version: "3.10".',
        )
    return content


def _reader(planned: t.Mapping[str, str]) -> Reader:
    texts = {os.path.normpath(path): str(text) for path, text in planned.items()}

    def read(path: str) -> t.Optional[str]:
        text = read_text(path)
        return texts.get(path) if text is None else text

    return read


def tree_of(path: str, options: Options) -> str:
    """The directory that a file may refer to: the release that it is in, else the directory that it lies in."""
    releases = os.path.normpath(Layout(options["root"]).releases)
    below = os.path.relpath(os.path.normpath(path), releases).split(os.sep)
    return os.path.join(releases, below[0]) if len(below) > 1 and below[0] != os.pardir else os.path.dirname(os.path.normpath(path))


def check_lock(listed: EnvironmentFile, options: Options, python_version: t.Optional[str]) -> None:
    """A lock decides alone: what says something else beside it is refused. Raises OptionError, or WorkerError ``channel_refused``."""
    for package in listed.locked:
        refuse_anaconda("file", package.address, bool(options.get("allow_anaconda_defaults")))
    if options.get("packages"):
        problem = f"{options['file']} is a lock, which says alone which conda packages there are"
        raise OptionError("packages", options["packages"], problem, "Lock with these packages, or leave packages empty.")
    # Several only where the platform is not known yet.
    pythons = [package.version for package in listed.locked if package.name == "python"]
    if python_version is not None and not any(is_version(python, python_version) for python in pythons):
        problem = f"{options['file']} is a lock, which has {f'Python {pythons[0]}' if pythons else 'no Python'}"
        remedy = f'Set python_version: "{".".join(pythons[0].split(".")[:2])}", or leave it empty ("")' if pythons else 'Leave python_version empty ("")'
        raise OptionError("python_version", python_version, problem, f"{remedy}: the lock decides.")


def _environment_file(options: Options, read: Reader, platform: str) -> EnvironmentFile:
    path = options.get("file")
    if not path:
        return EnvironmentFile((), (), (), ())
    place = os.path.normpath(_absolute("file", path))
    if not Tree(read, tree_of(place, options)).holds(place):
        raise OptionError("file", path, f"it is a link to {os.path.realpath(place)}", "Name the file itself.")
    text = read(place)
    if text is None:
        raise OptionError("file", path, "there is no such file on the host", "Copy it there first, or name another one.")
    return parse_input(text, path, platform)


def _absolute(option: str, path: str) -> str:
    if not os.path.isabs(path):
        raise OptionError(option, path, "it must be an absolute path on the host", f"Write {os.path.abspath(path)}, if that is what you mean.")
    return check_file(option, path)
