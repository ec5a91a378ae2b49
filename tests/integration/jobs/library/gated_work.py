# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module for tests of jobs: it makes a file when the test opens the gate, and tells every step."""

from __future__ import annotations

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.job import Job
from ansible_collections.ew_ai.worker.plugins.module_utils.module import run_module


def work(module: AnsibleModule) -> dict[str, t.Any]:
    options = module.params
    job = Job(module, options["jobs"])
    if os.path.exists(options["path"]):
        return {"changed": False}
    if module.check_mode:
        return {"changed": True}
    progress = job.detach(path=options["path"])
    with open(f"{options['path']}.pids", "a") as handle:
        handle.write(f"{os.getpid()} {os.getppid()}\n")
    progress(f"begins with {options['secret']} from https://user:password@host/x\nand more")
    while not os.path.exists(options["gate"]):
        time.sleep(0.02)
    progress("the gate is open")
    if options["fail"]:
        raise WorkerError("bad_work", f"The work with {options['secret']} failed.", "Do it again.", made=[])
    # imported only now: the module's own files must still be there
    from ansible_collections.ew_ai.worker.plugins.module_utils.files import write_text

    write_text(options["path"], "made\n")
    module.warn("made with a warning")
    return {"changed": True, "made": [options["path"]]}


def main() -> None:
    spec = {
        "path": {"type": "path", "required": True},
        "jobs": {"type": "path", "required": True},
        "gate": {"type": "path", "required": True},
        "secret": {"type": "str", "no_log": True},
        "fail": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    run_module(module, lambda: work(module), {"made": []})


if __name__ == "__main__":
    main()
