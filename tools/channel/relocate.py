# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts of an interpreter that name the place it was built for, rewritten for a prefix that is not known yet."""

from __future__ import annotations

import ast
import pprint
import re
from dataclasses import dataclass
from pathlib import Path

# Installers put the real prefix in its place. In a binary the new text must fit into the old one's length.
PLACEHOLDER = "/opt/ew_channel_placeholder".ljust(255, "_")

# A distribution's own prefix is the root of half the system, so there only what describes Python itself may move.
SYSTEM_PREFIXES = ("/usr",)
OWN_VARIABLES = frozenset(
    "BINDIR BINLIBDEST CONFINCLUDEDIR CONFINCLUDEPY DESTDIRS DESTLIB DESTSHARED INCLDIRSTOMAKE INCLUDEDIR INCLUDEPY"
    " LIBDEST LIBDIR LIBP LIBPC LIBPL MACHDESTLIB MANDIR SCRIPTDIR datarootdir exec_prefix prefix".split()
)
WHEEL_DIR = "WHEEL_PKG_DIR"

# Debian sends what pip installs to /usr/local and looks for packages in dist-packages. A conda prefix is nobody
# else's: these put CPython's own layout back.
_SYSCONFIG_PATCH = """\
# This interpreter was Debian's and has moved into a conda prefix: packages go where CPython puts them.
for _name in ("deb_system", "posix_local"):
    _INSTALL_SCHEMES.pop(_name, None)


def _get_preferred_schemes():
    return {"prefix": "posix_prefix", "home": "posix_home", "user": "posix_user"}


"""
_DISTUTILS_PATCH = """

# This interpreter was Debian's and has moved into a conda prefix, which is laid out like a virtual environment.
def is_virtual_environment():
    return True
"""
# ``site`` is frozen into the program since 3.11, so no edit of site.py helps: a .pth file where it does look.
SITE_HOOK = "_ew_site_packages"
SITE_HOOK_MODULE = '''\
"""This interpreter was Debian's and has moved into a conda prefix: packages lie where CPython puts them."""
import os
import site
import sys

_HOME = os.path.dirname(os.path.abspath(__file__))


def getsitepackages(prefixes=None):
    """Return the site-packages directories of the prefixes."""
    name = "python%d.%d" % sys.version_info[:2]
    prefixes = site.PREFIXES if prefixes is None else prefixes
    return [os.path.join(prefix, "lib", name, "site-packages") for prefix in dict.fromkeys(prefixes)]


site.getsitepackages = getsitepackages
sys.path[:] = [path for path in sys.path if path != os.path.join(_HOME, "dist-packages")]
site.addsitedir(os.path.join(_HOME, "site-packages"))
'''


@dataclass(frozen=True)
class Origin:
    """Where the interpreter was built to live."""

    prefix: Path
    multiarch: str

    @property
    def shared(self) -> bool:
        """Whether its prefix is the system's."""
        return str(self.prefix) in SYSTEM_PREFIXES

    def moved(self, text: str) -> str:
        """The text with every path below the old prefix below the placeholder."""
        if self.multiarch:
            text = _replace_path(text, f"{self.prefix}/lib/{self.multiarch}", f"{PLACEHOLDER}/lib")
        return _replace_path(text, str(self.prefix), PLACEHOLDER)


def _replace_path(text: str, old: str, new: str) -> str:
    """Replace a path where it ends at a boundary: /usr in /usr/lib, but not in /usr2 or in ./usr."""
    return re.sub(rf"(?<![\w./-]){re.escape(old)}(?![\w.-])|(?<=-[LI]){re.escape(old)}(?![\w.-])", lambda _found: new, text)


def sysconfigdata(text: str, origin: Origin, wheels: str) -> str:
    """The module that ``sysconfig`` reads its variables from, for the new place.

    ``wheels`` is where ensurepip finds its wheels, below the prefix; empty if it has them in the usual place.
    """
    head, _mark, literal = text.partition("build_time_vars =")
    variables: dict[str, object] = ast.literal_eval(literal.strip())
    for name, value in variables.items():
        if isinstance(value, str) and (name in OWN_VARIABLES or not origin.shared):
            variables[name] = origin.moved(value)
    if variables.get(WHEEL_DIR):
        variables[WHEEL_DIR] = f"{PLACEHOLDER}/{wheels}" if wheels else ""
    # A width beyond any value keeps each string in one piece: a placeholder split over two lines is not replaced.
    return f"{head}build_time_vars = {pprint.pformat(variables, width=1_000_000)}\n"


def makefile(text: str, origin: Origin) -> str:
    """The Makefile beside the library, for the new place."""
    if not origin.shared:
        return origin.moved(text)
    lines = []
    for line in text.splitlines(keepends=True):
        name = line.partition("=")[0].strip()
        lines.append(origin.moved(line) if name in OWN_VARIABLES else line)
    return "".join(lines)


def script(text: str) -> str:
    """A Python script whose first line named the old interpreter."""
    _line, _end, body = text.partition("\n")
    return f"#!{PLACEHOLDER}/bin/python3\n{body}"


def sysconfig_module(text: str) -> str:
    """Debian's ``sysconfig`` with CPython's own choice of directories.

    Unchanged when it has no such function: running the interpreter shows whether that is right.
    """
    # Before the functions that take the choice as a default argument when they are defined.
    return re.sub(r"^def get_preferred_scheme\(", lambda match: _SYSCONFIG_PATCH + match[0], text, count=1, flags=re.MULTILINE)


def distutils_sysconfig(text: str) -> str:
    """Debian's ``distutils.sysconfig`` with CPython's own choice of directories."""
    return text + _DISTUTILS_PATCH
