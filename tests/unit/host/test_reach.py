# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Channels and indexes that do not answer, and those whose answer is none of the preflight's business."""

from __future__ import annotations

import contextlib
import http.server
import pathlib
import socket
import ssl
import subprocess
import threading
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.host import preflight, reach
from ansible_collections.ew_ai.worker.plugins.module_utils.host.reach import Address


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of this machine stands between."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def serving(status: int, context: t.Optional[ssl.SSLContext] = None, asked: t.Optional[list[str]] = None) -> t.Iterator[str]:
    """``127.0.0.1:<port>`` of a server that answers everything with that status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if asked is not None:
                asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: t.Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "must_exist", "problem"),
    [
        (200, True, ""),
        (401, True, ""),
        (403, False, ""),
        (404, False, ""),
        (404, True, "status 404 Not Found"),
        (405, True, ""),
        (501, True, ""),
        (503, False, "status 503 Service Unavailable"),
    ],
)
def test_what_counts_as_an_answer(status: int, must_exist: bool, problem: str) -> None:
    with serving(status) as where:
        address = Address(f"http://{where}/simple", must_exist)
        assert reach.silent([address]) == ({address: problem} if problem else {})


def test_a_certificate_is_left_to_those_who_fetch(tmp_path: pathlib.Path) -> None:
    """They may know its authority; this interpreter need not."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=x", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    subprocess.run(["openssl", "req", "-x509", *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(200, context) as where:
        assert reach.silent([Address(f"https://{where}/simple")]) == {}


def test_nobody_at_the_address() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = Address(f"http://127.0.0.1:{closed.getsockname()[1]}/simple")
        assert reach.silent([address]) == {address: "Connection refused"}


def test_who_takes_the_connection_and_never_answers_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "TIMEOUT", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        addresses = [Address(f"http://127.0.0.1:{mute.getsockname()[1]}/{number}") for number in range(3)]
        assert reach.silent(addresses) == dict.fromkeys(addresses, "timed out")


@pytest.mark.parametrize("url", ["git+https://host/x", "oci://host/x", "conda-forge", "", "/opt/wheels"])
def test_what_is_no_address_to_ask_is_not_asked(url: str) -> None:
    assert reach.silent([Address(url)]) == {}


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port/", "http://"])
def test_a_broken_address_is_told(url: str) -> None:
    assert list(reach.silent([Address(url)])) == [Address(url)]


@pytest.mark.parametrize(
    ("channel", "address"),
    [
        ("conda-forge", Address("https://conda.anaconda.org/conda-forge/noarch/repodata.json", True)),
        ("https://host/forge", Address("https://host/forge/noarch/repodata.json")),
        ("file:///srv/channel", Address("file:///srv/channel")),
    ],
)
def test_the_address_of_a_channel(channel: str, address: Address) -> None:
    assert reach.channel_address(channel) == address


def test_directories(tmp_path: pathlib.Path) -> None:
    (tmp_path / "with blank").mkdir()
    here, gone = Address(f"file://{tmp_path}/with%20blank"), Address(f"file://{tmp_path}/gone")
    assert list(reach.silent([here, gone])) == [gone]


def test_the_proxy_in_force_is_named_and_its_login_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://fleet:geheim4711@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "inside.test")
    assert [bool(reach.proxy_of(url)) for url in ("https://x.test/a", "https://inside.test/a", "http://x.test/a", "file:///a")] == [True, False, False, False]
    (found,) = preflight.check_sources([], ["https://x.test/simple"])
    assert "through the proxy http://********@127.0.0.1:9" in found.msg
    assert "worker_https_proxy" in found.remedy
    assert "geheim4711" not in found.msg + found.remedy


def test_findings_name_the_kind_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    with serving(404, asked=asked) as where:
        monkeypatch.setattr(reach, "CHANNELS", f"http://{where}")
        found = preflight.check_sources(["conda-forgee", f"http://{where}/private"], [f"http://{where}/simple", "http://127.0.0.1:9/simple"])
    assert sorted(asked) == ["/conda-forgee/noarch/repodata.json", "/private/noarch/repodata.json", "/simple"]
    assert sorted(each.check for each in found) == ["channel_unreachable", "index_unreachable"]
    assert all("worker_offline" in each.remedy for each in found)
    assert "conda-forgee" in " ".join(each.msg for each in found)
