# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller finds before a deploy: whatever a later stage would refuse, all of it, in the words of the role."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleParserError

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inputs import parse_input
from ansible_collections.ew_ai.worker.plugins.plugin_utils import preflight
from tools.checkout import CHECKOUT

SETTINGS: dict[str, t.Any] = {
    "instances": [{"name": "0", "ports": [50051], "env": {}, "gpus": []}],
    "module": "worker.main",
    "arguments": ["--port", "{port}"],
    "bind": "127.0.0.1",
    "user": "",
    "env": {},
    "restart": {"policy": "always", "delay": 2, "burst": 10, "window": 300},
    "stop_timeout": 10,
    "limits": {},
    "sandbox": "standard",
    "writable_paths": [],
    "unit_overrides": {},
    "bind_to_unit": "",
}
ENVIRONMENT: dict[str, t.Any] = {
    "name": "ew_ai_worker",
    "python_version": "3.10",
    "backend": "auto",
    "executable": "conda",
    "channels": ["conda-forge"],
    "allow_anaconda_defaults": False,
    "packages": [],
    "pip": [],
    "installer": "auto",
    "index_url": "",
    "extra_index_urls": [],
    "find_links": [],
    "timeout": 3600,
}
HEALTH: dict[str, t.Any] = {"protocol": "auto", "attempts": 150, "interval": 2, "rpc_timeout": 5, "connect_timeout": 5, "stable_for": 5, "on_failure": "fail"}


def words(findings: list[dict[str, str]]) -> list[str]:
    """The messages, each with a remedy and a code."""
    assert all(set(each) == {"check", "msg", "remedy"} and all(each.values()) for each in findings)
    return [each["msg"] for each in findings]


def test_the_defaults_of_the_role_are_fine() -> None:
    assert preflight.settings_findings(SETTINGS) == ([], [])
    assert preflight.environment_findings(ENVIRONMENT) == []
    assert preflight.health_findings(HEALTH) == []
    assert preflight.secrets_findings({"TOKEN": "x"}) == []
    assert preflight.hook_findings({}, str, lambda path: []) == []


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ({"restart": {"burst": 100, "delay": 10, "window": 300}}, "worker_restart.window has the value 300.0: 100 starts with 10 s"),
        ({"restart": {"burst": 0}}, "worker_restart.burst has"),
        ({"limits": {"memory": "much"}}, "worker_limits.memory has"),
        ({"limits": {"cpu": "fast"}}, "A setting of the instances is refused: argument 'cpu'"),
        ({"limits": {"heat": 1}}, "A setting of the instances is refused: limits.heat"),
        ({"sandbox": "tight"}, "A setting of the instances is refused: value of sandbox must be one of"),
        ({"env": {"EW_PORT": "1"}}, "worker_env has the value 'EW_PORT': the collection sets"),
        ({"env": {"A B": "1"}}, "worker_env has"),
        ({"instances": [{"name": "0", "ports": [1], "env": {"A": [1]}}]}, "worker_instances.env has"),
        ({"instances": [{"name": "0", "ports": [1], "gpus": ["a b"]}]}, "worker_instances.gpus has"),
        ({"arguments": ["{host}"]}, "worker_arguments has the value '{host}': {host} is not a placeholder"),
        ({"module": "worker main"}, "worker_module has"),
        ({"bind": "a b"}, "worker_bind has"),
        ({"user": "a b"}, "worker_user has"),
        ({"stop_timeout": 0}, "worker_stop_timeout has"),
        ({"writable_paths": ["data"]}, "worker_writable_paths has"),
        ({"unit_overrides": {"Service": "Nice=5"}}, "worker_unit_overrides has"),
        ({"bind_to_unit": "gateway"}, "worker_bind_to_unit has"),
    ],
)
def test_bad_settings_of_the_instances(changes: dict[str, t.Any], beginning: str) -> None:
    (found,) = words(preflight.settings_findings({**SETTINGS, **changes})[0])
    assert found.startswith(beginning)


def test_names_and_ports_are_the_modules_matter() -> None:
    instances = [{"name": "A", "ports": [0]}, {"name": "A", "ports": [0]}]
    assert preflight.settings_findings({**SETTINGS, "instances": instances}) == ([], [])


def test_all_of_them_are_told_at_once() -> None:
    bad = {"restart": {"burst": 0, "delay": -1, "window": 0}, "limits": {"memory": "x", "memlock": "y", "tasks": 0}, "env": {"EW_PORT": 1}, "stop_timeout": 0}
    found = words(preflight.settings_findings({**SETTINGS, **bad})[0])
    names = [each.partition(" ")[0] for each in found]
    assert sorted(names) == sorted(
        [
            *("worker_restart.burst", "worker_restart.delay", "worker_restart.window"),
            *("worker_limits.memory", "worker_limits.memlock", "worker_limits.tasks"),
            *("worker_env", "worker_stop_timeout"),
        ]
    )


def test_what_supervisord_cannot_do_is_told_apart() -> None:
    asked = {
        "limits": {"memory": "1G", "files": 1000},
        "sandbox": "strict",
        "writable_paths": ["/srv"],
        "unit_overrides": {"Service": {"Nice": 5}},
        "bind_to_unit": "gateway.service",
    }
    anywhere, under_supervisord = preflight.settings_findings({**SETTINGS, **asked})
    assert anywhere == []
    names = [each.partition(" ")[0] for each in words(under_supervisord)]
    expected = ["worker_limits.memory", "worker_limits.files", "worker_sandbox", "worker_writable_paths", "worker_unit_overrides", "worker_bind_to_unit"]
    assert sorted(names) == sorted(expected)


def test_bad_secrets_are_told_without_their_value() -> None:
    (found,) = words(preflight.secrets_findings({"TOKEN": ["geheim"]}))
    assert found.startswith("worker_secrets has the value 'TOKEN'")
    assert "geheim" not in str(preflight.secrets_findings({"TOKEN": "geheim\x00"}))


def test_secrets_do_not_choose_another_gpu() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "geheim", "CUDA_DEVICE_ORDER": "geheim"}
    assert preflight.secrets_findings(given) == []
    found = preflight.secrets_findings(given, gpus=True)
    assert found
    assert all("instances.gpus sets this variable" in each for each in words(found))
    assert "geheim" not in str(found)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"name": "a b"}, "worker_env_name has"),
        ({"python_version": "3.1"}, "worker_python_version has the value '3.1': there is no such Python to install; YAML reads"),
        ({"python_version": "newest"}, "worker_python_version has"),
        ({"executable": "opt/conda/bin/conda"}, "worker_conda_path has the value 'opt/conda/bin/conda': it is neither"),
        ({"backend": "pixi"}, "A setting of the environment is refused: value of backend must be one of"),
        ({"channels": ["defaults"]}, "worker_channels names 'defaults'"),
        ({"channels": ["a b"]}, "worker_channels has"),
        ({"packages": ["numpy=>1"]}, "worker_packages has"),
        ({"pip": ["-e ./lib"]}, "'-e ./lib'"),
        ({"pip": ["./lib"]}, "'./lib'"),
        ({"index_url": "https://a b"}, "worker_index_url has"),
        ({"find_links": ["/a b"]}, "worker_find_links has"),
    ],
)
def test_bad_settings_of_the_environment(changes: dict[str, t.Any], part: str) -> None:
    (found,) = words(preflight.environment_findings({**ENVIRONMENT, **changes}))
    assert part in found


def test_all_bad_settings_of_the_environment_are_told_at_once() -> None:
    bad = {"python_version": "3.1", "executable": "bin/mamba", "channels": ["defaults", "a b"], "packages": ["=", "numpy=<2"]}
    assert len(words(preflight.environment_findings({**ENVIRONMENT, **bad}))) == 6


@pytest.mark.parametrize(
    ("settings", "beginning"),
    [
        ({"requirements": "numpy"}, "worker_toolchain_requirements has the value 'numpy'"),
        ({"requirements": "numpy==1"}, "worker_toolchain_requirements has the value 'numpy==1': it has no --hash"),
        ({"requirements": ""}, "worker_toolchain_requirements has the value '': it names no package"),
        ({"requirements": "-e ."}, "worker_toolchain_requirements has"),
        ({"find_links": ["/a b"]}, "worker_toolchain_find_links has the value '/a b'"),
    ],
)
def test_bad_settings_of_the_toolchain(settings: dict[str, t.Any], beginning: str) -> None:
    good = {"requirements": (CHECKOUT / "roles/worker/files/toolchain.txt").read_text(encoding="utf-8"), "find_links": ["/srv/wheels", "https://host/wheels"]}
    assert preflight.toolchain_findings(good) == []
    (found,) = words(preflight.toolchain_findings({**good, **settings}))
    assert found.startswith(beginning)


LOCK = parse_input("@EXPLICIT\nhttps://host/forge/linux-64/python-3.11.7-0.conda\n", "explicit.txt", None)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"python_version": "3.11"}, ""),
        ({"python_version": ""}, ""),
        ({"python_version": "3.1"}, ""),
        ({}, "worker_python_version has the value '3.10': explicit.txt is a lock, which has Python 3.11.7"),
        ({"python_version": "3.11", "packages": ["numpy"]}, "worker_packages has the value ['numpy']: explicit.txt is a lock"),
    ],
)
def test_what_contradicts_a_lock_is_told(changes: dict[str, t.Any], part: str) -> None:
    found = words(preflight.lock_findings({**ENVIRONMENT, **changes}, "explicit.txt", LOCK))
    assert (len(found), part in "".join(found)) == (1 if part else 0, True)


def test_files_and_trees_of_the_host_are_not_looked_for_here() -> None:
    lines = ["-r /srv/more.txt", "-c /srv/limits.txt", "/srv/lib", "lib @ file:///srv/lib", "numpy"]
    assert preflight.environment_findings({**ENVIRONMENT, "pip": lines}) == []


def test_no_credentials_are_told() -> None:
    found = preflight.environment_findings(
        {**ENVIRONMENT, "channels": ["https://user:geheim@repo.anaconda.com/pkgs/main"], "pip": ["-e git+https://u:geheim@host/x"]}
    )
    assert len(found) == 2
    assert "geheim" not in str(found)


@pytest.mark.parametrize("changes", [{"attempts": 0}, {"interval": 0}, {"stable_for": -1}, {"rpc_timeout": "long"}, {"protocol": "http"}])
def test_bad_settings_of_health(changes: dict[str, t.Any]) -> None:
    (found,) = words(preflight.health_findings({**HEALTH, **changes}))
    assert next(iter(changes)) in found


def test_all_bad_settings_of_health_are_told_at_once() -> None:
    found = words(preflight.health_findings({**HEALTH, "attempts": 0, "interval": 0, "rpc_timeout": 0}))
    assert [each.partition(" ")[0] for each in found] == ["worker_health_attempts", "worker_health_interval", "worker_health_rpc_timeout"]


@pytest.mark.parametrize(
    ("asker", "protocol", "library", "codes"),
    [
        ("controller", "auto", True, []),
        ("controller", "auto", False, ["missing_library"]),
        ("controller", "tcp", False, []),
        ("gateway1", "auto", False, []),
        ("", "auto", False, []),
    ],
)
def test_the_controller_needs_grpcio_where_it_asks(asker: str, protocol: str, library: bool, codes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: object() if library else None)
    found = preflight.asker_findings(asker, protocol)
    assert [each["check"] for each in found] == codes
    assert all("pip install grpcio" in each["remedy"] and "worker_health_from: none" in each["remedy"] for each in found)


@pytest.mark.parametrize(
    ("channels", "asked"),
    [
        (["conda-forge"], ["conda-forge"]),
        ([], ["conda-forge"]),
        (["nodefaults", "https://user:geheim@host/forge/"], ["https://host/forge"]),
        (["https://host/t/geheim/forge"], ["https://host/forge"]),
        (["/srv/my channel"], ["file:///srv/my%20channel"]),
        (["a b", "bioconda"], ["bioconda"]),
    ],
)
def test_the_channels_to_ask(channels: list[str], asked: list[str]) -> None:
    assert preflight.askable_channels({**ENVIRONMENT, "channels": channels}) == asked


class TestHooks:
    def findings(self, hooks: t.Any, tmp_path: pathlib.Path) -> list[dict[str, str]]:
        def load(path: str) -> t.Any:
            try:
                return yaml.safe_load(pathlib.Path(path).read_text())
            except yaml.YAMLError as error:
                raise AnsibleParserError(str(error)) from None

        return preflight.hook_findings(hooks, lambda name: os.path.join(tmp_path, name), load)

    def test_good_ones(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "tasks.yml").write_text("- ansible.builtin.debug:\n    msg: hello\n")
        (tmp_path / "empty.yml").write_text("---\n")
        assert self.findings({hook: ["tasks.yml", "empty.yml"] for hook in preflight.HOOKS}, tmp_path) == []

    @pytest.mark.parametrize(
        ("hooks", "words"),
        [
            ({"before_instance": ["tasks.yml"]}, ["'before_instance', which no stage has", "before_instances"]),
            ({"before_instances": "tasks.yml"}, ["worker_hooks.before_instances is no list of files"]),
            ({"before_instances": [1]}, ["is no list of files"]),
            ({"before_instances": ["gone.yml"]}, ["names gone.yml, and there is no such file on the controller", "{{ inventory_dir }}/gone.yml"]),
            ({"before_instances": ["play.yml"]}, ["play.yml, which is no list of tasks"]),
            ({"before_instances": ["broken.yml"]}, ["broken.yml, which cannot be read"]),
            (["tasks.yml"], ["holds no lists of files by hook"]),
        ],
    )
    def test_bad_ones(self, tmp_path: pathlib.Path, hooks: t.Any, words: list[str]) -> None:
        (tmp_path / "tasks.yml").write_text("[]\n")
        (tmp_path / "play.yml").write_text("hosts: all\n")
        (tmp_path / "broken.yml").write_text("- [\n")
        (found,) = self.findings(hooks, tmp_path)
        assert found["check"] == "invalid_hooks"
        assert all(word in f"{found['msg']} {found['remedy']}" for word in words), found

    def test_those_that_the_role_runs_are_known(self) -> None:
        text = (CHECKOUT / "roles/worker/tasks/deploy.yml").read_text(encoding="utf-8")
        run = [hook for points in re.findall(r"__worker_points: \[(.*)\]", text) for hook in points.split(", ")]
        assert run == list(preflight.HOOKS)


@pytest.mark.parametrize(
    ("settings", "health_tls", "protocol", "words"),
    [
        ({}, {}, "auto", []),
        ({"tls": {"cert": "/c", "key": "/k"}}, {"ca": "/a"}, "auto", []),
        ({"tls": {"cert": "/c", "key": "/k"}}, {}, "tcp", []),
        ({"tls": {"cert": "/c", "key": "/k"}}, {}, "grpc", ["worker_health_tls does not tell"]),
        ({}, {"cert": "/c"}, "auto", ["without the other"]),
        ({}, {"cert": "/c", "key": "/k"}, "auto", []),
    ],
)
def test_a_secured_port_must_be_asked_over_tls(settings: dict[str, t.Any], health_tls: dict[str, t.Any], protocol: str, words: list[str]) -> None:
    found = preflight.tls_findings(settings, health_tls, protocol)
    assert len(found) == len(words)
    assert all(word in each["msg"] for word, each in zip(words, found))


@pytest.mark.parametrize(
    ("asker", "remote", "own", "variables"),
    [
        ("controller", {}, {}, []),
        ("controller", {}, {"ca": "@/there", "server_name": "nowhere"}, []),
        ("controller", {}, {"ca": "@/absent", "cert": "@", "key": "@/there"}, ["worker_health_tls.ca", "worker_health_tls.cert"]),
        # The hosts' own files need not be on the controller then.
        ("controller", {"ca": "@/there"}, {"ca": "@/absent"}, []),
        ("controller", {"key": "@/absent"}, {}, ["worker_health_tls_remote.key"]),
        ("gateway1", {"ca": "@/absent"}, {}, []),
        ("", {"ca": "@/absent"}, {}, []),
    ],
)
def test_files_to_ask_with_must_be_on_the_controller_that_asks(
    asker: str, remote: dict[str, str], own: dict[str, str], variables: list[str], tmp_path: pathlib.Path
) -> None:
    (tmp_path / "there").touch()
    placed = [{key: value.replace("@", str(tmp_path)) for key, value in each.items()} for each in (remote, own)]
    found = preflight.remote_tls_findings(asker, *placed)
    assert [each["msg"].split(" names ")[0] for each in found] == variables
    assert all(each["check"] == "missing_file" and str(tmp_path) in each["msg"] and "worker_health_from: none" in each["remedy"] for each in found)
