# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What instances get, and the digest that tells whether they must be restarted."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import process
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import RESERVED, Instance, Limits, Restart, Spec, Stamp

SPEC = Spec(Layout("/opt/w").worker("ew-worker"), 7, "/opt/w/releases/r", "/opt/w/envs/e/bin/python")
INSTANCE = Instance("a", 2, (50051, 50061))


@pytest.mark.parametrize(
    ("arguments", "bind", "expected"),
    [
        (("--port", "{port}"), None, ["--port", "50051"]),
        (("--listen={bind}:{port}",), "10.0.0.1", ["--listen=10.0.0.1:50051"]),
        (("{bind}",), None, ["127.0.0.1"]),
        (("{index}", "{instance}"), None, ["2", "a"]),
        (('{"a": {"b": 1}}', "{}", "{A}"), None, ['{"a": {"b": 1}}', "{}", "{A}"]),
        ((), None, []),
    ],
)
def test_arguments_are_filled_in(arguments: tuple[str, ...], bind: t.Optional[str], expected: list[str]) -> None:
    spec = dataclasses.replace(SPEC, arguments=arguments, bind=bind)
    assert process.argv(spec, INSTANCE) == ["/opt/w/envs/e/bin/python", "-m", "worker.main", *expected]


def test_a_mistyped_placeholder_is_refused() -> None:
    with pytest.raises(OptionError, match=r"\{prot\} is not a placeholder"):
        process.argv(dataclasses.replace(SPEC, arguments=("{prot}",)), INSTANCE)


def test_the_process_can_tell_what_it_runs() -> None:
    secured = dataclasses.replace(SPEC, tls=(("cert", "/etc/w/c.pem"), ("key", "/etc/w/k.pem"), ("client_ca", "/etc/w/a.pem")))
    environ = process.environ(secured, dataclasses.replace(INSTANCE, nodes=("/dev/nvidia0",)), Stamp("d1", 7))
    assert {name: environ[name] for name in sorted(RESERVED)} == {
        "EW_BIND": "127.0.0.1",
        "EW_CACHE_DIR": "/opt/w/workers/ew-worker/data/a/cache",
        "EW_EFFECTIVE": "d1",
        "EW_ENVIRONMENT": "/opt/w/envs/e",
        "EW_GENERATION": "7",
        "EW_GPU_NODES": "/dev/nvidia0",
        "EW_INSTANCE": "a",
        "EW_PORT": "50051",
        "EW_PORTS": "50051,50061",
        "EW_RELEASE": "/opt/w/releases/r",
        "EW_STATE_DIR": "/opt/w/workers/ew-worker/data/a/state",
        "EW_TLS_CERT": "/etc/w/c.pem",
        "EW_TLS_CLIENT_CA": "/etc/w/a.pem",
        "EW_TLS_KEY": "/etc/w/k.pem",
        "EW_WORKER": "ew-worker",
    }
    assert environ["HOME"] == environ["EW_STATE_DIR"]
    for name in ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME"):
        assert environ[name].startswith(environ["EW_CACHE_DIR"])
    assert process.environ(SPEC, INSTANCE, Stamp("d1", None))["EW_GENERATION"] == ""


def test_what_the_user_gives_wins_and_the_instance_before_the_worker() -> None:
    spec = dataclasses.replace(SPEC, activation=(("PATH", "/p"), ("A", "activation")), env=(("A", "env"), ("HOME", "/h"), ("B", "env")))
    instance = dataclasses.replace(INSTANCE, env=(("B", "instance"),))
    environ = process.environ(spec, instance, Stamp("d1", 1))
    assert [environ[name] for name in ("PATH", "A", "HOME", "B")] == ["/p", "env", "/h", "instance"]


CHANGES: list[tuple[str, dict[str, t.Any]]] = [
    ("release", {"release": "/opt/w/releases/s"}),
    ("python", {"python": "/opt/w/envs/f/bin/python"}),
    ("activation", {"activation": (("PATH", "/p"),)}),
    ("module", {"module": "worker.other"}),
    ("arguments", {"arguments": ("--port", "{port}", "--x")}),
    ("bind", {"bind": "0.0.0.0"}),
    ("user", {"user": "ew"}),
    ("env", {"env": (("A", "1"),)}),
    ("secrets", {"secrets": (("A", "1"),)}),
    ("restart", {"restart": Restart("no")}),
    ("stop_timeout", {"stop_timeout": 11}),
    ("limits", {"limits": Limits(memory="1G")}),
    ("sandbox", {"sandbox": "none"}),
    ("writable_paths", {"writable_paths": ("/srv",)}),
    ("unit_overrides", {"unit_overrides": (("Service", (("Nice", ("5",)),)),)}),
    ("root", {"layout": Layout("/opt/v").worker("ew-worker")}),
    ("name", {"layout": Layout("/opt/w").worker("other")}),
]


def digest(spec: Spec = SPEC, instance: Instance = INSTANCE, supervisor: str = "systemd", salt: bytes = b"salt") -> str:
    return process.digest(spec, instance, supervisor, salt)


@pytest.mark.parametrize("change", [change for _name, change in CHANGES], ids=[name for name, _change in CHANGES])
def test_every_effective_value_changes_the_digest(change: dict[str, t.Any]) -> None:
    assert digest(dataclasses.replace(SPEC, **change)) != digest()


@pytest.mark.parametrize("change", [{"generation": 8}, {"bind_to_unit": "gw.service"}])
def test_what_has_no_effect_on_a_process_does_not(change: dict[str, t.Any]) -> None:
    assert digest(dataclasses.replace(SPEC, **change)) == digest()


def test_the_digest_sees_what_arrives_and_not_how_it_was_given() -> None:
    # Another place in the list matters only where an argument says so.
    assert digest(instance=dataclasses.replace(INSTANCE, index=0)) == digest()
    named = dataclasses.replace(SPEC, arguments=("{index}",))
    assert digest(named, dataclasses.replace(INSTANCE, index=0)) != digest(named)
    pair = (("A", "1"),)
    assert digest(dataclasses.replace(SPEC, env=pair)) == digest(instance=dataclasses.replace(INSTANCE, env=pair))
    assert digest(instance=dataclasses.replace(INSTANCE, ports=(1,))) != digest()
    assert digest(instance=dataclasses.replace(INSTANCE, gpus=("0",))) != digest()
    assert digest(supervisor="supervisord") != digest()
    assert digest(salt=b"other") != digest()


def test_the_digest_of_this_version_is_that_of_the_last() -> None:
    """A change of this value restarts every worker at an upgrade of the collection: make it only on purpose."""
    assert digest() == "832a966ac3c12846dccc0289c2ef9910"
