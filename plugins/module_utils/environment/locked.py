# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One conda package that a lock file names: nothing is left to a solver."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LockedPackage:
    """url: where it is, maybe with credentials, ``file://`` for a directory. sha256, md5: hexadecimal digits, empty where the lock has none."""

    url: str
    sha256: str = ""
    md5: str = ""
