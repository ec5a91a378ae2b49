# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of many kinds under systemd: each arrives as it was written, and nobody else can read it anywhere."""

from __future__ import annotations

import json
import shlex

from tests.figures import tell
from tests.molecule.fleet import Fleet, script
from tests.molecule.plugin import Expect
from tests.planted import VALUES, forms, leaked, variables

ROOT = "/opt/ew_ai_worker"
# What anybody may ask systemd for, over its bus and by its command.
PROPERTIES = """
systemctl show --all 'ew-worker*'; systemctl cat 'ew-worker*'; systemctl status --full 'ew-worker*'
for unit in ew_2dworker_400_2eservice ew_2dworker_401_2eservice ew_2dworker_2etarget; do
    busctl introspect --no-pager --full org.freedesktop.systemd1 /org/freedesktop/systemd1/unit/$unit
done
"""


def holders(fleet: Fleet, host: str, account: str, *paths: str) -> list[str]:
    """The files and processes on a host in which the account can read a secret."""
    # Backwards: the command line of the search itself is one of those that it looks at.
    texts = json.dumps([form.hex()[::-1] for each in VALUES for form in sorted(forms(each.core))])
    found: list[str] = json.loads(fleet.on(host, f"cd / && runuser -u {account} -- {script('holders', texts, *paths)}"))
    return found


def test_every_secret_reaches_the_process_as_it_was_written(fleet: Fleet, expect: Expect) -> None:
    for host in fleet.hosts:
        pid = fleet.processes(host)["0"].pid
        program = f"import json; print(json.dumps(open('/proc/{pid}/environ').read().split(chr(0))))"
        shown = fleet.on(host, f"runuser -u ew-worker -- python3 -c {shlex.quote(program)}")
        pairs = dict(each.partition("=")[::2] for each in json.loads(shown))
        for name, value in variables().items():
            expect(f"{name} of the worker on {host}", value, pairs.get(name))


def test_nobody_else_can_read_one(fleet: Fleet, expect: Expect) -> None:
    for host in fleet.hosts:
        expect(f"files and processes on {host} in which anybody reads a secret", [], holders(fleet, host, "nobody", "/"))
        kept = holders(fleet, host, "root", "/opt", "/etc", "/var", "/tmp", "/root", "/run")
        files = [path for path in kept if not path.startswith("/proc/")]
        expect(f"files on {host} that hold them", [], [path for path in files if not path.startswith(f"{ROOT}/workers/ew-worker/secrets/")])
        assert files, "they are somewhere"
        expect(f"their modes on {host}", "600", fleet.on(host, f"stat -c %a {shlex.join(files)} | sort -u"))
        for account in ("root", "nobody"):
            shown = fleet.on(host, f"runuser -u {account} -- sh -c {shlex.quote(PROPERTIES)}", check=False)
            assert "ExecStart" in shown
            assert ".EnvironmentFiles" in shown
            expect(f"what systemd tells {account} on {host}", [], leaked(shown, VALUES))
        expect(f"journal of {host}", [], leaked(fleet.on(host, "journalctl --no-pager --all"), VALUES))
        expect(f"command lines on {host} during a deploy", [], leaked("\n".join(fleet.kept["commands"][host]), VALUES))
    tell(f"{len(VALUES)} kinds of secrets in the variables of a worker under systemd, on {len(fleet.hosts)} hosts")


def test_no_output_and_no_report_has_one(fleet: Fleet, expect: Expect) -> None:
    assert "<b1> SSH: EXEC" in fleet.runs["next"].output or "ESTABLISH" in fleet.runs["next"].output, "it was printed with -vvv"
    expect("deploy -vvv --diff: output and report", [], leaked(fleet.runs["next"].output + json.dumps(fleet.runs["next"].report), VALUES))
