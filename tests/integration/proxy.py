# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy for CONNECT alone, as a company has one: it asks for a login, knows its hosts by name, and counts."""

from __future__ import annotations

import base64
import contextlib
import selectors
import socket
import socketserver
import threading
import typing as t

Address = tuple[str, int]
REFUSAL = b'HTTP/1.1 %d %s\r\nProxy-Authenticate: Basic realm="tests"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'


class Proxy(socketserver.ThreadingTCPServer):
    """Lets through to ``routes``, ``{"host:port": where it really is}``, who gives the login.

    passed: the host of every connection that came through; refused: the others, with the status.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, login: str, routes: t.Mapping[str, Address]) -> None:
        super().__init__((address, 0), _Handler)
        self.login = f"Basic {base64.b64encode(login.encode()).decode()}"
        self.routes = routes
        self.passed: list[str] = []
        self.refused: list[tuple[str, int]] = []

    @property
    def where(self) -> str:
        """``host:port`` of the proxy itself."""
        host, port = t.cast("Address", self.server_address)
        return f"{host}:{port}"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        proxy = t.cast("Proxy", self.server)
        words = self.rfile.readline().decode("latin-1").split()
        headers = dict(line.split(": ", 1) for line in iter(lambda: self.rfile.readline().decode("latin-1").rstrip(), ""))
        login = next((value for name, value in headers.items() if name.lower() == "proxy-authorization"), "")
        target = words[1] if len(words) == 3 else ""
        status = 405 if not words or words[0] != "CONNECT" else 407 if login != proxy.login else 200 if target in proxy.routes else 502
        if status != 200:
            proxy.refused.append((target, status))
            self.wfile.write(REFUSAL % (status, b"Refused"))
            return
        proxy.passed.append(target.rpartition(":")[0])
        with socket.create_connection(proxy.routes[target]) as other:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(self.connection, other)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Hand on what comes from either side until one of them ends."""
    with selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _events in selector.select():
                data = t.cast("socket.socket", key.fileobj).recv(1 << 16)
                if not data:
                    return
                key.data.sendall(data)


@contextlib.contextmanager
def proxied(address: str, login: str, routes: t.Mapping[str, Address]) -> t.Iterator[Proxy]:
    """A proxy that runs while the block does."""
    with Proxy(address, login, routes) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
