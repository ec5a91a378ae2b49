# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Becomes an instance's process: reads its command and variables from a file and replaces itself by it.

Copied to the host and run there by supervisord as ``starter.py <instance file>``. supervisord's own configuration cannot
hold every value (quotes, ``;``, newlines), and what stands in it cannot be kept from other readers of it.
"""

from __future__ import annotations

import json
import os
import sys


def main(path: str) -> int:
    """Replace this process. Returns the shell's status for a program that cannot be run."""
    with open(path, encoding="utf-8") as handle:
        wanted = json.load(handle)
    variables = {name: value for name, value in os.environ.items() if name.startswith("SUPERVISOR_")}
    variables.update(wanted["environ"])
    variables.update(wanted["secrets"])
    os.umask(0o027)
    try:
        os.execve(wanted["argv"][0], wanted["argv"], variables)
    except OSError as error:
        sys.stderr.write(f"cannot run {wanted['argv'][0]}: {error.strerror}\n")
    return 127


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
