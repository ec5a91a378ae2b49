# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether channels and package indexes answer, asked side by side, through the proxy in force. Needs nothing of Ansible."""

from __future__ import annotations

import os
import typing as t
import urllib.parse

TIMEOUT = 5.0
CHANNELS = "https://conda.anaconda.org"
_ASKED = ("http://", "https://", "file://")


class Address(t.NamedTuple):
    """What is asked for: ``url``, without credentials, and whether 404 is an answer. An address whose credentials are not known here may well answer that."""

    url: str
    must_exist: bool = False


def channel_address(channel: str) -> Address:
    """What a channel has. channel: a name or an address."""
    if channel.startswith("file:"):
        return Address(channel)
    base = channel if "://" in channel else f"{CHANNELS}/{channel}"
    return Address(f"{base}/noarch/repodata.json", must_exist="://" not in channel)


def proxy_of(url: str) -> str:
    """The proxy through which the address is asked, or nothing."""
    import urllib.request

    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def silent(addresses: t.Iterable[Address]) -> dict[Address, str]:
    """The problem by address, of those that do not answer.

    What answers at all is left to those that fetch from it: they know credentials and certificates.
    """
    asked = sorted(each for each in addresses if each.url.startswith(_ASKED))
    if not asked:
        return {}
    # A converged run asks nobody and needs none of it.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(asked)) as pool:
        return {address: problem for address, problem in zip(asked, pool.map(_problem, asked)) if problem}


def _problem(address: Address) -> str:
    if address.url.startswith("file://"):
        path = urllib.parse.unquote(urllib.parse.urlsplit(address.url).path)
        return "" if os.path.exists(path) else "there is no such directory on this host"
    return _ask(address)


def _ask(address: Address) -> str:
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    try:
        request = urllib.request.Request(address.url, method="HEAD", headers={"User-Agent": "ew_ai.worker"})
        # With the handlers of every request, the proxies in force among them.
        with urllib.request.build_opener().open(request, timeout=TIMEOUT):
            return ""
    except urllib.error.HTTPError as error:
        gone = error.code == 404 and address.must_exist
        # 501: it is there, and does not know how to answer the short question.
        return f"status {error.code} {error.reason}".rstrip() if gone or (error.code >= 500 and error.code != 501) else ""
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            return ""
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
