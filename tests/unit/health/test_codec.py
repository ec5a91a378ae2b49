# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The codec, against grpcio-health-checking's generated messages too."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2

from ansible_collections.ew_ai.worker.plugins.module_utils.health import codec


@pytest.mark.parametrize("service", ["", "x", "ew.ai.v1.Inference", "ü" * 70, "a" * 127, "a" * 128, "a" * 20000])
def test_requests_are_those_of_the_generated_message(service: str) -> None:
    assert codec.encode_request(service) == health_pb2.HealthCheckRequest(service=service).SerializeToString()


@pytest.mark.parametrize("status", [codec.UNKNOWN, codec.SERVING, codec.NOT_SERVING, codec.SERVICE_UNKNOWN])
def test_responses_of_the_generated_message_are_read(status: int) -> None:
    assert codec.decode_response(health_pb2.HealthCheckResponse(status=status).SerializeToString()) == status


def test_names_of_the_statuses() -> None:
    names = health_pb2.HealthCheckResponse.ServingStatus
    assert (names.SERVING, names.NOT_SERVING, names.SERVICE_UNKNOWN) == (codec.SERVING, codec.NOT_SERVING, codec.SERVICE_UNKNOWN)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"", 0),
        (b"\x08\x01", 1),
        (b"\x08\x02\x08\x01", 1),  # the last one counts
        (b"\x08\x81\x01", 129),  # a later version's status
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2**64 - 1),  # an enum of -1
        (b"\x12\x03abc\x08\x01", 1),  # another field with text before it
        (b"\x08\x01\x15\x00\x00\x00\x00", 1),  # … with four bytes after it
        (b"\x11\x00\x00\x00\x00\x00\x00\x00\x00\x08\x01", 1),  # … with eight
        (b"\x10\x07\x08\x01", 1),
        (b"\x0a\x01a\x08\x01", 1),  # our number with another type
    ],
)
def test_what_is_read(message: bytes, status: int) -> None:
    assert codec.decode_response(message) == status


@pytest.mark.parametrize(
    "message",
    [b"\x08", b"\x08\x80", b"\x12\x05abc", b"\x12", b"\x15\x00", b"\x0b", b"\x00\x01", b"\x08" + b"\x80" * 11, b"<html>"],
)
def test_what_is_no_response(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.decode_response(message)
