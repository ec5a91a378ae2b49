# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What may name a worker, an instance and a directory: one rule for all modules, since paths and units are made of them.

Needs nothing of Ansible and touches no disk.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import typing as t

from .errors import OptionError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LONGEST_NAME = 64
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
_LONGEST_ACCOUNT = 32  # what useradd takes
# Of one directory or file; of a whole path, below which we make names of our own.
_LONGEST_PART, _LONGEST_PATH = 255, 1000
# Blanks and quotes end words in units and shebangs, a colon ends an entry of PATH, and systemd and supervisord expand the rest.
_NOT_IN_PATHS = re.compile(r"[\s:\"'\\$*?\[\x00-\x1f\x7f\ud800-\udfff]")
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
    if len(os.fsencode(value)) > _LONGEST_PATH or any(len(part) > _LONGEST_PART for part in os.fsencode(value).split(b"/")):
        raise OptionError(option, value, f"it is longer than {_LONGEST_PATH} bytes, or a name in it than {_LONGEST_PART}", "Choose a shorter one.")
    return value.rstrip("/")


def check_file(option: str, path: str) -> str:
    """The path as it is, where a regular file is there or nothing: a pipe or a device would be read for ever. Raises OptionError."""
    if "\0" in path or len(os.fsencode(path)) > _LONGEST_PATH:
        raise OptionError(option, path, f"it has a null byte, or more than {_LONGEST_PATH} bytes", "Give the path of a file.")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise OptionError(option, path, f"the operating system refuses it ({error.strerror})", "Give the path of a file.") from None
        return path
    if not stat.S_ISREG(mode):
        raise OptionError(option, path, "it is no regular file", "Give the path of a file.")
    return path


def check_account(option: str, value: str) -> str:
    """The name of an account as it is, whether there is one or not. Raises OptionError."""
    if len(value) > _LONGEST_ACCOUNT or not _ACCOUNT.fullmatch(value):
        remedy = f"Write the name of an account: letters, digits, '_', '.' and '-', {_LONGEST_ACCOUNT} at most."
        raise OptionError(option, value, "it is not valid", remedy)
    return value


def check_root(option: str, value: t.Optional[str]) -> str:
    """``check_path``, and no directory that belongs to the system. Raises OptionError."""
    root = check_path(option, value)
    if root in _SYSTEM:
        raise OptionError(option, root, "it is a directory of the system", f"Choose one of its own, such as {root}/ew_ai_worker.")
    return root
