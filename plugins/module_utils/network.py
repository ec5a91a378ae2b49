# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How a host reaches others, as an option: proxies, and whom to believe. Needs nothing of Ansible.

Not as variables of the task: Ansible writes those into the command line that starts the module, where every account of controller and
host can read a proxy's password.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
import urllib.parse

from .errors import OptionError
from .redact import MASKED_LENGTH, redact
from .run import PROXY_VARIABLES

OPTION = "network"
ARGUMENT: dict[str, t.Any] = {
    "type": "dict",
    "options": {"http_proxy": {"type": "str"}, "https_proxy": {"type": "str"}, "no_proxy": {"type": "str"}, "ca_bundle": {"type": "path"}},
}
_CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# What failures are put right with.
PROXY_REMEDY = (
    "Correct the proxy, with user:password@ where it asks for them: network.https_proxy (worker_https_proxy). Past it: network.no_proxy (worker_no_proxy)."
)
CA_REMEDY = "Give a file on the host with the authority's certificate: network.ca_bundle (worker_ca_bundle)."
# What pip, uv and rattler say of a proxy that does not let them through.
PROXY_WORDS = r"ProxyError|Cannot connect to proxy|Tunnel connection failed|tunnel error|[Pp]roxy [Aa]uth|proxy authorization"
_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A value that would not work, without credentials in it."""

    name: str
    value: str
    why: str
    remedy: str


def problems(network: t.Optional[t.Mapping[str, t.Any]], needs_files: bool = True) -> list[Problem]:
    """What is wrong with the option's values. needs_files: whether anything will be fetched with them."""
    found = []
    for name in ("http_proxy", "https_proxy"):
        value = str((network or {}).get(name) or "")
        why = _wrong_proxy(value) if value else ""
        if why:
            found.append(Problem(name, _told(value), why, "Write http://proxy.example.com:3128, with user:password@ in front of the host where it asks."))
    hosts = str((network or {}).get("no_proxy") or "")
    if not hosts.isprintable():
        found.append(Problem("no_proxy", hosts, "there is a control character in it", "Separate the hosts by commas: localhost,.example.com."))
    bundle = (network or {}).get("ca_bundle")
    if bundle and needs_files and not os.path.isfile(bundle):
        found.append(Problem("ca_bundle", bundle, "there is no such file on this host", f"Bring it there first, or correct the path: ls -l {bundle}"))
    return found


def apply(network: t.Optional[t.Mapping[str, t.Any]], needs_files: bool = True) -> None:
    """Put the option in force for this process and its children. Raises OptionError."""
    for each in problems(network, needs_files):
        raise OptionError(f"{OPTION}.{each.name}", each.value, each.why, each.remedy)
    os.environ.update(variables(network))


def variables(network: t.Optional[t.Mapping[str, t.Any]]) -> dict[str, str]:
    """The variables that the tools read, in both spellings: a host's own upper-case one would win in some of them."""
    given = {name: value for name, value in (network or {}).items() if value}
    found = {spelling: str(given[name]) for name in ("http_proxy", "https_proxy", "no_proxy") if name in given for spelling in (name, name.upper())}
    return {**found, **dict.fromkeys(_CA_VARIABLES if "ca_bundle" in given else (), str(given.get("ca_bundle")))}


def hide(params: dict[str, t.Any], no_log_values: set[str]) -> None:
    """``params``, which Ansible prints as the invocation, loses the proxies' credentials; passwords are masked by value wherever they turn up.

    So are those in the proxies that the host itself has.
    """
    network = params.get(OPTION) or {}
    proxies = [network.get(name) for name in ("http_proxy", "https_proxy")] + [os.environ.get(name) for name in PROXY_VARIABLES]
    for proxy in filter(None, proxies):
        no_log_values.update(word for word in _passwords(proxy) if len(word) >= MASKED_LENGTH)
    if network:
        params[OPTION] = {name: _told(value) if name.endswith("_proxy") and value else value for name, value in network.items()}


def _wrong_proxy(value: str) -> str:
    try:
        parts = urllib.parse.urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "it is not an address"
    if parts.scheme.lower() not in _SCHEMES or "://" not in value:
        return f"it does not begin with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}"
    if not host or any(letter.isspace() for letter in value) or port == 0:
        return "it names no host and port"
    return ""


def _told(proxy: str) -> str:
    """Without credentials, also where it is no address."""
    told = redact(proxy)
    return f"********@{told.rpartition('@')[2]}" if "@" in told and "********@" not in told else told


def _passwords(proxy: str) -> set[str]:
    user_info = proxy.rpartition("@")[0].partition("://")
    _user, _colon, password = (user_info[2] or user_info[0]).partition(":")
    return {word for word in (password, urllib.parse.unquote(password)) if word}
