# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A company's network on this machine: channels and indexes over TLS, each with a login, certificates of its own authority, and a proxy.

Only the proxy knows the servers by their names; they listen on this machine's loopback, which no host reaches. One more
index listens where the hosts can reach it without the proxy.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import typing as t
import urllib.parse

from tests.integration.certificates import Authority
from tests.integration.local_packages import index_channel, served, write_conda_package, write_index, write_source_archive, write_wheel
from tests.integration.proxy import Proxy, proxied
from tools.checkout import CACHE

from .fleet import Fleet
from .secrets import spellings

PACKAGES = CACHE / "host-packages"
# user:password, or a token, by what it opens. A password with an @, which has another spelling in an address.
LOGINS = {
    "proxy": "fleet:proxy-4711@lock",
    "channel": "reader:channel-4712@lock",
    "token": "tk-4713-lock",
    "index": "reader:index-4714@lock",
    "direct": "reader:direct-4715@lock",
    "mirror": "reader:mirror-4716@lock",
}
CA_BUNDLE = "/etc/ssl/company.pem"
DOMAIN = "company.test"
# Fails where programs may not be started from the directory for temporary files.
STARTS_A_PROGRAM = """
import subprocess, tempfile
with tempfile.TemporaryDirectory() as directory:
    program = pathlib.Path(directory, "program")
    program.write_text("#!/bin/sh\\nexit 0\\n")
    program.chmod(0o755)
    subprocess.run([str(program)], check=True)
"""


class Company:
    """``with Company(fleet).open() as company``. asked: the paths that each server was asked for, by the server's name."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.place = fleet.directory / "company"
        self.gateway = fleet.podman.network(fleet.group)[1]
        self.forms = spellings(LOGINS)
        self.asked: dict[str, list[str]] = {name: [] for name in LOGINS}
        self.proxy: Proxy
        self.authority: Authority
        self.direct = ""

    @contextlib.contextmanager
    def open(self) -> t.Iterator[Company]:
        """Everything serves while the block runs."""
        self.place.mkdir(parents=True)
        self.authority = Authority(self.place)
        names = {name: f"{name}.{DOMAIN}" for name in ("channel", "token", "index", "mirror")}
        issued = self.authority.issue("servers", ",".join([*(f"DNS:{name}" for name in names.values()), f"IP:{self.gateway}"]))
        contents = self._contents()
        with contextlib.ExitStack() as stack:

            def serve(name: str, address: str) -> str:
                login = LOGINS[name] if ":" in LOGINS[name] else ""
                return stack.enter_context(served(contents[name], login, issued, self.asked[name], address))

            ports = {name: int(serve(name, "127.0.0.1").rpartition(":")[2]) for name in names}
            self.direct = serve("direct", self.gateway)
            routes = {f"{names[name]}:443": ("127.0.0.1", port) for name, port in ports.items()}
            self.proxy = stack.enter_context(proxied(self.gateway, LOGINS["proxy"], routes))
            yield self

    def _contents(self) -> dict[str, pathlib.Path]:
        """What each server has, made from what the scenarios' hosts install."""
        place, wheels = self.place, self.place / "wheels"
        token = place / "token" / "t" / LOGINS["token"]
        write_conda_package(token / "more", "ew-more", {"share/ew-more": "more\n"}, ["share/ew-more"])
        index_channel(token / "more")
        (place / "channel").mkdir()
        shutil.copytree(PACKAGES / "channel", place / "channel" / "main")
        return {
            "channel": place / "channel",
            "token": place / "token",
            "index": write_index(place / "index", sorted((PACKAGES / "wheels").glob("*.whl"))),
            "direct": write_index(place / "direct", [write_wheel(wheels, "ew_direct", "1.0")]),
            "mirror": write_index(place / "mirror", [write_source_archive(wheels, "ew_mirror", STARTS_A_PROGRAM)]),
        }

    def url(self, name: str, path: str = "", login: bool = True) -> str:
        """The address of one of the servers, as an inventory has it."""
        where = self.direct if name == "direct" else self.proxy.where if name == "proxy" else f"{name}.{DOMAIN}"
        user, _colon, password = (urllib.parse.quote(word, safe="") for word in LOGINS[name].partition(":"))
        return f"{'http' if name == 'proxy' else 'https'}://{f'{user}:{password}@' if login and password else ''}{where}{path}"

    def variables(self) -> dict[str, t.Any]:
        """The inventory of a host in this network. The logins of index and mirror are on the host: in netrc, and in pip.conf."""
        return {
            "worker_channels": [self.url("channel", "/main"), self.url("token", f"/t/{LOGINS['token']}/more")],
            "worker_packages": ["ew-more"],
            "worker_index_url": self.url("index", "/", login=False),
            "worker_extra_index_urls": [self.url("direct", "/")],
            "worker_pip": ["ew-direct", "ew-mirror"],
            "worker_https_proxy": self.url("proxy"),
            "worker_no_proxy": self.gateway,
            "worker_ca_bundle": CA_BUNDLE,
        }

    def options(self, **variables: t.Any) -> list[str]:
        """For ``ansible-playbook``, by way of a file: no secret may be in its own arguments."""
        path = self.place / "variables.json"
        path.touch(0o600)
        path.write_text(json.dumps({**self.variables(), **variables}), encoding="utf-8")
        return ["--extra-vars", f"@{path}"]

    def settle(self, host: str) -> None:
        """Put on the host what its people would: the authority's certificate, root's netrc, and pip.conf."""
        _user, _colon, password = LOGINS["index"].partition(":")
        files = {
            CA_BUNDLE: (self.authority.certificate.read_text(encoding="utf-8"), "644"),
            "/root/.netrc": (f"machine index.{DOMAIN}\nlogin reader\npassword {password}\n", "600"),
            "/etc/pip.conf": (f"[global]\nretries = 1\nextra-index-url = {self.url('mirror', '/')}\n", "600"),
        }
        for path, (text, mode) in files.items():
            self.fleet.write(host, path, text, mode)
