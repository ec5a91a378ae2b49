# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The frame of every module: one place where errors become results and where time is measured."""

from __future__ import annotations

import os
import shlex
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from .errors import WorkerError
from .redact import MASK, MASKED_LENGTH


def run_module(module: AnsibleModule, work: t.Callable[[], dict[str, t.Any]], empty: t.Mapping[str, t.Any]) -> t.NoReturn:
    """Do the work and leave by ``exit_json`` or ``fail_json``.

    work: returns the result's keys; it may raise WorkerError, whose details then override them.
    empty: every key that the module returns with the value it has before any work, so that all paths return the same keys.
    Adds ``elapsed`` (seconds).
    """
    start = time.monotonic()
    result: dict[str, t.Any] = {"changed": False, "actions": [], "diff": {"before": {}, "after": {}}, **empty}
    # The directories that are made are for other accounts to read and for nobody else to write, whatever this login is used to.
    umask = os.umask(0o022)
    leave: t.Callable[..., t.NoReturn] = module.fail_json
    try:
        result.update(work())
        leave = module.exit_json
    except WorkerError as error:
        result.update(error.as_result())
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        look = f"Look at that path: ls -ld {shlex.quote(str(error.filename))}" if error.filename else ""
        result.update(code="os_error", msg=f"The operating system refused: {error.strerror}{where}.", remedy=OS_REMEDIES.get(error.errno or 0, look))
    finally:
        os.umask(umask)
    result["elapsed"] = round(time.monotonic() - start, 3)
    leave(**result)


def hide_secrets(module: AnsibleModule, option: str = "secrets") -> dict[str, t.Any]:
    """The options as they were given; those that Ansible prints as the invocation lose the secrets.

    By their value only long ones are masked: a secret "0" would leave no port, name or path in the result as it is.
    """
    given = dict(module.params)
    module.params[option] = dict.fromkeys(given[option] or {}, MASK)
    module.no_log_values = {value for value in module.no_log_values if len(value) >= MASKED_LENGTH}
    return given


OS_REMEDIES: dict[int, str] = {
    13: "Run it with the rights it needs (become: true), or choose a root that this user may write.",
    28: "Free space or inodes on that file system (df -h; df -i), then run the same command again.",
    30: "The file system is read-only: remount it, or choose another root.",
    122: "The disk quota is used up: free space, then run the same command again.",
}
