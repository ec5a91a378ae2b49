# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxies and certificates as an option: in force for children, told without credentials."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils import network
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.run import PROXY_VARIABLES

PROXY = "http://fleet:geheim%404711@proxy.test:3128"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("https_proxy", "proxy.test:3128", "does not begin with"),
        ("https_proxy", "fleet:geheim4711@proxy.test:3128", "does not begin with"),
        ("http_proxy", "ftp://proxy.test", "does not begin with"),
        ("http_proxy", "http://fleet:geheim4711@", "no host"),
        ("http_proxy", "http://fleet:geheim4711@proxy.test:many", "not an address"),
        ("http_proxy", "http://[::1", "not an address"),
        ("http_proxy", "http://proxy test:1", "not an address|no host"),
        ("ca_bundle", "/no/such/file.pem", "no such file"),
    ],
)
def test_what_would_not_work_is_refused_by_name(name: str, value: str, why: str) -> None:
    with pytest.raises(OptionError, match=why) as caught:
        network.apply({name: value})
    assert caught.value.details["option"] == f"network.{name}"
    assert caught.value.remedy
    assert "geheim4711" not in str(caught.value)


def test_what_is_in_force(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    names = [*PROXY_VARIABLES, "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
    for name in names:
        monkeypatch.setenv(name, "the host's")
    network.apply({"http_proxy": "", "https_proxy": PROXY, "no_proxy": "inside.test", "ca_bundle": str(bundle)})
    found = {name: os.environ[name] for name in names}
    assert {found[name] for name in ("https_proxy", "HTTPS_PROXY")} == {PROXY}
    assert {found[name] for name in ("no_proxy", "NO_PROXY")} == {"inside.test"}
    assert {found[name] for name in names[-4:]} == {str(bundle)}
    assert {found[name] for name in ("http_proxy", "HTTP_PROXY", "all_proxy")} == {"the host's"}, "what is not given stays"
    network.apply(None)
    network.apply({"ca_bundle": "/no/such/file.pem"}, needs_files=False)


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        (PROXY, "http://********@proxy.test:3128"),
        ("http://proxy.test:3128", "http://proxy.test:3128"),
        ("fleet:geheim@4711@proxy.test", "********@proxy.test"),
    ],
)
def test_the_invocation_loses_the_login(proxy: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://own:password-of-the-host@proxy.test")
    params: dict[str, t.Any] = {"network": {"https_proxy": proxy, "http_proxy": None, "no_proxy": "x", "ca_bundle": "/c"}}
    values: set[str] = set()
    network.hide(params, values)
    assert params["network"] == {"https_proxy": told, "http_proxy": None, "no_proxy": "x", "ca_bundle": "/c"}
    assert "password-of-the-host" in values
    assert ("geheim@4711" in values) == ("geheim" in proxy)
