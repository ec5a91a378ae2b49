# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an uninstall leaves on a host, against a committed list."""

from __future__ import annotations

import fnmatch
import pathlib
import typing as t


def patterns(file: pathlib.Path) -> list[str]:
    """The list: a path that may differ on each line, as fnmatch takes it; a reason may follow after ``#``."""
    return [line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines() if line.split("#")[0].strip()]


def unexpected(before: t.Mapping[str, str], after: t.Mapping[str, str], file: pathlib.Path) -> list[str]:
    """The paths in which two listings of a host differ and which are not in the list."""
    known = patterns(file)
    differing = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    return sorted(path for path in differing if not any(fnmatch.fnmatch(path, one) for one in known))
