# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options to targets; bad ones are named with their value and a remedy."""

from __future__ import annotations

import pathlib
import ssl
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.health import address, options, rpc, tls
from ansible_collections.ew_ai.worker.plugins.module_utils.health.model import Address, Target, Tls

TLS = dict.fromkeys(("tls", "tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name"))
DEFAULTS: dict[str, t.Any] = {
    **TLS,
    "method": "auto",
    "protocol": "auto",
    "wait_for_status": "serving",
    "attempts": 30,
    "interval": 2.0,
    "connect_timeout": 2.0,
    "rpc_timeout": 3.0,
    "success_threshold": 1,
    "stable_for": 0.0,
    "metadata": {},
    "secret_metadata": {},
}


def params(target: t.Optional[dict[str, t.Any]] = None, **changes: t.Any) -> dict[str, t.Any]:
    full = {"address": "127.0.0.1:50051", "name": None, "services": [""], "expect_pid": None, **TLS, **(target or {})}
    return {**DEFAULTS, "targets": [full], **changes}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051)),
        ("worker-1.example.com:1", Address("worker-1.example.com", 1)),
        ("localhost:65535", Address("localhost", 65535)),
        ("[::1]:50051", Address("::1", 50051)),
        ("[fe80::1%eth0]:50051", Address("fe80::1%eth0", 50051)),
        ("unix:/run/w.sock", Address("", 0, "/run/w.sock")),
        ("unix:///run/w.sock", Address("", 0, "/run/w.sock")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert address.parse_address(text) == expected
    assert address.parse_address(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "50051", "host", "host:", "host:0", "host:65536", "::1:50051", "http://host:1", "host:1/x", "unix:run", "unix:", "unix:/" + "a" * 110, "ho st:1"],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(OptionError) as caught:
        address.parse_address(text, "targets[0].address")
    assert repr(text) in caught.value.message
    assert "targets[0].address" in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"attempts": 0}, "attempts"),
        ({"interval": 0.0}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"rpc_timeout": float("inf")}, "rpc_timeout"),
        ({"connect_timeout": -1.0}, "connect_timeout"),
        ({"success_threshold": 0}, "success_threshold"),
        ({"stable_for": -1.0}, "stable_for"),
        ({"targets": []}, "targets"),
        ({"protocol": "tcp", "wait_for_status": "not_serving"}, "wait_for_status"),
        ({"target": {"expect_pid": 0}}, "targets[0].expect_pid"),
        ({"target": {"tls_ca_file": "/nonexistent"}}, "targets[0].tls_ca_file"),
        ({"tls_cert_file": "/etc/hostname"}, "tls_cert_file"),
        ({"tls_key_file": "KEY"}, "tls_key_file"),
        ({"tls_ca_file": "KEY"}, "tls_ca_file"),
        ({"tls_cert_file": "KEY"}, "tls_cert_file"),
        ({"metadata": {"Upper": "x"}}, "metadata"),
        ({"metadata": {"x-bin": "x"}}, "metadata"),
        ({"metadata": {"grpc-timeout": "x"}}, "metadata"),
        ({"secret_metadata": {"x": "geheim\n"}}, "secret_metadata.x"),
    ],
)
def test_bad_options(changes: dict[str, t.Any], option: str, tmp_path: pathlib.Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", encoding="utf-8")
    given = {name: str(key) if value == "KEY" else value for name, value in changes.items()}
    with pytest.raises(OptionError) as caught:
        options.read(params(given.pop("target", None), **given))
    assert caught.value.details["option"] == option
    assert caught.value.remedy
    assert "geheim" not in str(caught.value)


def test_what_is_read() -> None:
    targets, probing, patience = options.read(
        params({"services": ["a", "b", "a"], "expect_pid": 7, "name": "w@0"}, metadata={"x": 1}, secret_metadata={"authorization": "Bearer t"}, attempts=3)
    )
    assert targets == [Target("w@0", Address("127.0.0.1", 50051), ("a", "b"), 7, None, (("x", "1"), ("authorization", "Bearer t")))]
    assert (probing.method, patience.attempts) == ("auto", 3)


@pytest.mark.parametrize(
    ("target", "common", "expected"),
    [
        ({}, {}, None),
        ({"tls": True}, {}, Tls()),
        ({}, {"tls": True}, Tls()),
        ({"tls": False}, {"tls": True}, None),
        ({}, {"tls_server_name": "a"}, Tls(server_name="a")),
        ({"tls_server_name": "b"}, {"tls_server_name": "a"}, Tls(server_name="b")),
        ({}, {"tls": False, "tls_server_name": "a"}, None),
    ],
)
def test_tls_of_a_target_goes_before_that_of_all(target: dict[str, t.Any], common: dict[str, t.Any], expected: t.Optional[Tls]) -> None:
    assert options.read(params(target, **common))[0][0].tls == expected


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("WRONG_VERSION_NUMBER", "tls_not_spoken"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "tls_client_certificate_wanted"),
        ("TLSV1_ALERT_UNKNOWN_CA", "tls_client_certificate_refused"),
        ("UNEXPECTED_EOF_WHILE_READING", "tls_handshake_refused"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "tls_handshake_refused"),
        ("NO_SHARED_CIPHER", "tls_failed"),
        (None, "tls_failed"),
    ],
)
def test_reasons_of_a_handshake(reason: t.Optional[str], code: str) -> None:
    error = ssl.SSLError(1, "…")
    error.reason = reason  # type: ignore[assignment]
    found, words = tls.explain(error)
    assert found == code
    assert words


@pytest.mark.parametrize(
    ("number", "code"), [(10, "tls_expired"), (9, "tls_not_yet_valid"), (62, "tls_wrong_name"), (20, "tls_unknown_authority"), (99, "tls_not_trusted")]
)
def test_reasons_of_a_certificate(number: int, code: str) -> None:
    error = ssl.SSLCertVerificationError(1, "…")
    error.verify_code, error.verify_message = number, "words"
    assert tls.explain(error)[0] == code


def test_channel_options() -> None:
    found = dict(rpc.channel_options(Target("w", Address("h", 1), tls=Tls(server_name="a.example")), 2.5))
    assert found == {
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.min_reconnect_backoff_ms": 2500,
        "grpc.max_reconnect_backoff_ms": 500,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_http_proxy": 0,
        "grpc.ssl_target_name_override": "a.example",
    }
