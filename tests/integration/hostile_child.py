# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs modules of the collection over and over: ``python hostile_child.py < CASES > ANSWERS``, a line of JSON each.

A case is ``[module, arguments]``; its answer is ``{"result", "did", "raised"}``: what the module printed, what it did to the machine
(files written, processes started, connections made: none of it is let through), and the traceback where it had one. The cases have
processes of their own, forked from this one, which has imported everything: one for so many of them, and another one after a case that it dies of.
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

Case = tuple[str, dict[str, t.Any]]
LONGEST = 5  # seconds of one case
TOGETHER = 50  # cases of one process: of a thousand forks, each measured, most of the time would go into forking and measuring
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


class Watch:
    """What the case at hand does to the machine. An audit hook stays as long as its process: all cases of one process share it."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.on = False
        self.own = os.getpid()
        sys.addaudithook(self.see)

    def see(self, event: str, details: tuple[t.Any, ...]) -> None:
        if self.on and os.getpid() == self.own and is_change(event, details):
            self.did.append(f"{event} {details!r}")
            # A case that gets through must not reach this machine: some mean its own directories.
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def run(module: t.Any, arguments: t.Mapping[str, t.Any], watch: Watch) -> dict[str, t.Any]:
    """The answer, in this very process."""
    internals = t.cast("t.Any", basic)
    internals._ANSIBLE_ARGS, internals._ANSIBLE_PROFILE = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode(), "legacy"
    environ = dict(os.environ)
    raised, printed = "", io.StringIO()
    watch.did, watch.on = [], True
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            module.main()
        except SystemExit:
            pass
        except BaseException:
            raised = traceback.format_exc()
    watch.on = False
    # Proxies that one case was given are not the next one's.
    os.environ.clear()
    os.environ.update(environ)
    lines = [line for line in printed.getvalue().splitlines() if line.startswith("{")]
    return {"result": json.loads(lines[-1]) if lines else {}, "did": watch.did, "raised": raised}


def module_of(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.ew_ai.worker.plugins.modules.{name}")


def answer(cases: t.Sequence[Case], stream: t.TextIO) -> None:
    """The answers as far as this process lives, each as soon as it is known."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    watch = Watch()
    for name, arguments in cases:
        signal.alarm(LONGEST)
        print(json.dumps(run(module_of(name), arguments, watch)), file=stream, flush=True)


def apart(cases: t.Sequence[Case]) -> list[str]:
    """The answers as JSON, from a process of its own; fewer where that died of one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with open(writing, "w", encoding="utf-8") as stream:
            answer(cases, stream)
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        lines = [line.rstrip("\n") for line in stream if line.endswith("\n")]
    os.waitpid(child, 0)
    return lines


def main() -> None:
    cases: list[Case] = [json.loads(line) for line in sys.stdin]
    for name in {name for name, _arguments in cases}:
        module_of(name)
    while cases:
        batch = cases[:TOGETHER]
        answers = apart(batch)
        if len(answers) < len(batch):
            answers.append(json.dumps({"result": {}, "did": [], "raised": f"it took longer than {LONGEST} s, or died"}))
        print("\n".join(answers), flush=True)
        cases = cases[len(answers) :]


if __name__ == "__main__":
    main()
