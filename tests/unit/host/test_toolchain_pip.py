# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How pip is called, and what its failures mean."""

from __future__ import annotations

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.host import toolchain_pip
from ansible_collections.ew_ai.worker.plugins.module_utils.run import Completed

INDEX = "https://user:geheim@mirror.example/simple"


def test_no_address_is_in_the_arguments() -> None:
    assert toolchain_pip.install_argv("/t/bin/python", "/t/requirements.txt") == [
        *("/t/bin/python", "-I", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--no-input"),
        *("--disable-pip-version-check", "--progress-bar", "off", "-r", "/t/requirements.txt"),
    ]


@pytest.mark.parametrize(
    ("host", "options", "expected", "absent"),
    [
        ({}, (None, (), (), False), {"PIP_USER": "0", "PIP_CONSTRAINT": "/dev/null", "PIP_CACHE_DIR": "/c"}, ["PIP_INDEX_URL", "PIP_NO_INDEX"]),
        ({"PIP_INDEX_URL": INDEX, "PIP_CERT": "/ca"}, (None, (), (), False), {"PIP_INDEX_URL": INDEX, "PIP_CERT": "/ca"}, []),
        ({"PIP_INDEX_URL": "https://other"}, (INDEX, (), (), False), {"PIP_INDEX_URL": INDEX}, []),
        (
            {},
            (None, ("https://a", "https://b"), ("/w", "https://c"), False),
            {"PIP_EXTRA_INDEX_URL": "https://a https://b", "PIP_FIND_LINKS": "/w https://c"},
            [],
        ),
        ({"PIP_FIND_LINKS": "/host"}, (None, (), (), True), {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/host"}, []),
        (
            {"PIP_CACHE_DIR": "/theirs", "HOME": "/h", "XDG_CONFIG_HOME": "/x"},
            (None, (), (), False),
            {"PIP_CACHE_DIR": "/theirs", "HOME": "/h", "XDG_CONFIG_HOME": "/x"},
            [],
        ),
        (
            {"PIP_TARGET": "/x", "PIP_USER": "1", "PYTHONPATH": "/x", "LD_PRELOAD": "/x"},
            (None, (), (), False),
            {"PIP_USER": "0"},
            ["PIP_TARGET", "PYTHONPATH", "LD_PRELOAD"],
        ),
    ],
)
def test_environment(
    host: dict[str, str], options: tuple[str | None, tuple[str, ...], tuple[str, ...], bool], expected: dict[str, str], absent: list[str]
) -> None:
    found = toolchain_pip.pip_environment(*options, cache="/c", host=host)
    assert {name: found.get(name) for name in expected} == expected
    assert not set(absent) & set(found)


@pytest.mark.parametrize(
    ("words", "offline", "code"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", False, "disk_full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", False, "hash_mismatch"),
        (
            "WARNING: Retrying … SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))\nERROR: No matching distribution found",
            False,
            "tls_error",
        ),
        ("ERROR: HTTP error 401 while getting https://x\nERROR: 401 Client Error: Unauthorized for url", False, "unauthorized"),
        ("WARNING: 407 Proxy Authentication Required", False, "proxy_refused"),
        ("ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 403 Forbidden'))", False, "proxy_refused"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(…)'\nERROR: No matching distribution found for x", False, "no_network"),
        ("Temporary failure in name resolution", False, "no_network"),
        ("ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)", False, "no_wheel"),
        ("ERROR: Could not find a version that satisfies the requirement x==1 (from versions: none)", True, "offline"),
        ("something new", False, "install_failed"),
        ("", False, "install_failed"),
    ],
)
def test_failures(words: str, offline: bool, code: str) -> None:
    error = toolchain_pip.explain_failure(Completed(("python", "-I", "-m", "pip", "install"), 1, "", words), offline, "/opt/ew")
    assert (error.code, error.details["rc"]) == (code, 1)
    assert error.remedy
    assert "{root}" not in error.remedy


def test_credentials_in_output_are_masked() -> None:
    error = toolchain_pip.explain_failure(Completed(("python", "-m", "pip"), 1, f"Looking in indexes: {INDEX}", f"no way to {INDEX}"), False, "/opt/ew")
    assert "geheim" not in str(error.as_result())


def test_blanks_in_addresses() -> None:
    toolchain_pip.refuse_blanks("find_links", ["/a", None, "https://x"])
    with pytest.raises(OptionError, match="find_links"):
        toolchain_pip.refuse_blanks("find_links", ["/a b"])
