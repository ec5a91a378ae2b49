# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs modules of the collection over and over: ``python hostile_child.py < CASES > ANSWERS``, a line of JSON each.

A case is ``[module, arguments]``; its answer is ``{"result", "did", "raised"}``: what the module printed, what it did to the machine
(files written, processes started, connections made: none of it is let through), and the traceback where it had one. Each case has a process of its own, forked
from this one, which has imported everything: hundreds of them take seconds.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import resource
import signal
import sys
import traceback
import typing as t

from ansible.module_utils import basic

LONGEST = 5  # seconds of one case
MEMORY = 2 << 30  # bytes of one case: who reads a device without end is stopped
CHANGING = {
    f"os.{name}" for name in "mkdir rename remove rmdir symlink link chmod chown truncate utime setxattr kill killpg exec fork forkpty posix_spawn".split()
}
CHANGING |= {"subprocess.Popen", "os.system", "socket.connect", "socket.bind", "shutil.rmtree", "shutil.move", "shutil.copytree"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What only looks: systemd's version, and whether a unit is there.
LOOKING = ("systemctl", "--version"), ("systemctl", "show")


def is_change(event: str, arguments: tuple[t.Any, ...]) -> bool:
    """Whether the event leaves something behind, or reaches somebody."""
    if event == "open":
        return bool(arguments[2] & WRITING) and arguments[0] != os.devnull
    if event == "subprocess.Popen":
        return tuple(arguments[1][:2]) not in LOOKING
    return event in CHANGING


def run(module: t.Any, arguments: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The answer, in this very process."""
    internals = t.cast("t.Any", basic)
    internals._ANSIBLE_ARGS, internals._ANSIBLE_PROFILE = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode(), "legacy"
    did: list[str] = []
    own = os.getpid()

    def watch(event: str, details: tuple[t.Any, ...]) -> None:
        if os.getpid() == own and is_change(event, details):
            did.append(f"{event} {details!r}")
            # A case that gets through must not reach this machine: some mean its own directories.
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    raised, printed = "", io.StringIO()
    sys.addaudithook(watch)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            module.main()
        except SystemExit:
            pass
        except BaseException:
            raised = traceback.format_exc()
    lines = [line for line in printed.getvalue().splitlines() if line.startswith("{")]
    return {"result": json.loads(lines[-1]) if lines else {}, "did": did, "raised": raised}


def apart(module: t.Any, arguments: t.Mapping[str, t.Any]) -> str:
    """The answer as JSON, from a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(LONGEST)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        with open(writing, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(run(module, arguments)))
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer or json.dumps({"result": {}, "did": [], "raised": f"it took longer than {LONGEST} s, or died"})


def main() -> None:
    for line in sys.stdin:
        name, arguments = json.loads(line)
        module = importlib.import_module(f"ansible_collections.ew_ai.worker.plugins.modules.{name}")
        print(apart(module, arguments), flush=True)


if __name__ == "__main__":
    main()
