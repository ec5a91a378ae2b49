# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The two messages of grpc.health.v1 on the wire, so that a host needs grpcio and no protobuf library.

HealthCheckRequest is ``{string service = 1}``, HealthCheckResponse is ``{enum status = 1}``.
"""

from __future__ import annotations

import typing as t

UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def encode_request(service: str) -> bytes:
    """A HealthCheckRequest; the empty name asks for the server as a whole and is left out, as proto3 does."""
    name = service.encode("utf-8")
    return b"\x0a" + _varint(len(name)) + name if name else b""


def decode_response(message: bytes) -> int:
    """The status of a HealthCheckResponse; a number of a later protocol version is handed through.

    Fields that are not ours are skipped. Raises ValueError where the bytes are no such message.
    """
    status = UNKNOWN
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        field, kind = key >> 3, key & 7
        if field == 0:
            raise ValueError("field number 0")
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            if field == 1:
                status = value
        else:
            position = _skip(message, position, kind)
    return status


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = 0
    for index in range(10):
        if position + index >= len(message):
            raise ValueError("cut off within a number")
        byte = message[position + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, position + index + 1
    raise ValueError("a number of more than ten bytes")


def _skip(message: bytes, position: int, kind: int) -> int:
    sizes: dict[int, t.Optional[int]] = {_FIXED64: 8, _FIXED32: 4, _BYTES: None}
    if kind not in sizes:
        raise ValueError(f"wire type {kind}")
    size = sizes[kind]
    if size is None:
        size, position = _read_varint(message, position)
    if position + size > len(message):
        raise ValueError("cut off within a field")
    return position + size
