# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is run, as pure functions."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

from tools.checkout import CACHE, CHECKOUT

WORKER = "ew-worker"
EXAMPLE = CHECKOUT / "examples" / "worker"
CALLS = (("infer",), ("train",))
VERBS = {"deploy": "deploy", "undeploy": "uninstall", "status": "status"}


def choose_command(python: str) -> list[str]:
    """Prints where packages come from, as JSON."""
    return [python, "-m", "tools.channel", "choose", "--cache", str(CACHE / "channel")]


def channel_variables(choice: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The role's variables for a choice of tools.channel. A packed channel has one Python, and that is then the one deployed."""
    variables: dict[str, t.Any] = {"worker_channels": [choice["channel"]]}
    if choice["python_version"]:
        variables["worker_python_version"] = choice["python_version"]
    return variables


def playbook_command(python: str, verb: str, variables: t.Mapping[str, t.Any], extra: t.Sequence[str]) -> list[str]:
    """ansible-playbook for a verb of this tool. extra: the user's own arguments; they come last and win."""
    program = str(pathlib.Path(python).parent / "ansible-playbook")
    command = [program, str(CHECKOUT / "playbooks" / f"{VERBS[verb]}.yml"), "-i", str(CHECKOUT / "inventories" / "local")]
    given = {**variables, **({"worker_purge": True} if verb == "undeploy" else {})}
    return [*command, *(["-e", json.dumps(given)] if given else []), *extra]


def root(environ: t.Mapping[str, str]) -> pathlib.Path:
    """The root that inventories/local sets."""
    data = environ.get("XDG_DATA_HOME") or f"{environ.get('HOME', '~')}/.local/share"
    return pathlib.Path(data).expanduser() / "ew_ai_worker"


def root_problem(environ: t.Mapping[str, str], extra: t.Sequence[str]) -> str:
    """Why no worker can live in that root, with the remedy; empty where one can, or where extra names another."""
    path = root(environ)
    if not re.search(r"[\s:]", str(path)) or any("worker_root" in each for each in extra):
        return ""
    return (
        f"the worker would live in '{path}', but a conda environment cannot live below a path with blanks or colons. "
        "Name another directory, the same in every call: export XDG_DATA_HOME=/var/tmp/my-workers"
    )


def endpoints_file(environ: t.Mapping[str, str]) -> pathlib.Path:
    """What the deploy keeps for whoever routes calls, below the root."""
    return root(environ) / "workers" / WORKER / "endpoints.json"


def client_command(python: str, address: str, *arguments: str) -> list[str]:
    """The example's own client, started in EXAMPLE."""
    return [python, "-m", "worker.client", "--address", address, *arguments]


def serving(text: str) -> str | None:
    """``host:port`` of the first endpoint that serves."""
    rows = json.loads(text)["endpoints"]
    return next((f"{row['address']}:{row['port']}" for row in rows if str(row["status"]).lower() == "serving"), None)
