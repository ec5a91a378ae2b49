# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The logins for channels and indexes in the netrc file of the account that runs the module.

pip and conda read that file themselves; what builds here has another home, and often another account. So addresses without
credentials get theirs here, and carry them where those that were given with some do. Pure functions, but for reading the file.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
import urllib.parse

from ..errors import WorkerError
from .indexes import Indexes
from .specs import credentials, split_address

Logins = dict[str, tuple[str, str]]


def netrc_logins(environ: t.Mapping[str, str], home: str) -> Logins:
    """(user, password) by host. Not the entry ``default``: no host gets a password that it was not named for.

    Raises WorkerError ``broken_file``.
    """
    path = environ.get("NETRC") or os.path.join(home, ".netrc")
    if not os.path.isfile(path):
        return {}
    # A converged run on a host without one needs none of it.
    import netrc

    try:
        found = netrc.netrc(path)
    except (netrc.NetrcParseError, UnicodeDecodeError) as error:
        # Its message may quote a password.
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise WorkerError("broken_file", f"The logins in {path} cannot be read{where}.", f"Correct it; it must belong to its user: ls -l {path}") from None
    return {host: (login or account or "", password or "") for host, (login, account, password) in found.hosts.items() if host != "default"}


def with_login(address: str, logins: Logins) -> str:
    """The address with the login of its host, where it has none of its own."""
    parts = split_address(address)
    if parts is None or parts.scheme not in ("http", "https") or credentials(address) is not None:
        return address
    login = logins.get(parts.hostname or "")
    if login is None:
        return address
    user, password = (urllib.parse.quote(word, safe="") for word in login)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc}").geturl()


def indexes_with_logins(indexes: Indexes, logins: Logins) -> Indexes:
    """All its addresses."""

    def every(addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(with_login(each, logins) for each in addresses)

    return dataclasses.replace(
        indexes,
        index_url=with_login(indexes.index_url, logins),
        extra_index_urls=every(indexes.extra_index_urls),
        find_links=every(indexes.find_links),
    )
