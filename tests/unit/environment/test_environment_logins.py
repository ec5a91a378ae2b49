# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins from netrc: for the hosts that it names, and for no other."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import Indexes
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.logins import indexes_with_logins, netrc_logins, with_login
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError

NETRC = "machine index.test login reader password pass@word/1\ndefault login anybody password anything\n"
LOGINS = {"index.test": ("reader", "pass@word/1")}


def test_where_the_file_is_and_what_counts_in_it(tmp_path: pathlib.Path) -> None:
    assert netrc_logins({}, str(tmp_path)) == {}
    (tmp_path / ".netrc").write_text(NETRC)
    assert netrc_logins({}, str(tmp_path)) == LOGINS
    (tmp_path / "other").write_text("machine other.test login a password b\n")
    assert netrc_logins({"NETRC": str(tmp_path / "other")}, str(tmp_path)) == {"other.test": ("a", "b")}


def test_a_broken_file_is_told_without_what_is_in_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / ".netrc").write_text("machine index.test login reader password geheim4711 geheim4712 x\n")
    with pytest.raises(WorkerError) as caught:
        netrc_logins({}, str(tmp_path))
    assert caught.value.code == "broken_file"
    assert ".netrc" in caught.value.message
    assert "geheim471" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://index.test:8443/simple", "https://reader:pass%40word%2F1@index.test:8443/simple"),
        ("https://own:login@index.test/simple", "https://own:login@index.test/simple"),
        ("https://index.test/t/token/channel", "https://index.test/t/token/channel"),
        ("https://elsewhere.test/simple", "https://elsewhere.test/simple"),
        ("file:///srv/wheels", "file:///srv/wheels"),
        ("conda-forge", "conda-forge"),
        ("https://[x", "https://[x"),
        ("", ""),
    ],
)
def test_an_address_gets_the_login_of_its_host(address: str, expected: str) -> None:
    assert with_login(address, LOGINS) == expected


def test_every_kind_of_index_does() -> None:
    plain = "https://index.test/a"
    found = indexes_with_logins(Indexes(index_url=plain, extra_index_urls=(plain,), find_links=(plain, "/srv")), LOGINS)
    assert {found.index_url, *found.extra_index_urls, found.find_links[0]} == {with_login(plain, LOGINS)}
    assert found.find_links[1] == "/srv"
