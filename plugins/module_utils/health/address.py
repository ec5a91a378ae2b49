# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading an address as people write it."""

from __future__ import annotations

import re

from ..errors import OptionError
from .model import Address

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>[\w.-]+)):(?P<port>[0-9]{1,5})", re.ASCII)


def parse_address(text: str, option: str = "address") -> Address:
    """``host:port``, ``[IPv6]:port`` or ``unix:/path``. Raises OptionError that names the option and the value."""
    if text.startswith("unix:"):
        return _unix(text, option)
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        raise OptionError(option, text, "it is not an address", "Write host:port, [IPv6 address]:port or unix:/path/to/socket.")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise OptionError(option, text, f"{port} is not a port", "Write a port from 1 to 65535.")
    return Address(match["six"] or match["host"], port)


def _unix(text: str, option: str) -> Address:
    path = text[len("unix:") :]
    if path.startswith("//"):
        path = path[2:]
    if not path.startswith("/"):
        raise OptionError(option, text, "the socket's path is not absolute", "Write unix:/path/to/socket.")
    # sockaddr_un of Linux: 108 bytes with the final zero.
    if len(path.encode()) > 107:
        raise OptionError(option, text, "the socket's path is longer than 107 bytes", "Choose a shorter path.")
    return Address("", 0, path)
