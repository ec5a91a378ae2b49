# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: ``python -m tools.local deploy|status|undeploy [arguments of ansible-playbook]``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import typing as t

from tools.checkout import CACHE, CHECKOUT, environment, link_collection

from . import commands


def main() -> int:
    """ansible-playbook's status, or that of the first thing that went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.local",
        description="The example worker on this machine.",
        epilog="Further arguments go to ansible-playbook: -v, --check, -e worker_port=50055 …",
    )
    parser.add_argument("verb", choices=sorted(commands.VERBS))
    arguments, extra = parser.parse_known_args()
    problem = commands.root_problem(os.environ, extra)
    if problem:
        print(f"make {arguments.verb}: {problem}", file=sys.stderr)
        return 1
    try:
        return act(arguments.verb, extra)
    except KeyboardInterrupt:
        print("\nInterrupted. `make deploy` goes on from here, `make undeploy` removes what is there.", file=sys.stderr)
        return 130


def act(verb: str, extra: list[str]) -> int:
    """Run the verb's playbook, and after a deploy call the worker."""
    start = time.monotonic()
    link_collection()
    variables = {}
    if verb == "deploy":
        status, chosen = run(commands.choose_command(sys.executable), stdout=subprocess.PIPE)
        if status:
            return status
        variables = commands.channel_variables(json.loads(chosen))
    # Nothing of this is to stay in the user's home directory
    own = {"ANSIBLE_HOME": str(CACHE / "ansible"), "ANSIBLE_REMOTE_TEMP": str(CACHE / "ansible" / "tmp"), "XDG_CACHE_HOME": str(CACHE)}
    status, _nothing = run(commands.playbook_command(sys.executable, verb, variables, extra), env=environment(own))
    if verb == "deploy" and not status and not {"--check", "-C"} & set(extra):
        status = call_worker()
        print(f"Done in {time.monotonic() - start:.0f} s. `make status` shows the worker, `make undeploy` removes it.", flush=True)
    return status


def run(command: list[str], **options: t.Any) -> tuple[int, str]:
    """(status, output if it is piped) of a command in the checkout. Ctrl-C reaches the command as well: it is left to end in its own way."""
    with subprocess.Popen(command, cwd=CHECKOUT, text=True, **options) as process:
        try:
            output, _nothing = process.communicate()
        except KeyboardInterrupt:
            process.wait()
            raise
        return process.returncode, output or ""


def call_worker() -> int:
    """Call the worker as an application would."""
    path = commands.endpoints_file(os.environ)
    address = commands.serving(path.read_text(encoding="utf-8")) if path.is_file() else None
    if address is None:
        print(f"No instance serves, so there is nothing to call (see {path}).", flush=True)
        return 0
    python = os.path.relpath(sys.executable, commands.EXAMPLE)
    for call in commands.CALLS:
        command = commands.client_command(python, address, *call)
        print(f"\n$ cd {commands.EXAMPLE.relative_to(CHECKOUT)} && {' '.join(command)}", flush=True)
        status = subprocess.run(command, cwd=commands.EXAMPLE, check=False, stdin=subprocess.DEVNULL).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
