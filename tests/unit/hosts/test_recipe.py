# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes into an image of a test host, and which mirror it comes from."""

from __future__ import annotations

import pytest

from ansible_collections.ew_ai.worker.tests.hosts import recipe
from ansible_collections.ew_ai.worker.tests.hosts.recipe import Recipe

DUMP = """\
APT "";
Acquire "";
Acquire::Check-Valid-Until "false";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::deb.example "DIRECT";
Acquire::https::deb.example::CaInfo "/etc/ssl/own.pem";
Acquire::https::Verify-Peer "true";
Acquire::Languages:: "none";
Acquire::CompressionTypes::xz "xz";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";
"""


def test_only_the_way_to_the_mirror_is_taken_from_apt() -> None:
    assert recipe.apt_settings(DUMP) == (
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::deb.example "DIRECT";',
        'Acquire::https::deb.example::CaInfo "/etc/ssl/own.pem";',
        'Acquire::https::Verify-Peer "true";',
    )


@pytest.mark.parametrize(
    ("sources", "mirror"),
    [
        ([], recipe.DEFAULT_MIRROR),
        (["deb http://mirror.example/debian bookworm main"], "http://mirror.example/debian"),
        (["deb [arch=amd64 signed-by=/k.gpg] https://m.example/debian/ trixie main"], "https://m.example/debian"),
        (["deb http://m.example/debian-security bookworm-security main"], recipe.DEFAULT_MIRROR),
        (["# deb http://old.example/debian sid main\n"], recipe.DEFAULT_MIRROR),
        (["deb http://archive.example/ubuntu noble main"], recipe.DEFAULT_MIRROR),
        (["Types: deb\nURIs: https://m.example/debian\nSuites: bookworm\n"], "https://m.example/debian"),
        (["deb http://tool.example/apt x main", "Uris: http://m.example/pub/debian"], "http://m.example/pub/debian"),
    ],
)
def test_the_mirror_of_the_machine_is_used(sources: list[str], mirror: str) -> None:
    assert recipe.debian_mirror(sources) == mirror


def test_the_tag_follows_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = [Recipe("bookworm", "a").tag, Recipe("bookworm", "a").tag, Recipe("bookworm", "b").tag, Recipe("trixie", "a").tag]
    assert tags[0] == tags[1]
    assert len(set(tags)) == 3
    monkeypatch.setattr(recipe, "PACKAGES", ("systemd",))
    assert Recipe("bookworm", "a").tag not in tags


def test_the_image_is_bootstrapped_from_the_mirror() -> None:
    argv = recipe.bootstrap_argv(Recipe("trixie", "x"), "http://m.example/debian", ('Acquire::Retries "3";',), "/i.sh", "/r.tar")
    assert argv[0] == "mmdebstrap"
    assert '--aptopt=Acquire::Retries "3";' in argv
    assert "--customize-hook=upload /i.sh /usr/local/sbin/test-host-init" in argv
    assert argv[-3:] == ["trixie", "/r.tar", "http://m.example/debian"]
    included = next(word for word in argv if word.startswith("--include=")).removeprefix("--include=").split(",")
    assert {"systemd-sysv", "dbus-user-session", "openssh-server", "python3-venv", "sudo", "tini"} <= set(included)


def test_the_image_is_imported_with_its_tag() -> None:
    wanted = Recipe("trixie", "x")
    assert recipe.import_argv(wanted, "/r.tar")[-2:] == ["/r.tar", wanted.tag]
