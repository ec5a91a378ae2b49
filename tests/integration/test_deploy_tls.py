# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker whose port wants certificates of both sides: deployed, asked from the host and over the network, and what becomes of bad certificates."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest

from tests.integration.certificates import Authority
from tests.integration.deploy_driver import EXAMPLES, Data, Place, Worker

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-tls")]


class Secured:
    """A worker behind mutual TLS, and the certificates of its operator."""

    def __init__(self, place: Place, directory: pathlib.Path) -> None:
        self.authority = Authority(directory)
        self.certificate = self.authority.issue("server", "DNS:worker.example")
        self.caller = self.authority.issue("caller", "DNS:caller.example")
        self.health = {"ca": str(self.authority.certificate), **pair(self.caller), "server_name": "worker.example"}
        self.worker: Worker = place.worker(
            worker_tls=self.tls(self.certificate),
            worker_health_tls=self.health,
            worker_health_tls_remote={**self.health, **pair(self.authority.issue("gateway", "DNS:gateway.example"))},
            worker_health_services=["", "ew.ai.v1.InferenceService"],
            worker_bind="0.0.0.0",
            worker_address="127.0.0.1",
            worker_health_from="controller",
            worker_health_interval=0.3,
            worker_health_stable_for=0.5,
        )

    def tls(self, files: tuple[pathlib.Path, pathlib.Path]) -> dict[str, str]:
        return {**pair(files), "client_ca": str(self.authority.certificate)}

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "worker.client", "--address", f"127.0.0.1:{self.worker.port}", "--json", "--timeout", "5", *words, "infer"]
        return subprocess.run(command, cwd=EXAMPLES / "worker", text=True, capture_output=True, check=False, timeout=60)

    def answers(self) -> str:
        """What a caller with a certificate gets."""
        certificate, key = map(str, self.caller)
        done = self.call(
            *("--tls-ca", self.health["ca"], "--tls-cert", certificate, "--tls-key", key),
            *("--tls-server-name", "worker.example"),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


# Not of TLS: told by the same run of the preflight.
SHARED_GPU = [{"name": name, "port": port, "gpus": ["GPU-0000aaaa-1111"]} for name, port in (("a", 30001), ("b", 30002))]


def pair(files: tuple[pathlib.Path, pathlib.Path]) -> dict[str, str]:
    return {"cert": str(files[0]), "key": str(files[1])}


@pytest.fixture(scope="module")
def secured(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Secured:
    one = Secured(place, tmp_path_factory.mktemp("certificates"))
    run = one.worker.deploy()
    assert [step["success"] for step in run.report["steps"]] == [True] * 3
    return one


def test_it_serves_those_with_a_certificate_alone(secured: Secured) -> None:
    assert '"generation": "1"' in secured.answers()
    assert secured.call().returncode == 1
    assert secured.call("--tls-ca", secured.health["ca"], "--tls-server-name", "worker.example").returncode == 1
    assert secured.worker.endpoints() == {"0": "serving"}


def test_a_second_run_changes_nothing_and_status_asks_as_the_deploy_did(secured: Secured) -> None:
    again = secured.worker.deploy()
    assert again.changed == 0
    # Where nothing but the name is given: how to ask is kept with the generation.
    status = secured.worker.run("status", worker_health_tls={}, worker_tls={}).ok()
    assert [row["health"] for row in status.host["instances"]] == ["serving"]


Change = t.Callable[[Secured], Data]


def expired(secured: Secured) -> Data:
    return {"worker_tls": secured.tls(secured.authority.issue("expired", "DNS:worker.example", days=-1))}


def of_nobody(secured: Secured) -> Data:
    other = Authority(secured.authority.directory, "other")
    return {"worker_tls": secured.tls(other.issue("stranger", "DNS:worker.example"))}


@pytest.mark.parametrize(
    ("change", "code", "remedy"),
    [(expired, "tls_expired", "openssl s_client"), (of_nobody, "tls_unknown_authority", "worker_health_tls.ca")],
    ids=["expired", "unknown authority"],
)
def test_a_bad_certificate_is_told_and_the_old_worker_comes_back(secured: Secured, change: Change, code: str, remedy: str) -> None:
    failure = secured.worker.run("deploy", worker_health_attempts=2, **change(secured)).failure
    assert failure["code"] == code, failure
    assert remedy in str(failure), failure
    assert '"generation": "1"' in secured.answers()


def test_what_cannot_work_is_refused_before_anything_changes(secured: Secured) -> None:
    changes = {
        "worker_tls": {"cert": "/absent.pem", "key": "/absent.key"},
        "worker_health_tls": {"cert": "/etc/hostname"},
        "worker_instances": SHARED_GPU,
    }
    failure = secured.worker.run("deploy", check=True, **changes).failure
    assert (failure["code"], failure["stage"]) == ("preflight", "preflight")
    wanted = (
        "worker_tls.cert names /absent.pem",
        "worker_tls.key names /absent.key",
        "one of cert and key without the other",
        "instance 'a' has it already",
        "worker_gpu_sharing",
    )
    assert [words for words in wanted if words not in failure["message"]] == []


def test_a_gpu_may_be_shared_and_must_be_there(secured: Secured) -> None:
    failure = secured.worker.run("deploy", check=True, worker_instances=SHARED_GPU, worker_gpu_sharing=True).failure
    # No machine of these tests has a GPU.
    assert failure["stage"] == "preflight"
    assert failure["message"].count("which this host does not have") == len(SHARED_GPU)
