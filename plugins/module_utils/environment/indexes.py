# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where Python packages come from: pip's own configuration on the host, the options, and both as variables for uv and pip.

A company's mirror is configured for pip. uv does not read that, so it is read here and handed to uv by name. Addresses
with credentials go into variables, never into a command line. Pure functions, but for reading the files.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import typing as t
import urllib.parse

from ..errors import WorkerError
from ..files import read_text
from ..redact import redact
from .specs import split_address


@dataclasses.dataclass(frozen=True)
class Indexes:
    """index_url empty: the Python Package Index. timeout: seconds of one request, 0 for the tool's own default."""

    index_url: str = ""
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    trusted_hosts: tuple[str, ...] = ()
    timeout: int = 0


def pip_settings(environ: t.Mapping[str, str], home: str) -> dict[str, str]:
    """pip's settings for ``install`` as pip itself would see them: ``{"index-url": …}``.

    Files from the weakest to the strongest (system, user, ``PIP_CONFIG_FILE``), in each ``[global]`` before
    ``[install]``, then the variables ``PIP_*``. Raises WorkerError ``broken_file``.
    """
    settings: dict[str, str] = {}
    for path in configuration_files(environ, home):
        text = read_text(path)
        if text is not None:
            settings.update(_read(text, path))
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value:
            settings[name[len("PIP_") :].lower().replace("_", "-")] = value
    return settings


def configuration_files(environ: t.Mapping[str, str], home: str) -> list[str]:
    """The files that pip reads on Linux, the weakest first."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    system = [os.path.join(directory, "pip", "pip.conf") for directory in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if directory]
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    user = [os.path.join(home, ".pip", "pip.conf"), os.path.join(config, "pip", "pip.conf")]
    return [*system, "/etc/pip.conf", *user, *([chosen] if chosen else [])]


def combine(
    settings: t.Mapping[str, str],
    index_url: t.Optional[str],
    extra_index_urls: t.Sequence[str],
    find_links: t.Sequence[str],
) -> Indexes:
    """pip's settings with the module's options over them, as pip's command line goes over them: one value replaces, lists grow."""
    return Indexes(
        index_url=index_url or settings.get("index-url", ""),
        extra_index_urls=_unique([*_words(settings, "extra-index-url"), *extra_index_urls]),
        find_links=_unique([*_words(settings, "find-links"), *find_links]),
        no_index=index_url is None and settings.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        cert=settings.get("cert", ""),
        client_cert=settings.get("client-cert", ""),
        proxy=settings.get("proxy", ""),
        trusted_hosts=tuple(_words(settings, "trusted-host")),
        timeout=_seconds(settings.get("timeout", settings.get("default-timeout", ""))),
    )


def uv_variables(indexes: Indexes, offline: bool) -> dict[str, str]:
    """Variables for uv. All indexes count equally, as with pip, so that both installers choose the same."""
    found = {
        "UV_DEFAULT_INDEX": indexes.index_url,
        # uv splits this one at blanks and the next one at commas.
        "UV_INDEX": " ".join(indexes.extra_index_urls),
        "UV_FIND_LINKS": ",".join(indexes.find_links),
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": " ".join(indexes.trusted_hosts),
        "UV_HTTP_TIMEOUT": str(indexes.timeout) if indexes.timeout else "",
        "UV_OFFLINE": "1" if offline else "",
        "SSL_CERT_FILE": indexes.cert,
        "SSL_CLIENT_CERT": indexes.client_cert,
        **_proxies(indexes),
    }
    return {name: value for name, value in found.items() if value}


def pip_variables(indexes: Indexes, offline: bool) -> dict[str, str]:
    """Variables for pip. It has no offline mode: then only directories and ``file://`` indexes are left."""
    extra = [url for url in indexes.extra_index_urls if not offline or is_local(url)]
    first = indexes.index_url if indexes.index_url and (not offline or is_local(indexes.index_url)) else ""
    if offline and not first and extra:
        first = extra.pop(0)
    found = {
        "PIP_INDEX_URL": first,
        "PIP_EXTRA_INDEX_URL": " ".join(extra),
        "PIP_FIND_LINKS": " ".join(each for each in indexes.find_links if not offline or is_local(each)),
        "PIP_NO_INDEX": "1" if indexes.no_index or (offline and not first) else "",
        "PIP_TRUSTED_HOST": " ".join(indexes.trusted_hosts),
        "PIP_DEFAULT_TIMEOUT": str(indexes.timeout) if indexes.timeout else "",
        "PIP_CERT": indexes.cert,
        "PIP_CLIENT_CERT": indexes.client_cert,
        **_proxies(indexes),
    }
    return {name: value for name, value in found.items() if value}


def without_missing(indexes: Indexes) -> Indexes:
    """The same without directories that do not exist: pip only warns of one in ``find-links``, uv would fail."""
    links = (each for each in indexes.find_links if not is_local(each) or os.path.exists(each[len("file://") :] if "://" in each else each))
    return dataclasses.replace(indexes, find_links=tuple(links))


def is_local(address: str) -> bool:
    """Whether it is a directory or a ``file://`` address."""
    return "://" not in address or address.startswith("file://")


def secrets_in(indexes: Indexes) -> list[str]:
    """The passwords and tokens in all addresses, to be masked by value wherever they turn up."""
    found: list[str] = []
    for address in (indexes.index_url, *indexes.extra_index_urls, *indexes.find_links, indexes.proxy):
        parts = split_address(address)
        secret = (parts.password or parts.username) if parts is not None else None
        if secret:
            found.extend({secret, urllib.parse.unquote(secret)})
    return found


def _read(text: str, path: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # It quotes the line, in which there may be an address with credentials.
        words = redact(" ".join(str(error).split()))
        raise WorkerError("broken_file", f"pip's configuration {path} cannot be read: {words}.", "Correct it; pip fails on it, too.") from None
    sections = [section for section in ("global", "install") if parser.has_section(section)]
    return {name.replace("_", "-"): value for section in sections for name, value in parser.items(section)}


def _words(settings: t.Mapping[str, str], name: str) -> list[str]:
    return settings.get(name, "").split()


def _unique(words: t.Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in words if word))


def _seconds(text: str) -> int:
    try:
        return max(0, int(float(text)))
    except ValueError:
        return 0


def _proxies(indexes: Indexes) -> dict[str, str]:
    return {"HTTP_PROXY": indexes.proxy, "HTTPS_PROXY": indexes.proxy} if indexes.proxy else {}
