# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A conda or micromamba that answers as recorded: it finds the row by what it is asked, writes and ends as the row says, and makes the prefix that it left.

Run as ``python replay.py TRANSCRIPT LOG LABEL ARGUMENT…``; imports nothing of the project. LABEL picks among rows that ask the same,
empty for the first one. LOG gets a line of JSON for each call: argv, the whole environment, and what comes as a line of JSON.

With the one argument ``rattler`` it is the child in which py-rattler is called: a request comes as a line of JSON, and the answer goes out in lines of JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import sys
import typing as t

Question = t.Tuple[str, t.FrozenSet[str], t.FrozenSet[str], bool]
_TAKES_VALUE = {"-p": "prefix", "--prefix": "prefix", "-c": "channel", "--channel": "channel", "--file": "file", "-n": "name", "--channel-priority": "priority"}
# Ours, or a row's own way to leave nothing behind.
_IGNORED = re.compile(r"^(?:-y|--yes|--json|--override-channels|--dry-run|--no-.*|--strict-channel-priority|--copy|--always-copy)$")


def question(argv: t.Sequence[str]) -> t.Tuple[Question, t.Dict[str, str]]:
    """What is asked, as far as two calls must agree in it, and the values of the options."""
    words = list(argv)
    channels: t.Set[str] = set()
    specs: t.Set[str] = set()
    options: t.Dict[str, str] = {}
    command = words.pop(0)
    while words:
        word = words.pop(0)
        if word in _TAKES_VALUE:
            options[_TAKES_VALUE[word]] = words.pop(0)
            if _TAKES_VALUE[word] == "channel":
                channels.add(options["channel"])
        elif word == "--offline":
            options["offline"] = word
        elif not _IGNORED.match(word):
            specs.add(word)
    return (command, frozenset(channels), frozenset(specs), "file" in options), options


def recorded_argv(row: t.Mapping[str, t.Any]) -> t.List[str]:
    """Without the program, and what it was started by."""
    words = [str(each) for each in row["argv"]]
    return words[next(number for number, word in enumerate(words) if word.endswith(("/conda", "/micromamba", "/mkenv.py"))) + 1 :]


def make_prefix(prefix: str, after: t.Mapping[str, t.Any]) -> None:
    """The records, and a Python where one of them is its."""
    if not after.get("exists"):
        return
    meta = pathlib.Path(prefix, "conda-meta")
    for name in after.get("top") or ():
        path = pathlib.Path(prefix, name)
        path.touch() if "." in name[1:] else path.mkdir(parents=True, exist_ok=True)
    for name in after.get("conda_meta") or ():
        meta.mkdir(parents=True, exist_ok=True)
        parts = re.match(r"^(.+)-([^-]+)-([^-]+)\.json$", name)
        record: t.Optional[t.Dict[str, t.Any]] = {"name": parts[1], "version": parts[2], "build": parts[3], "depends": []} if parts else None
        (meta / name).write_text(json.dumps(record) if record else "")
        if name.startswith("python-"):
            python = pathlib.Path(prefix, "bin/python")
            python.write_text("#!/bin/sh\n")
            python.chmod(0o755)


def end(status: int) -> t.NoReturn:
    """As recorded: with that status, or killed by that signal."""
    if status < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def answer_of_library(row: t.Mapping[str, t.Any]) -> t.List[str]:
    """What our child writes when the library did as it is recorded; nothing where it was killed."""
    if row["stdout"]:
        keys = ("name", "version", "build")
        packages = [{**dict(zip(keys, link)), "channel": recorded_argv(row)[1]} for link in json.loads(row["stdout"])["link"]]
        return [json.dumps({"progress": "solve"}), json.dumps({"records": [], "packages": packages})]
    raised = re.search(r"^exceptions\.(\w+): (.+)|^(KeyboardInterrupt)$", row["stderr"], re.MULTILINE | re.DOTALL)
    return [json.dumps({"error": raised[1] or raised[3], "message": (raised[2] or "").strip()})] if raised else []


def main() -> None:
    transcript, log, label, *argv = sys.argv[1:]
    request = json.loads(sys.stdin.readline()) if argv == ["rattler"] else {}
    with open(log, "a", encoding="utf-8") as handle:
        handle.write(json.dumps({"argv": argv, "env": dict(os.environ), **({"request": request} if request else {})}) + "\n")
    rows = json.loads(pathlib.Path(transcript).read_text(encoding="utf-8"))
    if request:
        row = next(row for row in rows if row["label"] == label)
        make_prefix(request["prefix"], row["after"])
        print(*answer_of_library(row), sep="\n", flush=True)
        end(row["rc"])
    asked, options = question(argv)
    fitting = [row for row in rows if question(recorded_argv(row))[0] == asked and (asked[0] != "create" or not label or row["label"] == label)]
    if not fitting:
        sys.exit(f"no recorded row asks {argv} ({label})")
    row = fitting[0]
    recorded = question(recorded_argv(row))[1].get("prefix", "")
    for stream, text in ((sys.stdout, row["stdout"]), (sys.stderr, row["stderr"])):
        stream.write((text or "").replace(recorded, options["prefix"]) if recorded else text or "")
        stream.flush()
    if "prefix" in options:
        make_prefix(options["prefix"], row.get("after") or {})
    end(row["rc"])


if __name__ == "__main__":
    main()
