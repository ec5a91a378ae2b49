# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probes serve a resident program: they run without Ansible, and without grpcio as far as a port goes."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).resolve().parents[3] / "plugins" / "module_utils"

PROGRAM = """
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
from ansible_collections.ew_ai.worker.plugins.module_utils.health import fleet, model, rpc
from ansible_collections.ew_ai.worker.plugins.module_utils.health.address import parse_address
target = model.Target("w", parse_address("127.0.0.1:9"))
for outcome in fleet.wait_for_all([target], model.Probing(protocol={protocol!r}), model.Patience(attempts=1)):
    print(outcome.verdict.status)
"""


def probe(tmp_path: pathlib.Path, protocol: str, hidden: list[str]) -> str:
    """What a copy of the package says of a port on which nothing listens."""
    shutil.copytree(PACKAGE, tmp_path / "ansible_collections/ew_ai/worker/plugins/module_utils", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM.format(hidden=hidden, protocol=protocol)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


def test_without_ansible(tmp_path: pathlib.Path) -> None:
    assert probe(tmp_path, "auto", ["ansible"]) == "refused"


def test_a_port_alone_needs_no_grpcio(tmp_path: pathlib.Path) -> None:
    assert probe(tmp_path, "tcp", ["ansible", "grpc"]) == "refused"
