# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a result tells where secrets are short, and where they are long."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from tests.integration.ew_worker.kit import free_ports
from tests.integration.module_driver import run_module


@pytest.mark.parametrize(
    ("secrets", "hidden"),
    [({"POOL": 5, "DEBUG": "0", "MODE": "a"}, []), ({"TOKEN": "hunter22", "PIN": "0"}, ["hunter22"]), ({"TOKEN": "swordfish"}, ["swordfish"])],
)
def test_a_short_secret_mangles_nothing_and_no_secret_is_printed(tmp_path: pathlib.Path, secrets: dict[str, t.Any], hidden: list[str]) -> None:
    (port,) = free_ports(1)
    options = {"name": "w", "root": str(tmp_path), "release": "/usr", "python": "/usr/bin/python3", "supervisor": "supervisord"}
    found = run_module("ew_worker", {**options, "instances": [{"name": "0", "ports": [port]}], "secrets": secrets}, check=True)
    assert (found["batches"], found["instances"][0]["id"]) == ([["0"]], "w@0")
    assert found["invocation"]["module_args"]["instances"][0] == {"name": "0", "ports": [port], "env": None, "gpus": None}
    assert found["invocation"]["module_args"]["secrets"] == dict.fromkeys(secrets, "********")
    assert [word for word in hidden if word in json.dumps(found)] == []
    texts = [text for sides in found["diff"].values() for path, text in sides.items() if path.endswith("instances/0.json")]
    assert [json.loads("\n".join(text))["secrets"] for text in texts if text] == [dict.fromkeys(secrets, "********")]
