# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a failure on the way leaves: what served goes on serving, and the report and endpoints.json tell the truth."""

from __future__ import annotations

import collections.abc
import contextlib
import json
import pathlib
import threading
import time
import typing as t

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.deploy_driver import Data, Place, Worker
from tests.integration.test_deploy_failures import foreign_listener
from tests.shared import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("deploy-recovery")]

SOON: Data = {"worker_health_attempts": 5, "worker_health_interval": 1}
UNTOUCHED = "The generation is the same as before; the table shows what became of its instances."


def serves(port: int) -> bool:
    """Whether it answers SERVING; a slow answer counts as one."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextlib.contextmanager
def watching(ports: t.Sequence[int]) -> collections.abc.Iterator[list[tuple[int, ...]]]:
    """A list that fills with the ports that were down together at some moment while the block runs."""
    seen: list[tuple[int, ...]] = []
    end = threading.Event()

    def look() -> None:
        while not end.is_set():
            down = [port for port in ports if not serves(port)]
            # The first was asked earlier than the last: only what is down still was so together.
            seen.append(tuple(port for port in down if not serves(port)))
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def instances(worker: Worker, count: int, **last: str) -> list[Data]:
    """So many instances, the last with these variables."""
    listed: list[Data] = [{"name": str(index), "port": worker.port + index} for index in range(count)]
    listed[-1]["env"] = last
    return listed


def test_a_recovery_moves_back_one_by_one(place: Place) -> None:
    """Of three instances the last does not come up: the first two must never be down together on the way back."""
    good, bad = place.copy("one-by-one-good", version="good"), place.copy("one-by-one-bad", version="bad")
    worker = place.worker(good, worker_env={"EW_TEST_SERVING_DELAY": "3"})
    worker.deploy(worker_instances=instances(worker, 3))
    with watching([worker.port, worker.port + 1]) as seen:
        run = worker.run("deploy", worker_dir=str(bad), worker_instances=instances(worker, 3, EW_TEST_NOT_SERVING="1"), **SOON)
    assert run.failure["code"] == "not_serving"
    assert run.failure["restored"] == "Generation 1 serves again."
    assert [worker.ask(index)["code_version"] for index in range(3)] == ["good"] * 3
    assert {len(down) for down in seen} == {0, 1}
    assert worker.endpoints() == dict.fromkeys("012", "serving")


class Pair:
    """A worker of two instances."""

    def __init__(self, place: Place) -> None:
        self.worker = place.worker(place.copy("pair", version="1"), 2)
        self.worker.deploy(worker_secrets={"TOKEN": "first-token"})

    def variables(self) -> list[str | None]:
        """The secret that each process was started with."""
        pids = [row["pid"] for row in self.worker.rows().values()]
        texts = [pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0") for pid in pids]
        return [next((each.partition("=")[2] for each in text if each.startswith("TOKEN=")), None) for text in texts]


@pytest.fixture(scope="module")
def pair(place: Place) -> Pair:
    return Pair(place)


class TestVerbs:
    def test_a_restart_that_fails_tells_what_still_serves(self, pair: Pair) -> None:
        worker = pair.worker
        before = worker.ask(1)
        main = pathlib.Path(worker.rows()["0"]["release"]) / "worker" / "__init__.py"
        text = main.read_text()
        main.write_text("raise SystemExit(7)\n")
        try:
            run = worker.run("restart")
        finally:
            main.write_text(text)
        assert (run.failure["code"], run.failure["stage"]) == ("start_failed", "instances")
        assert run.failure["restored"] == UNTOUCHED
        assert run.failure["logs"]
        assert {row["name"]: row["health"] for row in run.host["instances"]} == {"0": None, "1": "serving"}
        assert ("instance", f"{worker.name}@0", "restarted") in run.actions
        assert worker.endpoints()["1"] == "serving"
        assert worker.endpoints()["0"] != "serving"
        assert worker.ask(1)["pid"] == before["pid"]
        assert worker.run("start").ok().changed > 0

    def test_a_restart_that_is_refused_leaves_the_endpoints(self, pair: Pair) -> None:
        worker = pair.worker
        worker.run("stop").ok()
        assert worker.endpoints() == {"0": "stopped", "1": "stopped"}
        with foreign_listener(worker.port, "alone"):
            run = worker.run("start")
        assert run.failure["code"] == "port_in_use"
        assert run.failure["restored"] == "Nothing that serves was touched."
        assert worker.endpoints() == {"0": "stopped", "1": "stopped"}
        worker.run("start").ok()
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_verbs_keep_the_secrets_that_were_deployed(self, pair: Pair) -> None:
        pair.worker.run("restart").ok()
        assert pair.variables() == ["first-token"] * 2

    def test_a_bad_secret_reaches_one_instance_alone_and_goes_with_its_generation(self, pair: Pair) -> None:
        worker = pair.worker
        before = worker.rows()
        run = worker.run("deploy", worker_secrets={"TOKEN": "second-token", "EW_TEST_NOT_SERVING": "1"}, **SOON)
        assert run.failure["code"] == "not_serving"
        assert run.failure["restored"] == "Generation 1 serves again."
        assert pair.variables() == ["first-token"] * 2
        assert worker.rows()["1"]["pid"] == before["1"]["pid"]
        assert "second-token" not in run.output + json.dumps(run.report)

    def test_another_secret_is_another_generation_and_a_rollback_brings_the_first_one_back(self, pair: Pair) -> None:
        worker = pair.worker
        changed = worker.deploy(worker_secrets={"TOKEN": "third-token"})
        assert pair.variables() == ["third-token"] * 2
        assert worker.deploy(worker_secrets={"TOKEN": "third-token"}).changed == 0
        worker.run("rollback").ok()
        assert pair.variables() == ["first-token"] * 2
        assert worker.ask()["generation"] == "1"
        for text in (changed.output, json.dumps(worker.state()), (worker.home / "deploy.log").read_text()):
            assert "-token" not in text
        kept = sorted(path for path in (worker.home / "secrets").rglob("*") if path.is_file())
        assert {path.stat().st_mode & 0o077 for path in kept} == {0}

    def test_a_rollback_to_one_that_listens_elsewhere_is_asked_where_it_listens(self, pair: Pair) -> None:
        worker = pair.worker
        wide: Data = {"worker_secrets": {"TOKEN": "first-token"}, "worker_bind": "0.0.0.0", "worker_arguments": ["--port", "{port}", "--bind", "{bind}"]}
        number = worker.deploy(**wide).host["generation"]
        run = worker.run("deploy", **{**wide, "worker_bind": "127.0.0.2", "worker_env": {"EW_TEST_NOT_SERVING": "1"}}, **SOON)
        assert run.failure["restored"] == f"Generation {number} serves again."
        assert worker.run("rollback", **wide).ok().host["generation"] == 1
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_without_auto_start_what_serves_is_left_to_serve(self, pair: Pair) -> None:
        worker = pair.worker
        before = worker.rows()
        worker.deploy(worker_auto_start=False, worker_secrets={"TOKEN": "first-token"}, worker_env={"GREETING": "hello"})
        after = worker.rows()
        assert {name: (row["pid"], row["enabled"]) for name, row in after.items()} == {name: (row["pid"], True) for name, row in before.items()}
        assert worker.endpoints() == {"0": "serving", "1": "serving"}

    def test_logs_of_one_instance(self, pair: Pair) -> None:
        run = pair.worker.run("logs", worker_log_instances=["1"]).ok()
        assert {line["instance"] for line in run.report["lines"]} == {"1"}
        refused = pair.worker.run("logs", worker_log_instances=["7"])
        assert refused.status == 2
        assert "Choose from: 0, 1." in refused.output

    def test_status_rewrites_the_endpoints(self, pair: Pair) -> None:
        worker = pair.worker
        path = worker.home / "endpoints.json"
        text = path.read_text()
        path.write_text(text.replace("serving", "stopped"))
        worker.run("status").ok()
        assert path.read_text() == text
        assert worker.run("status").ok().changed == 0

    def test_reinstall_is_switched_off_as_deploy_is(self, pair: Pair) -> None:
        run = pair.worker.run("reinstall", worker_enabled=False).ok()
        assert run.changed == 0
        assert "worker_enabled is false: nothing is done on localhost" in run.output


def test_stop_stops_what_a_killed_first_deploy_has_started(clean_place: Place) -> None:
    worker = clean_place.worker(worker_env={"EW_TEST_LISTEN_DELAY": "600"})
    first = worker.begin("deploy")
    log = worker.home / "logs" / "0.log"
    wait_until(lambda: log.exists() and "test fault" in log.read_text(), "the instance runs", 200)
    first.kill()
    run = worker.run("stop").ok()
    assert [row["state"] for row in run.host["instances"]] == ["stopped"]
    assert {(row["state"], row["enabled"]) for row in worker.rows().values()} == {("stopped", False)}


FLEET = """
all:
  hosts: {b: {ansible_connection: local}, c: {ansible_connection: local}}
workers:
  hosts:
    a: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: %d, ansible_user: nobody}
    b:
    c:
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
"""


def test_a_canary_that_cannot_be_reached_is_in_the_report_and_so_are_those_not_reached(place: Place, tmp_path: pathlib.Path) -> None:
    worker = place.worker()
    inventory = tmp_path / "hosts.yml"
    # Nobody listens on the port of another worker that is not deployed.
    inventory.write_text(FLEET % place.worker().port)
    (tmp_path / "deploy.json").write_text('{"success": true, "message": "of last week"}')
    command = worker.command("deploy", tmp_path)
    command[command.index("-i") + 1] = str(inventory)
    settings = json.loads(command[command.index("-e") + 1])
    own = {"worker_root": str(place.root), "worker_become": False, "worker_user": "", "worker_build_user": "", "worker_supervisor": "supervisord"}
    command[command.index("-e") + 1] = json.dumps({**settings, **own})
    run = worker.launch(command, tmp_path / "deploy.json").end()
    assert run.status != 0
    assert (run.report["success"], run.report["message"]) == (False, "0 of 3 hosts succeeded; failed: a; not reached: b, c")
    rows = {row["host"]: row for row in run.report["hosts"]}
    assert rows["a"]["failure"]["code"] == "unreachable"
    assert rows["b"]["message"] == f"{worker.name} was not deployed on b: its turn has not come."
    assert "FAILURE: 0 of 3 hosts succeeded; failed: a; not reached: b, c" in run.output
    assert not worker.home.exists()
