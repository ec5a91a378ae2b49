# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What may name a worker, an instance and a directory: one rule for all modules, since paths and units are made of them.

Needs nothing of Ansible and touches no disk.
"""

from __future__ import annotations

import os
import re
import typing as t

from .errors import OptionError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST_NAME = 64
# Blanks and quotes end words in units and shebangs, a colon ends an entry of PATH, and systemd and supervisord expand the rest.
_NOT_IN_PATHS = re.compile(r"[\s:\"'\\$*?\[\x00-\x1f\x7f]")
# uninstall removes cache/, envs/, locks/ … below the root: there these are somebody else's.
_SYSTEM = frozenset(
    "/bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr /usr/bin /usr/lib /usr/local "
    "/usr/local/lib /usr/share /var /var/cache /var/lib /var/local /var/log /var/opt /var/tmp".split()
)


def check_name(option: str, value: str) -> str:
    """The name as it is. Raises OptionError."""
    if len(value) > _LONGEST_NAME:
        raise OptionError(option, value, f"it is longer than {_LONGEST_NAME} characters", "Choose a shorter one.")
    if not _NAME.fullmatch(value):
        remedy = "Write lower-case letters, digits, '_' and '-', with a letter or digit first."
        raise OptionError(option, value, "it is not valid", remedy)
    return value


def is_name(value: str) -> bool:
    """Whether ``check_name`` would take it."""
    return len(value) <= _LONGEST_NAME and _NAME.fullmatch(value) is not None


def check_path(option: str, value: t.Optional[str]) -> str:
    """The path without a slash at its end. Raises OptionError."""
    if not value:
        raise OptionError(option, value, "it is missing", "Give an absolute path.")
    if not os.path.isabs(value) or os.path.normpath(value) != value.rstrip("/"):
        raise OptionError(option, value, "it is not an absolute path without '.' and '..'", "Write the whole path.")
    if _NOT_IN_PATHS.search(value):
        raise OptionError(option, value, "it has a blank, a colon, a quote, a backslash or one of $ * ? [", "Choose a path without these.")
    return value.rstrip("/")


def check_root(option: str, value: t.Optional[str]) -> str:
    """``check_path``, and no directory that belongs to the system. Raises OptionError."""
    root = check_path(option, value)
    if root in _SYSTEM:
        raise OptionError(option, root, "it is a directory of the system", f"Choose one of its own, such as {root}/ew_ai_worker.")
    return root
