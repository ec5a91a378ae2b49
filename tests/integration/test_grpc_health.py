# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``grpc_health`` against real servers: each verdict for real."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from tests.figures import tell
from tests.integration import module_driver
from tests.integration.certificates import Authority
from tests.integration.grpc_server import Running, serve
from tests.shared import free_ports

# What answers does so at once; on a busy machine that may take seconds.
ONCE = {"attempts": 1, "connect_timeout": 10, "rpc_timeout": 10}
# What never answers is waited for as long as this.
SILENT = {"connect_timeout": 2, "rpc_timeout": 2}
# The next probe is further away than the module may take: an open Watch or nothing ends the wait.
NEVER = {"interval": 600}


def health(*targets: t.Mapping[str, t.Any], within: float = 120, **options: t.Any) -> dict[str, t.Any]:
    """The module's result. within: seconds that it may take."""
    return module_driver.run_module("grpc_health", {"targets": list(targets), **options}, timeout=within)


def one(address: str, expected: str, **options: t.Any) -> dict[str, t.Any]:
    """The only target's entry after a single probe, which must have that ``status/code`` and say so in the failure."""
    names = ("expect_pid", "services", "name", "tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name", "tls")
    target = {"address": address, **{name: options.pop(name) for name in names if name in options}}
    result = health(target, **{**ONCE, **options})
    found = result["targets"][0]
    assert f"{found['status']}/{found['code']}" == expected, result
    assert result["changed"] is False
    assert result["healthy"] is found["healthy"] is not result.get("failed", False)
    if not found["healthy"]:
        assert result["code"] == found["code"]
        assert found["message"] in result["msg"]
        assert found["remedy"]
        assert "{" not in found["remedy"].replace("{authorization", "")
    return t.cast("dict[str, t.Any]", {**found, "result": result})


@pytest.fixture(name="stranger")
def _stranger() -> t.Iterator[int]:
    """The pid of a process that has nothing to do with anything."""
    process = subprocess.Popen(["sleep", "300"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture(name="short", scope="module")
def _short(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pathlib.Path]:
    """A directory with a path short enough for sockets."""
    path = pathlib.Path("/tmp") / f"h{os.getpid()}"
    path.mkdir()
    yield path
    shutil.rmtree(path)


# ---- verdicts


def test_serving_has_latencies_and_a_history() -> None:
    with serve() as server:
        found = one(server.address, "serving/serving", name="ew-worker@0", expect_pid=server.pid)
    assert found["name"] == "ew-worker@0"
    assert found["phase"] == "rpc"
    assert found["services"] == {"": "serving"}
    assert found["latency_ms"]["connect"] > 0
    assert found["latency_ms"]["rpc"] > 0
    assert [change["status"] for change in found["history"]] == ["serving"]
    assert found["result"]["actions"] == []


@pytest.mark.parametrize("method", ["check", "watch", "auto"])
def test_each_method_tells_serving_from_not_serving_and_unknown(method: str) -> None:
    with serve("--status", "busy=NOT_SERVING") as server:
        one(server.address, "serving/serving", method=method)
        one(server.address, "not_serving/not_serving", services=["busy"], method=method)
        one(server.address, "unknown_service/unknown_service", services=["nobody"], method=method)


def test_the_worst_service_decides() -> None:
    with serve("--status", "busy=NOT_SERVING") as server:
        found = one(server.address, "unknown_service/unknown_service", services=["", "busy", "nobody"])
        assert found["services"] == {"": "serving", "busy": "not_serving", "nobody": "unknown_service"}
        assert "service 'nobody'" in found["message"]
        one(server.address, "serving/serving", services=["", "busy"], wait_for_status="not_serving")
        one(server.address, "not_serving/not_serving", services=["busy"], wait_for_status="not_serving")


def test_refused() -> None:
    found = one(f"127.0.0.1:{free_ports()}", "refused/connection_refused")
    assert found["phase"] == "connect"
    assert "ss -ltnp" in found["remedy"]


def test_a_name_that_cannot_be_resolved() -> None:
    assert one("nowhere.invalid:50051", "refused/name_unresolved")["phase"] == "resolve"


def test_unroutable() -> None:
    """In a network namespace without any interface up: the kernel itself says that there is no way."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a network namespace needs root and unshare(1)")
    code = (
        "from tests.integration.module_driver import run_module; import json;"
        "print(json.dumps(run_module('grpc_health', {'targets': [{'address': '127.0.0.1:50051'}], 'attempts': 1})['targets']))"
    )
    command = ["unshare", "--net", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=module_driver.CHECKOUT, env={**os.environ, "PYTHONPATH": "."})
    assert '"code": "unreachable"' in done.stdout


@pytest.mark.parametrize("expect", [False, True], ids=["timeout", "frozen"])
def test_a_full_queue_of_connections(expect: bool) -> None:
    """Nobody accepts: from outside that is a lost packet; with the process known it is frozen."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _try in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if expect:
            one(address, "frozen/backlog_full", expect_pid=os.getpid(), **SILENT)
        else:
            one(address, "timeout/connect_timeout", **SILENT)


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_a_stopped_worker_is_frozen(where: str, short: pathlib.Path) -> None:
    with serve(address="127.0.0.1:0" if where == "tcp" else f"unix:{short}/frozen") as server:
        os.kill(server.pid, signal.SIGSTOP)
        found = one(server.address, "frozen/silent", **SILENT)
        assert found["phase"] == "http2"
        assert f"kill -CONT {server.pid}" in one(server.address, "frozen/stopped", expect_pid=server.pid, **SILENT)["remedy"]
        os.kill(server.pid, signal.SIGCONT)
        one(server.address, "serving/serving")


def test_a_worker_that_freezes_while_it_is_watched_is_told_from_a_busy_one() -> None:
    with serve("--health", "tell") as server:
        server.when("asked", lambda: os.kill(server.pid, signal.SIGSTOP), times=2)
        result = health({"address": server.address}, attempts=1, interval=0.5, stable_for=600, rpc_timeout=5, connect_timeout=5)
    found = result["targets"][0]
    assert (found["status"], [change["status"] for change in found["history"]]) == ("frozen", ["serving", "frozen"])


def test_held_threads_are_saturation_not_death() -> None:
    with serve("--threads", "1") as server:
        channel = server.hold()
        found = one(server.address, "saturated/saturated", expect_pid=server.pid, rpc_timeout=2)
        assert found["phase"] == "rpc"
        assert "Do not restart" in found["remedy"]
        channel.close()
        assert health({"address": server.address})["targets"][0]["status"] == "serving"


def test_a_program_that_is_no_grpc_server() -> None:
    with tcp_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        assert "HTTP/1.1 400" in one(address, "unimplemented/not_grpc")["message"]
        one(address, "serving/connected", protocol="tcp")
    with tcp_server(b"") as address:
        one(address, "refused/connection_closed")


@contextlib.contextmanager
def tcp_server(answer: bytes) -> t.Iterator[str]:
    """Answers each connection with the bytes, once something arrived, and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _peer = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(answer)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_without_health_service() -> None:
    with serve("--health", "no") as server:
        one(server.address, "unimplemented/unimplemented", protocol="grpc")
        found = one(server.address, "unimplemented/unimplemented", expect_pid=server.pid)
        assert found["healthy"]
        assert "has no health service" in str(found["result"]["warnings"])


# ---- owners


def test_a_foreign_process_on_the_port_is_named(stranger: int) -> None:
    with serve() as server:
        found = one(server.address, "wrong_owner/wrong_owner", expect_pid=stranger)
        assert f"pid {server.pid} (" in found["message"]
        assert "grpc_server.py" in found["message"]
        assert found["phase"] == "owner"


def test_without_health_service_the_owner_still_counts(stranger: int) -> None:
    with serve("--health", "no") as server:
        one(server.address, "wrong_owner/wrong_owner", expect_pid=stranger)


def test_a_port_shared_by_reuseport_names_the_other() -> None:
    with serve("--share") as server, serve("--share", address=server.address) as twin:
        found = one(server.address, "wrong_owner/shared_port", expect_pid=server.pid)
        assert f"pid {twin.pid} (" in found["message"]
        assert "so_reuseport" in found["remedy"]


def test_a_child_of_the_expected_process_is_its_own() -> None:
    with serve("--child") as server:
        one(server.address, "serving/serving", expect_pid=server.pid)


def test_unix_socket_and_its_owner(short: pathlib.Path, stranger: int) -> None:
    with serve(address=f"unix:{short}/w") as server:
        one(server.address, "serving/serving", expect_pid=server.pid)
        one(server.address, "wrong_owner/wrong_owner", expect_pid=stranger)
    one(f"unix:{short}/w", "refused/connection_refused")
    one(f"unix:{short}/none", "refused/socket_missing")


def test_a_dead_process_ends_the_wait_at_once() -> None:
    process = subprocess.Popen(["sleep", "1.5"])
    threading.Thread(target=process.wait, daemon=True).start()
    result = health({"address": f"127.0.0.1:{free_ports()}", "expect_pid": process.pid}, attempts=2, **NEVER)
    assert result["code"] == "process_gone"
    assert result["targets"][0]["status"] == "refused"
    assert "has ended" in result["msg"]


# ---- waiting


def test_it_returns_as_soon_as_the_worker_serves() -> None:
    for late in (2, 10, 40):
        address = f"127.0.0.1:{free_ports()}"
        with serve("--listen-after", str(late), "--health", "tell", "--status=-=NOT_SERVING", address=address, wait=False) as server:
            server.when("watched", lambda server=server: server.tell("set - SERVING"))
            found = health({"address": address, "expect_pid": server.pid}, method="watch", **NEVER)["targets"][0]
        statuses = [change["status"] for change in found["history"]]
        if statuses[0] == "refused":
            break
        # The server was there before the module looked: once more, and later.
    assert (found["status"], statuses) == ("serving", ["refused", "serving"])


def test_no_watch_is_opened_unless_asked_for() -> None:
    """One that ends in the wrong moment locks up Python's own health service."""
    watched = threading.Event()
    with serve("--health", "tell", "--status=-=NOT_SERVING") as server:
        server.when("watched", watched.set)
        assert health({"address": server.address}, attempts=4, interval=0.5)["code"] == "not_serving"
        assert not watched.is_set()
        health({"address": server.address}, attempts=2, interval=0.5, method="watch")
        assert watched.wait(60)


def test_a_server_without_watch_is_polled() -> None:
    with serve("--health", "check-only") as server:
        result = health({"address": server.address}, attempts=4, interval=0.5)
    assert (result["code"], result["targets"][0]["attempts"]) == ("not_serving", 4)


def test_stable_for_notices_a_worker_that_falls_back() -> None:
    with serve("--health", "tell") as server:
        # The first Watch is the probe's own: only the second one is open while the module waits
        server.when("watched", lambda: server.tell("set - NOT_SERVING"), times=2)
        result = health({"address": server.address}, attempts=1, stable_for=600, method="watch", **NEVER)
    assert [change["status"] for change in result["targets"][0]["history"]] == ["serving", "not_serving"]


def test_waiting_for_the_end() -> None:
    with serve("--health", "tell") as server:
        # Not after the first: the module looks at the process again before it believes the answer
        server.when("asked", server.process.kill, times=2)
        result = health({"address": server.address, "expect_pid": server.pid}, wait_for_status="refused", interval=0.3)
    assert result["healthy"] is True
    assert [change["status"] for change in result["targets"][0]["history"]] == ["serving", "refused"]


def test_a_server_half_a_second_away() -> None:
    """The channel's time for one connection attempt must be connect_timeout, not its short backoff."""
    with serve() as server, far_away(server, 0.6) as address:
        one(address, "serving/serving")


@contextlib.contextmanager
def far_away(server: Running, delay: float) -> t.Iterator[str]:
    """A relay that holds back what the server says by ``delay`` seconds, in its order."""

    def read(source: socket.socket, held: queue.Queue[tuple[float, bytes]], wait: float) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                held.put((time.monotonic() + wait, data))

    def write(sink: socket.socket, held: queue.Queue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = held.get()
                time.sleep(max(0, due - time.monotonic()))
                sink.sendall(data)

    def pump(source: socket.socket, sink: socket.socket, wait: float) -> None:
        held: queue.Queue[tuple[float, bytes]] = queue.Queue()
        threading.Thread(target=read, args=(source, held, wait), daemon=True).start()
        threading.Thread(target=write, args=(sink, held), daemon=True).start()

    def work() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _peer = relay.accept()
                host, port = server.address.split(":")
                upstream = socket.create_connection((host, int(port)))
                pump(client, upstream, 0)
                pump(upstream, client, delay)

    with socket.create_server(("127.0.0.1", 0)) as relay:
        threading.Thread(target=work, daemon=True).start()
        yield f"127.0.0.1:{relay.getsockname()[1]}"
        relay.shutdown(socket.SHUT_RDWR)


def test_a_hundred_targets_side_by_side() -> None:
    with serve("--threads", "8") as server:
        bad = {"address": f"127.0.0.1:{free_ports()}"}
        good = [{"address": server.address, "expect_pid": server.pid, "name": f"w{index}"} for index in range(99)]
        result = health(*good, bad, attempts=2, interval=1, connect_timeout=30, rpc_timeout=30)
    assert [target["name"] for target in result["targets"][:99]] == [f"w{index}" for index in range(99)]
    assert [target["healthy"] for target in result["targets"]] == [True] * 99 + [False]
    assert result["msg"].startswith("1 of 100 targets are not serving")
    tell(f"100 targets: {result['elapsed']} s, one of them waited for 1 s")


# ---- TLS


class Certificates(t.NamedTuple):
    authority: Authority
    other: Authority
    good: tuple[pathlib.Path, pathlib.Path]
    expired: tuple[pathlib.Path, pathlib.Path]
    named: tuple[pathlib.Path, pathlib.Path]
    client: tuple[pathlib.Path, pathlib.Path]
    foreign_client: tuple[pathlib.Path, pathlib.Path]


@pytest.fixture(name="pki", scope="module")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("certificates need the openssl program")
    directory = tmp_path_factory.mktemp("pki")
    authority, other = Authority(directory), Authority(directory, "other")
    return Certificates(
        authority,
        other,
        authority.issue("good"),
        authority.issue("expired", days=-1),
        authority.issue("named", "DNS:worker.example.com"),
        authority.issue("client", "DNS:gateway"),
        other.issue("foreign", "DNS:gateway"),
    )


def tls_server(pair: tuple[pathlib.Path, pathlib.Path], *switches: str) -> t.ContextManager[Running]:
    return serve("--certificate", str(pair[0]), "--key", str(pair[1]), *switches)


def test_tls(pki: Certificates) -> None:
    trusted = {"tls_ca_file": str(pki.authority.certificate)}
    with tls_server(pki.good) as server:
        one(server.address, "serving/serving", **trusted)
        one(server.address, "serving/connected", protocol="tcp", **trusted)
        one(server.address, "tls_error/tls_unknown_authority", tls=True)
        one(server.address, "tls_error/tls_unknown_authority", tls_ca_file=str(pki.other.certificate))
        one(server.address, "tls_error/tls_wrong_name", tls_server_name="else.example.com", **trusted)
        assert one(server.address, "tls_error/tls_wanted")["remedy"] == "Set tls: true (worker_health_tls)."
        os.kill(server.pid, signal.SIGSTOP)
        assert one(server.address, "frozen/silent", **trusted, **SILENT)["phase"] == "tls"


def test_tls_names_and_dates(pki: Certificates) -> None:
    trusted = {"tls_ca_file": str(pki.authority.certificate)}
    with tls_server(pki.expired) as server:
        assert "expired" in one(server.address, "tls_error/tls_expired", **trusted)["message"]
    with tls_server(pki.named) as server:
        one(server.address, "tls_error/tls_wrong_name", **trusted)
        one(server.address, "serving/serving", tls_server_name="worker.example.com", **trusted)
    with serve() as server:
        one(server.address, "tls_error/tls_not_spoken", **trusted)


def test_mutual_tls(pki: Certificates) -> None:
    trusted = {"tls_ca_file": str(pki.authority.certificate)}
    with tls_server(pki.good, "--client-authority", str(pki.authority.certificate)) as server:
        one(server.address, "tls_error/tls_client_certificate_wanted", **trusted)
        foreign = {"tls_cert_file": str(pki.foreign_client[0]), "tls_key_file": str(pki.foreign_client[1])}
        one(server.address, "tls_error/tls_client_certificate_refused", **trusted, **foreign)
        ours = {"tls_cert_file": str(pki.client[0]), "tls_key_file": str(pki.client[1])}
        one(server.address, "serving/serving", **trusted, **ours)


# ---- the rest


def test_metadata_and_its_secrecy() -> None:
    with serve("--health", "token") as server:
        one(server.address, "refused/unauthenticated")
        found = one(server.address, "refused/unauthenticated", secret_metadata={"authorization": "Bearer wrong-4712"})
        assert "4712" not in str(found)
        one(server.address, "serving/serving", secret_metadata={"authorization": "Bearer sesame-4711"})


def test_a_warning_instead_of_a_failure() -> None:
    result = health({"address": f"127.0.0.1:{free_ports()}"}, **ONCE, on_failure="warn")
    assert (result.get("failed", False), result["healthy"]) == (False, False)
    assert "connection refused" in str(result["warnings"])


def test_different_failures_have_a_common_code() -> None:
    with serve("--health", "no") as server:
        result = health({"address": server.address}, {"address": f"127.0.0.1:{free_ports()}"}, **ONCE, protocol="grpc")
    assert result["code"] == "unhealthy"
    assert {target["code"] for target in result["targets"]} == {"unimplemented", "connection_refused"}


def test_check_mode_probes_too() -> None:
    with serve() as server:
        result = module_driver.run_module("grpc_health", {"targets": [{"address": server.address}]}, check=True)
    assert (result["healthy"], result["changed"]) == (True, False)


def test_without_grpcio(tmp_path: pathlib.Path) -> None:
    (tmp_path / "grpc.py").write_text("raise ImportError('no grpcio here')\n", encoding="utf-8")
    path = f"{tmp_path}:{module_driver.collections_path()}"
    args = {"targets": [{"address": f"127.0.0.1:{free_ports()}"}], "attempts": 1}
    result = module_driver.run_module("grpc_health", args, environ={"PYTHONPATH": path})
    assert (result["code"], result["targets"]) == ("missing_library", [])
    assert "grpcio" in result["msg"]
    result = module_driver.run_module("grpc_health", {**args, "protocol": "tcp"}, environ={"PYTHONPATH": path})
    assert result["code"] == "connection_refused"
