# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bad values of options: one error that names the option, before anything is looked at."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import options

DEFAULTS: dict[str, t.Any] = {
    "name": "ew-worker",
    "root": "/opt/w",
    "instances": [{"name": "0", "ports": [50051]}],
    "only": None,
    "generation": 1,
    "release": "/opt/w/releases/r",
    "python": "/opt/w/envs/e/bin/python",
    "path": None,
    "activation": None,
    "module": "worker.main",
    "arguments": None,
    "bind": None,
    "user": None,
    "env": None,
    "secrets": None,
    "secrets_file": None,
    "restart": None,
    "stop_timeout": 10,
    "limits": None,
    "sandbox": "standard",
    "writable_paths": None,
    "unit_overrides": None,
    "bind_to_unit": None,
    "scope": "system",
}


def read(params: dict[str, t.Any]) -> t.Any:
    given = {**DEFAULTS, **params}
    layout = options.worker_layout(given)
    listed = options.instances(given)
    options.chosen(given, [one.name for one in listed])
    return options.spec(given, layout)


def test_defaults() -> None:
    spec = read({})
    assert spec.arguments == ("--port", "{port}")
    assert (spec.bind, spec.user, spec.environment) == (None, "", "/opt/w/envs/e")
    assert read({"bind": "0.0.0.0"}).arguments == ("--port", "{port}", "--bind", "{bind}")
    assert read({"bind": "0.0.0.0", "arguments": []}).arguments == ()
    assert read({"path": "/p", "activation": {"PATH": "/q", "A": "1"}}).activation == (("A", "1"), ("PATH", "/p"))
    assert read({"env": {"A": 1, "B": True, "C": 1.5, "D": ""}}).env == (("A", "1"), ("B", "true"), ("C", "1.5"), ("D", ""))
    assert read({"restart": {"burst": 3, "policy": None}}).restart.burst == 3
    assert read({"bind_to_unit": "gateway.service"}).bind_to_unit == "gateway.service"


BAD: list[tuple[str, dict[str, t.Any]]] = [
    *[("name", {"name": value}) for value in ("", "A", "-a", "a b", "a@b", "a/b", "../a", "a.b", "ä", "a\n", "x" * 65)],
    *[("root", {"root": value}) for value in ("", "opt", "/opt/a b", "/opt/../etc", "/opt/w\n", "/opt:w", '/opt/"w', "/opt//w")],
    *[("instances.name", {"instances": [{"name": value, "ports": [1]}]}) for value in ("", "A", "a b", "a@b", "../x", "%i")],
    ("instances.name", {"instances": [{"name": "0", "ports": [1]}, {"name": "0", "ports": [2]}]}),
    *[("instances.ports", {"instances": [{"name": "0", "ports": [value]}]}) for value in (0, -1, 65536)],
    ("instances.ports", {"instances": [{"name": "0", "ports": [1, 1]}]}),
    ("instances.ports", {"instances": [{"name": "0", "ports": [1]}, {"name": "1", "ports": [2, 1]}]}),
    ("instances.env", {"instances": [{"name": "0", "ports": [1], "env": {"a b": "c"}}]}),
    ("instances.gpus", {"instances": [{"name": "0", "ports": [1], "gpus": ["0,1"]}]}),
    ("instances.gpus", {"instances": [{"name": "0", "ports": [1], "gpus": ["0"]}]}),
    ("instances.gpus", {"instances": [{"name": "0", "ports": [1], "gpus": ["GPU-a", "GPU-a"]}]}),
    ("instances.gpus", {"instances": [{"name": "0", "ports": [1], "gpus": ["GPU-a"]}, {"name": "1", "ports": [2], "gpus": ["GPU-b", "GPU-a"]}]}),
    ("only", {"only": ["1"]}),
    *[("release", {"release": value}) for value in ("", "releases/r", "/a/./b", "/a b")],
    *[("python", {"python": value}) for value in ("", "python", "/a/../python", "/a b/python")],
    *[("module", {"module": value}) for value in ("", "worker main", "worker-main", ".main", "a..b", "-c", "a;b")],
    ("arguments", {"arguments": ["a\x00b"]}),
    *[("bind", {"bind": value}) for value in ("a b", "0.0.0.0;x", "1\n2")],
    *[("user", {"user": value}) for value in ("a b", "0x y", "-a", "a:b", "a\nb")],
    *[("env", {"env": {value: "x"}}) for value in ("", "1A", "a-b", "a b", "A=B", "A\n")],
    *[("env", {"env": {"A": value}}) for value in (None, [], {}, "a\x00b", "a\x1bb", "a\rb")],
    *[("env", {"env": {value: "x"}}) for value in ("EW_WORKER", "EW_EFFECTIVE", "EW_GENERATION", "EW_PORT")],
    ("activation", {"activation": {"A": None}}),
    ("path", {"path": "/a\n/b"}),
    ("secrets", {"secrets": {"A": "hunter22\x00"}}),
    ("secrets", {"secrets": {"EW_WORKER": "hunter22"}}),
    ("restart.burst", {"restart": {"burst": 0}}),
    ("restart.delay", {"restart": {"delay": -1}}),
    ("restart.window", {"restart": {"window": 0}}),
    ("restart.window", {"restart": {"delay": 60, "burst": 5, "window": 300}}),
    *[("stop_timeout", {"stop_timeout": value}) for value in (0, -5)],
    *[("limits.memory", {"limits": {"memory": value}}) for value in ("", "lots", "8 G", "-1", "0", "8G;")],
    ("limits.memlock", {"limits": {"memlock": "x"}}),
    *[("limits.cpu", {"limits": {"cpu": value}}) for value in (0, -0.5, float("inf"), float("nan"))],
    *[(f"restart.{name}", {"restart": {name: float(value)}}) for name in ("delay", "window") for value in ("inf", "nan")],
    ("env", {"env": {"A": "half a character \ud800"}}),
    ("unit_overrides", {"unit_overrides": {"Service": {"Nice": "5\\"}}}),
    *[("bind_to_unit", {"bind_to_unit": value}) for value in ("ew-worker.target", "ew-worker@0.service")],
    ("limits.tasks", {"limits": {"tasks": 0}}),
    ("limits.files", {"limits": {"files": -1}}),
    *[("writable_paths", {"writable_paths": [value]}) for value in ("srv", "/a/../b", "/a b", "")],
    *[("unit_overrides", {"unit_overrides": value}) for value in ({"Service]": {}}, {"Service": "Nice=5"}, {"Service": {"Nice\n": 5}})],
    ("unit_overrides", {"unit_overrides": {"Service": {"Nice": "5\nUser=root"}}}),
    *[("bind_to_unit", {"bind_to_unit": value}) for value in ("gateway", "a b.service", "../x.service", "x.service\n")],
]


@pytest.mark.parametrize(("option", "params"), BAD, ids=[f"{option}-{number}" for number, (option, _params) in enumerate(BAD)])
def test_a_bad_value_is_refused_by_name(option: str, params: dict[str, t.Any]) -> None:
    with pytest.raises(OptionError) as caught:
        read(params)
    assert caught.value.details["option"] == option
    assert caught.value.remedy
    assert "hunter22" not in str(caught.value)


def test_it_prints_how_many_bad_values_there_are() -> None:
    print(f"{len(BAD)} bad values")
    assert len(BAD) > 90


@pytest.mark.parametrize(
    "params", [{"restart": {"policy": "no", "delay": 1000}}, {"restart": {"delay": 0}}, {"limits": {"memory": "1.5G", "memlock": "infinity"}}]
)
def test_what_is_allowed(params: dict[str, t.Any]) -> None:
    assert read(params)


def test_only_keeps_the_order_of_the_list() -> None:
    assert options.chosen({"only": ["b", "a"]}, ["a", "b", "c"]) == ("a", "b")
    assert options.chosen({"only": None}, ["a", "b"]) == ("a", "b")
    assert options.chosen({"only": []}, ["a", "b"]) == ()
