# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where packages come from, the installers' commands, and what failures mean."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import CreateRequest, choose_backend, make_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import (
    Indexes,
    combine,
    configuration_files,
    pip_settings,
    pip_variables,
    secrets_in,
    uv_variables,
    without_missing,
)
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.installers import Installer, check_fit, classify, failure, problems
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.rattler_backend import auth_store
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.rattler_errors import classify as classify_rattler
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.run import Completed

MIRROR = "https://u:secret123@mirror.example/simple"


def test_pip_is_asked_in_its_own_order(tmp_path: pathlib.Path) -> None:
    """System, user, chosen file, variables; in each file [global] before [install]."""
    system, user, chosen = tmp_path / "xdg/pip", tmp_path / "home/.config/pip", tmp_path / "chosen.conf"
    system.mkdir(parents=True)
    user.mkdir(parents=True)
    (system / "pip.conf").write_text("[global]\nindex-url = https://system/simple\ntimeout = 7\n")
    (user / "pip.conf").write_text(
        "[global]\nindex_url = https://user/simple\ntimeout = 9\nfind-links =\n    /one\n    /two\n"
        "[install]\nextra-index-url = https://extra/simple\n[freeze]\ntimeout = 1\n"
    )
    chosen.write_text("[global]\ncert = /chosen.pem\n")
    environ = {
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "PIP_CONFIG_FILE": str(chosen),
        "PIP_TRUSTED_HOST": "a b",
        "PIP_CERT": "/variable.pem",
        "PIP_EMPTY": "",
    }
    settings = pip_settings(environ, str(tmp_path / "home"))
    found = combine(settings, None, ["https://option/simple"], ["/two", "/three"])
    # The machine's own /etc/pip.conf is read as well, but is weaker than the user's.
    assert found.index_url == "https://user/simple"
    assert found.extra_index_urls == ("https://extra/simple", "https://option/simple")
    assert found.find_links == ("/one", "/two", "/three")
    assert (found.cert, found.trusted_hosts, found.timeout) == ("/variable.pem", ("a", "b"), 9)
    assert pip_settings({"XDG_CONFIG_DIRS": str(tmp_path / "xdg")}, "/nonexistent")["index-url"] == "https://system/simple"


def test_pip_can_be_told_to_read_no_file() -> None:
    assert configuration_files({"PIP_CONFIG_FILE": "/dev/null"}, "/home/x") == []
    assert pip_settings({"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": MIRROR}, "/home/x") == {"index-url": MIRROR}


def test_a_broken_configuration_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "pip.conf"
    path.write_text("index-url = https://ann:hunter22@mirror/simple\n")
    with pytest.raises(WorkerError, match=r"pip\.conf") as caught:
        pip_settings({"PIP_CONFIG_FILE": str(path)}, str(tmp_path))
    assert "hunter22" not in str(caught.value)


def test_an_index_given_beats_no_index() -> None:
    settings = {"no-index": "true", "index-url": "https://conf/simple"}
    assert combine(settings, None, [], []).no_index is True
    given = combine(settings, MIRROR, [], [])
    assert (given.no_index, given.index_url) == (False, MIRROR)


ALL = Indexes(
    index_url=MIRROR,
    extra_index_urls=("https://extra/simple", "file:///srv/simple"),
    find_links=("/wheels", "https://links/"),
    cert="/ca.pem",
    client_cert="/me.pem",
    proxy="http://proxy:3128",
    trusted_hosts=("a", "b"),
    timeout=30,
)


def test_variables_for_uv() -> None:
    assert uv_variables(ALL, offline=False) == {
        "UV_DEFAULT_INDEX": MIRROR,
        "UV_INDEX": "https://extra/simple file:///srv/simple",
        "UV_FIND_LINKS": "/wheels,https://links/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "a b",
        "UV_HTTP_TIMEOUT": "30",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    assert uv_variables(Indexes(), offline=True) == {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("indexes", "offline", "expected"),
    [
        (Indexes(), False, {}),
        (Indexes(), True, {"PIP_NO_INDEX": "1"}),
        (Indexes(no_index=True, find_links=("/w",)), False, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/w"}),
        (
            Indexes(index_url=MIRROR, extra_index_urls=("https://e/", "file:///s", "file:///t"), find_links=("/w", "https://l")),
            True,
            {"PIP_INDEX_URL": "file:///s", "PIP_EXTRA_INDEX_URL": "file:///t", "PIP_FIND_LINKS": "/w"},
        ),
        (Indexes(index_url=MIRROR, extra_index_urls=("https://e/",)), False, {"PIP_INDEX_URL": MIRROR, "PIP_EXTRA_INDEX_URL": "https://e/"}),
    ],
)
def test_variables_for_pip(indexes: Indexes, offline: bool, expected: dict[str, str]) -> None:
    assert pip_variables(indexes, offline) == expected


def test_missing_directories_are_left_out_as_pip_does(tmp_path: pathlib.Path) -> None:
    given = ("https://host/links", str(tmp_path), f"file://{tmp_path}", "/no/such/directory", "file:///no/such/directory")
    assert without_missing(Indexes(find_links=given)).find_links == given[:3]


def test_secrets_are_known_by_value() -> None:
    assert secrets_in(Indexes(index_url="https://[x", proxy="http://u:p@[y")) == []
    assert set(secrets_in(Indexes(index_url="https://u:a%40b@h/", extra_index_urls=("https://token@h/",), find_links=("/w",)))) == {"a%40b", "a@b", "token"}


INSTALLERS: list[tuple[str, bool, str, list[str]]] = [
    (
        "uv",
        False,
        "install",
        "/uv pip install --no-config --color never --python /e/bin/python --output-format json -r /s/1.txt -r /s/2.txt -c /s/3.txt".split(),
    ),
    (
        "uv",
        True,
        "install",
        "/uv pip install --no-config --color never --python /e/bin/python --output-format json --no-index -r /s/1.txt -r /s/2.txt -c /s/3.txt".split(),
    ),
    ("uv", False, "verify", "/uv pip check --no-config --color never --python /e/bin/python".split()),
    ("pip", True, "install", "/e/bin/python -I -m pip install -r /s/1.txt -r /s/2.txt -c /s/3.txt".split()),
    ("pip", False, "verify", "/e/bin/python -I -m pip check".split()),
]


@pytest.mark.parametrize(("name", "no_index", "verb", "argv"), INSTALLERS)
def test_the_installers_commands(name: str, no_index: bool, verb: str, argv: list[str]) -> None:
    installer = Installer(name, "/uv", "/e/bin/python", "/cache", False, Indexes(index_url=MIRROR, no_index=no_index))
    assert (installer.install(["/s/1.txt", "/s/2.txt"], ["/s/3.txt"]) if verb == "install" else installer.verify()) == argv


@pytest.mark.parametrize("name", ["uv", "pip"])
def test_credentials_are_in_variables_only(name: str) -> None:
    installer = Installer(name, "/uv", "/e/bin/python", "/cache", False, Indexes(index_url=MIRROR))
    assert "secret123" not in " ".join(installer.install(["/r"], []))
    assert any("secret123" in value for value in installer.variables().values())
    assert {"uv": "UV_CACHE_DIR", "pip": "PIP_CACHE_DIR"}[name] in installer.variables()


# Text as uv 0.13 and pip 23 write it, shortened.
FAILURES: list[tuple[str, str]] = [
    ("error: No solution found when resolving dependencies\n  cause: Because you require idna==3.7 and idna<2, we can conclude", "pip_conflict"),
    ("ERROR: Cannot install idna<2 and idna==3.7 because these package versions have conflicting dependencies.\nERROR: ResolutionImpossible", "pip_conflict"),
    (
        "ERROR: Could not find a version that satisfies the requirement nope (from versions: none)\nERROR: No matching distribution found for nope",
        "pip_conflict",
    ),
    ("Checked 3 packages in 2ms\nFound 1 incompatibility\nThe package `requests` requires `idna<4`, but it's not installed", "pip_conflict"),
    ("requests 2.31.0 requires idna, which is not installed.", "pip_conflict"),
    (
        "error: Request failed after 3 retries in 5.9s\n  cause: Failed to fetch: http://x/six/\n  cause: client error (Connect)\n  cause: tcp connect",
        "index_unreachable",
    ),
    ("No solution found\nhint: Packages were unavailable because the network was disabled.", "index_unreachable"),
    (
        "WARNING: Retrying ... NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused')\n"
        "ERROR: No matching distribution found for six",
        "index_unreachable",
    ),
    ("  cause: client error (Connect)\n  cause: tunnel error: proxy authorization required", "index_unreachable"),
    ("  cause: client error (Connect)\n  cause: invalid peer certificate: UnknownIssuer", "index_unreachable"),
    ("  cause: Hash mismatch for `six==1.16.0`", "hash_mismatch"),
    ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash_mismatch"),
    ("error: The build backend returned an error\n  cause: Call to `setuptools.build_meta` failed (exit status: 1)", "build_failed"),
    ("error: subprocess-exited-with-error\n× Getting requirements to build wheel did not run successfully.", "build_failed"),
    ("error: failed to write\n  cause: No space left on device (os error 28)", "disk_full"),
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk_full"),
    ("error: failed to open file `/x`: Permission denied (os error 13)", "not_writable"),
    ("something else", "install_failed"),
]


@pytest.mark.parametrize(("text", "code"), FAILURES)
def test_what_a_failed_installer_means(text: str, code: str) -> None:
    assert classify(text)[0] == code
    found = failure(Completed(("uv", "pip", "install"), 1, "", f"{text}\nhttps://u:secret123@h/"), "Installing")
    assert found.code == code
    assert found.remedy
    assert "secret123" not in str(found.as_result())


UV_WORDS = """\
Using Python 3.11.2 environment at: /e
error: Request failed after 3 retries in 6.8s
  cause: Failed to fetch: https://pypi.org/simple/numpy/
  cause: client error (Connect)
  cause: dns error"""


@pytest.mark.parametrize(
    ("words", "first", "told"),
    [
        (UV_WORDS, "Failed to fetch: https://pypi.org/simple/numpy/", UV_WORDS.splitlines()[1:]),
        ("x\nERROR: Could not find a version\nERROR: No match", "Could not find a version", ["x", "ERROR: Could not find a version", "ERROR: No match"]),
        ("error: no such file", "no such file", ["error: no such file"]),
        ("killed", "killed", []),
        ("", "it wrote nothing", []),
    ],
)
def test_the_reason_comes_first_and_the_command_last(words: str, first: str, told: list[str]) -> None:
    lines = str(failure(Completed(("uv", "pip", "install"), 2, "", words), "Installing")).splitlines()
    assert lines[:-1] == [f"Installing failed: {first}", *told, "This was uv pip install; its status was 2."]


CHECKS: list[tuple[int, str, str, set[str]]] = [
    (0, "", "Using Python 3.11.7 environment at: /e\nChecked 2 packages in 1ms\nAll installed packages are compatible\n", set()),
    (
        1,
        "",
        "Using Python 3.11.7 environment at: /e\nChecked 3 packages in 2ms\nFound 1 incompatibility\nThe package `a` requires `b>=2`, but `1.0` is installed\n",
        {"The package `a` requires `b>=2`, but `1.0` is installed"},
    ),
    (0, "No broken requirements found.\n", "", set()),
    (
        1,
        "a 1.0 requires b, which is not installed.\nc 1 has requirement d>=2, but you have d 1.\n",
        "WARNING: x\n",
        {"a 1.0 requires b, which is not installed.", "c 1 has requirement d>=2, but you have d 1."},
    ),
]


@pytest.mark.parametrize(("rc", "stdout", "stderr", "expected"), CHECKS)
def test_only_new_problems_count(rc: int, stdout: str, stderr: str, expected: set[str]) -> None:
    completed = Completed(("check",), rc, stdout, stderr)
    assert problems(completed) == expected
    check_fit(expected, completed)
    if expected:
        with pytest.raises(WorkerError) as failed:
            check_fit(set(), completed)
        assert (failed.value.code, set(failed.value.details["problems"])) == ("pip_conflict", expected)


REQUEST = CreateRequest("/p", ("python 3.10.*",), ("https://u:secret123@host/c",), "linux-64", "/c", "/s", False, 60)
# Text as py-rattler 0.28 writes it, shortened.
RATTLER: list[tuple[str, str, str]] = [
    ("SolverError", "Cannot solve the request because of: No candidates were found for no-such *.", "unsatisfiable"),
    ("InvalidMatchSpecError", "unable to parse version spec: =>3.11", "invalid_option"),
    ("HashMismatch", "/c/x.conda has the sha256 aa, but its channel says bb", "hash_mismatch"),
    ("InstallerError", "failed to fetch x\nCaused by: hash mismatch: expected aa, got bb", "hash_mismatch"),
    ("GatewayError", "could not find subdir 'noarch' in channel 'file:///c/'\nCaused by: No such file or directory (os error 2)", "channel_unreachable"),
    (
        "GatewayError",
        "error sending request for url (http://127.0.0.1:9/x)\nCaused by: client error (Connect)\nCaused by: tcp connect error",
        "channel_unreachable",
    ),
    ("GatewayError", "Caused by: dns error\nCaused by: failed to lookup address information: Name or service not known", "channel_unreachable"),
    ("GatewayError", "HTTP status client error (401 Unauthorized) for url (http://host/c)", "channel_unreachable"),
    ("GatewayError", "no usable repodata cache for http://host/c/noarch/", "channel_unreachable"),
    ("InstallerError", "failed to create the prefix\nCaused by: failed to create directory `/p/conda-meta`: Permission denied (os error 13)", "not_writable"),
    ("InstallerError", "failed to link 'x'\nCaused by: No space left on device (os error 28)", "disk_full"),
    ("InstallerError", "target prefix cannot be longer than the placeholder prefix (encoding 'utf-8')", "prefix_too_long"),
    ("ValueError", "something else", "create_failed"),
]


@pytest.mark.parametrize(("kind", "message", "code"), RATTLER)
def test_what_a_failed_solver_means(kind: str, message: str, code: str) -> None:
    found = classify_rattler(kind, message, REQUEST)
    assert found.code == code
    assert found.remedy
    assert not found.message.endswith("..")
    assert "secret123" not in str(found.as_result())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("error sending request\nclient error (Connect)\ntunnel error: unsuccessful", "worker_https_proxy"),
        ("error sending request\nclient error (Connect)\ntunnel error: proxy authorization required", "worker_https_proxy"),
        ("error sending request\nclient error (Connect)\ninvalid peer certificate: UnknownIssuer", "worker_ca_bundle"),
    ],
)
def test_what_stands_between_is_named(words: str, named: str) -> None:
    assert named in classify_rattler("GatewayError", words, REQUEST).remedy
    assert named in classify(words)[1]


def test_channel_credentials_go_into_the_librarys_own_store() -> None:
    channels = ["https://u:p%40@one.example/c", "https://two.example/t/token/c", "conda-forge"]
    assert auth_store(channels) == {"one.example": {"BasicHTTP": {"username": "u", "password": "p@"}}, "two.example": {"CondaToken": "token"}}


@pytest.mark.parametrize(
    ("wanted", "executable", "expected"),
    [
        ("auto", None, "rattler"),
        # Whether there is a conda, the host tells when something is built.
        ("auto", "conda", "auto"),
        ("auto", "/opt/conda/bin/conda", "auto"),
        ("rattler", "/opt/conda/bin/conda", "rattler"),
        ("conda", None, "conda"),
        ("micromamba", "micromamba", "micromamba"),
        ("auto", "bin/conda", None),
        ("auto", "", None),
        ("conda", "/opt/conda\nx", None),
        ("conda", "-p", None),
    ],
)
def test_the_backend_is_chosen(wanted: str, executable: t.Optional[str], expected: t.Optional[str]) -> None:
    if expected is not None:
        assert choose_backend(wanted, executable) == expected
        return
    with pytest.raises(WorkerError) as failed:
        choose_backend(wanted, executable)
    assert (failed.value.code, failed.value.details["option"]) == ("invalid_option", "executable")


def test_there_is_no_other_backend() -> None:
    with pytest.raises(WorkerError, match="pixi"):
        make_backend("pixi")
