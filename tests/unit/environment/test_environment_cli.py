# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backends conda, mamba and micromamba over recorded answers of the real ones: ``tests/replay.py`` takes their place, everything else is real."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import cli_answers, cli_backend, cli_commands, made_prefix
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import CreateRequest, Detected, make_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.cli_backend import CliBackend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.locked import LockedPackage
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from tests.recorded import ROWS, TOOLS, Lab

SECRET = "geheim-4711"
BASE = CreateRequest("/p", ("python 3.10.*",), ("conda-forge",), "linux-64", "/c/conda", "/s", False, 60)


# (label, what must fail and how, for conda and for micromamba): a code and a word of the message; None: it succeeds.
FAILURES: list[tuple[str, t.Optional[tuple[str, str]], t.Optional[tuple[str, str]]]] = [
    ("create unsatisfiable json", ("unsatisfiable", "ew-lib"), ("unsatisfiable", "ew-lib")),
    ("create package missing json", ("unsatisfiable", "no-such-package"), ("unsatisfiable", "no-such-package")),
    ("create version missing json", ("unsatisfiable", "python"), ("unsatisfiable", "python")),
    ("create dependency missing json", ("unsatisfiable", "does-not-exist"), ("unsatisfiable", "does-not-exist")),
    ("create unreachable channel file json", ("channel_unreachable", "no-such-channel"), ("channel_unreachable", "no-such-channel")),
    ("create unreachable channel refused json", ("channel_unreachable", "127.0.0.1:9"), ("channel_unreachable", "127.0.0.1:9")),
    ("create unreachable channel 404 json", ("channel_unreachable", "404"), ("channel_unreachable", "404")),
    ("create unreachable channel dns json", ("channel_unreachable", "no-such-host.invalid"), ("channel_unreachable", "no-such-host.invalid")),
    ("create one channel bad one good json", ("channel_unreachable", "nope"), ("channel_unreachable", "nope")),
    ("create spec 'python==3.11=*=x' json", ("invalid_option", "3.11"), ("invalid_option", "3.11")),
    ("create read-only parent (uid 65534) json", ("not_writable", "permissions"), ("not_writable", "Permission denied")),
    ("offline with cold cache json", ("channel_unreachable", "ew-z"), ("channel_unreachable", "ew-z")),
    ("offline with warm cache json", None, None),
    ("SIGTERM (group) during post-link of create json", ("create_failed", ""), ("create_failed", "SIGTERM")),
    ("SIGKILL (group) during post-link of create json", ("create_failed", "SIGKILL"), ("create_failed", "SIGKILL")),
    ("SIGKILL during linking of create json", ("create_failed", "SIGKILL"), ("create_failed", "SIGKILL")),
    # rc 0 and success: true over an empty prefix.
    ("SIGINT (group) during post-link of create json", ("create_failed", ""), ("create_failed", "lacks ew-slow, ew-tzdata, ew-z")),
    # The caller runs the script: see test_link_scripts_are_left_to_the_caller.
    ("failing post-link create json", ("build_failed", "ew-badpost"), None),
    ("create by prefix success json", None, None),
    ("create already existing, -y json, other specs", None, None),
    ("CONDA_DRY_RUN=1 create json", None, None),
]
CASES = [(tool, label, outcome) for label, *outcomes in FAILURES for tool, outcome in zip(TOOLS, outcomes)]


@pytest.mark.parametrize(("tool", "label", "expected"), CASES)
def test_recorded_outcomes(lab: Lab, tool: str, label: str, expected: t.Optional[tuple[str, str]]) -> None:
    if expected is None:
        packages = lab.create(tool, label)
        wanted = {record.rsplit("-", 2)[0] for record in ROWS[tool, label]["after"]["conda_meta"] if record.endswith(".json")}
        assert {package["name"] for package in packages} == wanted
        assert set(packages[0]) == {"name", "version", "build", "channel"}
        return
    with pytest.raises(WorkerError) as failed:
        lab.create(tool, label)
    assert (failed.value.code, expected[1] in failed.value.message) == (expected[0], True), failed.value.message
    assert failed.value.remedy
    assert failed.value.details["cmd"].startswith(f"{lab.top}/{tool} create --prefix {lab.top}/prefix")
    assert "Traceback" not in failed.value.message


def test_conda_that_exits_zero_without_answer_and_environment_has_failed(lab: Lab) -> None:
    label = "repeat 0: 2 concurrent creates, different prefixes, shared cold pkgs cache #0"
    with pytest.raises(WorkerError, match=r"ended with status 0, but .* lacks ew-big, python") as failed:
        lab.create("conda", label)
    assert (failed.value.code, failed.value.details["rc"]) == ("create_failed", 0)
    assert "Exiting 1" in failed.value.message


def test_conda_with_a_damaged_package_cache_says_what_to_remove(lab: Lab) -> None:
    with pytest.raises(WorkerError, match="appears to be corrupted") as failed:
        lab.create("conda", "repeat 2: 2 concurrent creates, different prefixes, shared cold pkgs cache #0")
    assert f"remove {lab.top}/cache/conda-conda" in failed.value.remedy


def packed(lab: Lab, contents: bytes = b"x") -> tuple[str, str, str]:
    """(address, sha256, md5) of a package in a directory."""
    path = lab.top / "ew-z-1.3.1-h0_0.conda"
    path.write_bytes(contents)
    return f"file://{path}", hashlib.sha256(contents).hexdigest(), hashlib.md5(contents).hexdigest()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_locked_packages_are_created_from_an_explicit_list(lab: Lab, tool: str, kind: str) -> None:
    """conda's standard output is empty then, with the status 0."""
    url, sha256, md5 = packed(lab)
    locked = (LockedPackage(url, sha256=sha256) if kind == "sha256" else LockedPackage(url, md5=md5),)
    packages = lab.create(tool, "explicit file good md5", specs=(), channels=(), locked=locked)
    assert [package["name"] for package in packages] == ["ew-z"]
    (call,) = [each for each in lab.calls() if each["argv"][0] == "create"]
    assert "--override-channels" not in call["argv"]


@pytest.mark.parametrize("tool", TOOLS)
def test_locked_file_packages_with_another_hash_are_refused_before_the_tool_runs(lab: Lab, tool: str) -> None:
    """conda takes them, as recorded."""
    assert ROWS["conda", "explicit file wrong md5"]["rc"] == 0
    url, _sha256, _md5 = packed(lab)
    for locked in (LockedPackage(url, md5="0" * 32), LockedPackage(url, sha256="0" * 64)):
        with pytest.raises(WorkerError) as failed:
            lab.create(tool, "explicit file wrong md5", specs=(), channels=(), locked=(locked,))
        assert failed.value.code == "hash_mismatch"
    assert not (lab.top / "log").exists()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("label", "code"), [("explicit http wrong sha256", "hash_mismatch"), ("explicit with missing url json", "channel_unreachable")])
def test_locked_packages_that_the_tool_refuses(lab: Lab, tool: str, label: str, code: str) -> None:
    locked = (LockedPackage("http://127.0.0.1:9/linux-64/ew-z-1.3.1-h0_0.conda", sha256="0" * 64),)
    with pytest.raises(WorkerError) as failed:
        lab.create(tool, label, specs=(), channels=(), locked=locked)
    assert failed.value.code == code


def test_package_of_a_directory_that_is_not_what_its_index_says_is_refused_and_forgotten(lab: Lab) -> None:
    """conda takes it, and would take what it unpacked again."""
    url, sha256, _md5 = packed(lab)
    record = {"name": "ew-z", "url": url, "sha256": sha256}
    channel = f"file://{lab.top}"
    made_prefix.check_hashes({"a.json": record}, (channel,))
    with pytest.raises(WorkerError) as failed:
        made_prefix.check_hashes({"a.json": {**record, "sha256": "0" * 64}}, (channel,))
    assert failed.value.code == "hash_mismatch"
    # What a package says of itself is not followed anywhere else.
    made_prefix.check_hashes({"a.json": {**record, "sha256": "0" * 64, "url": "file:///etc/shadow"}}, (channel,))


@pytest.mark.parametrize("tool", TOOLS)
def test_nothing_of_the_callers_configuration_reaches_the_tool(lab: Lab, tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these changed an outcome in the recorded runs, or made every command fail."""
    assert ROWS["conda", "both set: info"]["rc"] == ROWS["conda", "condarc: unparseable yaml"]["rc"] == 1
    assert "ew-big-1.0-0.json" in ROWS["conda", "condarc: create_default_packages adds packages"]["after"]["conda_meta"]
    (lab.top / ".condarc").write_text("channels: [[\n")
    hostile = {
        "CONDA_ENVS_PATH": "/a",
        "CONDA_ENVS_DIRS": "/b",
        "CONDA_SOLVER": "none",
        "CONDA_JSON": "0",
        "CONDA_PREFIX": "/x",
        "CONDA_OVERRIDE_GLIBC": "2.17",
    }
    for name, value in {**hostile, "MAMBA_OFFLINE": "true", "MAMBARC": "/y", "CONDA_SUBDIR": "osx-64", "HOME": str(lab.top)}.items():
        monkeypatch.setenv(name, value)
    lab.create(tool, "create by prefix success json")
    given = lab.calls()[-1]["env"]
    assert not set(given) & (set(hostile) | {"MAMBA_OFFLINE", "MAMBARC"})
    assert (given["CONDA_SUBDIR"], given["HOME"]) == ("linux-64", str(lab.top / f"scratch/cli-{tool}"))
    assert given["CONDA_PKGS_DIRS"] == str(lab.top / f"cache/conda-{tool}/packages"), "rattler's cache has another layout"
    assert ("--no-rc" in lab.calls()[-1]["argv"]) is (tool != "conda")
    assert ("--no-default-packages" in lab.calls()[-1]["argv"]) is (tool == "conda")


@pytest.mark.parametrize("tool", TOOLS)
def test_credentials_of_channels_are_in_no_argument_and_stay_nowhere(lab: Lab, tool: str) -> None:
    channels = (f"https://reader:{SECRET}@host.example:8443/c", f"https://other.example/t/{SECRET}/forge")
    label = "create by prefix success json"
    seen: dict[str, str] = {}

    def remember(line: str) -> None:
        for path in (lab.top / "scratch").rglob("*"):
            if path.is_file() and SECRET in (text := path.read_text()):
                seen[path.name] = text
                assert path.stat().st_mode & 0o077 == 0

    backend = CliBackend(tool, lab.program(tool, label))
    with pytest.raises(WorkerError) as failed:
        # There is no such row: all of the words are told.
        backend.create(lab.request(tool, label, channels=channels), remember)
    assert failed.value.code == "create_failed"
    assert set(seen) == {"netrc", "https%3A%2F%2Fother.example.token", "authentication.json"}
    assert SECRET not in json.dumps([lab.calls(), failed.value.as_result()])
    assert not [path for path in lab.top.rglob("*") if path.is_file() and SECRET in path.read_text(errors="replace")]


def test_files_with_credentials() -> None:
    request = dataclasses.replace(BASE, channels=(f'https://u"x:{SECRET}@host.example:8443/c', f"http://other.example/t/{SECRET}/forge", "conda-forge"))
    files = cli_commands.private_files(request)
    assert files["netrc"] == f'machine host.example login "u\\"x" password "{SECRET}"\n'
    assert files["binstar/data/http%3A%2F%2Fother.example.token"] == SECRET
    logins = json.loads(files[".mamba/auth/authentication.json"])
    assert set(logins) == {"host.example:8443", "other.example"}
    assert logins["other.example"] == {"type": "CondaToken", "token": SECRET}
    assert set(cli_commands.private_files(BASE)) == {"condarc.yml"}


def test_credentials_that_a_tool_writes_into_the_prefix_are_taken_out(tmp_path: pathlib.Path) -> None:
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    for name in ("a-1-0.json", "history"):
        (meta / name).write_text(f'{{"channel": "https://u:{SECRET}@host/c", "url": "https://host/t/{SECRET}/c/a-1-0.conda"}}')
    made_prefix.forget_credentials(str(tmp_path))
    assert {path.read_text() for path in meta.iterdir()} == {'{"channel": "https://host/c", "url": "https://host/c/a-1-0.conda"}'}


CREATE: list[tuple[str, dict[str, t.Any], t.Optional[str], bool, str]] = [
    (
        "conda",
        {},
        None,
        False,
        "--no-default-packages --no-pin --strict-channel-priority --override-channels --channel https://conda.anaconda.org/conda-forge python=3.10.*",
    ),
    (
        "micromamba",
        {},
        None,
        False,
        "--no-rc --no-pyc --channel-priority strict --override-channels --channel https://conda.anaconda.org/conda-forge python=3.10.*",
    ),
    ("mamba", {"specs": (), "channels": ()}, "/l.txt", False, "--no-rc --no-pyc --file /l.txt"),
    ("conda", {"specs": (), "channels": ()}, "/l.txt", False, "--no-default-packages --file /l.txt"),
    ("conda", {"specs": (), "channels": (), "offline": True, "account": (1, 1)}, "/l.txt", False, "--no-default-packages --file /l.txt --copy --offline"),
    (
        "micromamba",
        {"account": (1, 1), "specs": ("a",), "channels": ("file:///c",)},
        None,
        False,
        "--no-rc --no-pyc --channel-priority strict --override-channels --channel file:///c --always-copy --offline a",
    ),
    (
        "conda",
        {"account": (1, 1), "specs": ("a",), "channels": (f"https://u:{SECRET}@h/c",)},
        None,
        True,
        "--no-default-packages --no-pin --strict-channel-priority --override-channels --channel https://h/c --copy --download-only a",
    ),
]


@pytest.mark.parametrize(("name", "changes", "explicit", "download_only", "expected"), CREATE)
def test_what_a_create_is_asked(name: str, changes: dict[str, t.Any], explicit: t.Optional[str], download_only: bool, expected: str) -> None:
    argv = cli_commands.create_argv(name, "/x", dataclasses.replace(BASE, **changes), "/p", explicit, download_only)
    assert " ".join(argv) == f"/x create --prefix /p --yes --json {expected}"


@pytest.mark.parametrize(
    ("spec", "argument"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy=1.26"),
        ("python 3.10.*", "python=3.10.*"),
        ("python 3.10.14", "python==3.10.14"),
        ("python ==3.10.14", "python==3.10.14"),
        ("numpy >=1.26,<2", "numpy>=1.26,<2"),
        ("python >=3.10, <3.12", "python>=3.10,<3.12"),
        ("python 3.10 h0_0", "python=3.10=h0_0"),
        ("conda-forge::numpy 1.*", "conda-forge::numpy=1.*"),
        ("numpy[version='>=1, <2']", "numpy[version='>=1, <2']"),
    ],
)
def test_specs_become_one_word(spec: str, argument: str) -> None:
    assert cli_commands.argument_of(spec) == argument


def test_explicit_list_has_hashes_and_no_credentials() -> None:
    locked = (
        LockedPackage("https://u:p@h/c/linux-64/a-1-0.conda", sha256="aa", md5="bb"),
        LockedPackage("file:///c/b-1-0.tar.bz2", md5="bb"),
        LockedPackage("file:///d"),
    )
    assert cli_commands.explicit_list(locked).splitlines() == ["@EXPLICIT", "https://h/c/linux-64/a-1-0.conda#aa", "file:///c/b-1-0.tar.bz2#bb", "file:///d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("no answer at all", {}),
        ('post-link to stdout\n{"success": true}\nmore\n', {"success": True}),
        ('{"fetch": "python", "progress": 0.1}\n{"success": true, "actions": {}}\n', {"success": True, "actions": {}}),
        ('{"fetch": "python", "progress": 0.1}\n', {}),
        ('{ half\n{\n  "error": "x"\n}\n', {"error": "x"}),
        ('["success"]', {}),
    ],
)
def test_an_answer_is_found_in_noise(text: str, expected: dict[str, t.Any]) -> None:
    assert cli_answers.answer_in(text) == expected


def test_link_scripts_are_left_to_the_caller(lab: Lab) -> None:
    """micromamba ends with 0 when one fails, conda runs them with its cache in reach: here none of them does, and build.py runs each."""
    assert ROWS["micromamba", "failing post-link create json"]["rc"] == 0
    lab.create("micromamba", "failing post-link create json")
    given = lab.calls()[-1]["env"]
    directory = given["PATH"].split(":")[0]
    script = lab.top / ".ew-badpost-post-link.sh"
    script.write_text("exit 3\n")
    other = lab.top / "other.sh"
    other.write_text('echo "$1"; exit 3\n')
    # As conda calls it, with the prefix's own programs before ours.
    bash = [f"{directory}/bash"]
    assert subprocess.run([*bash, "-x", str(script)], env=given, check=False).returncode == 0
    done = subprocess.run(
        [*bash, str(other), "a b"], env={**given, "PATH": f"{lab.top}:{given['PATH']}"}, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (3, "a b\n")


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ({"a-1-0.json": {"name": "a", "depends": ["b >=1", "__glibc >=2"]}, "b-1-0.json": {"name": "b"}}, ""),
        ({"a-1-0.json": {"name": "a", "depends": ["b >=1"]}}, "lacks b"),
        ({"a-1-0.json": {}}, "conda-meta/a-1-0.json cannot be read"),
        ({"b-1-0.json": {"name": "b"}}, "lacks a"),
        ({"a-1-0.json": {"name": "a"}, "python-3-0.json": {"name": "python"}}, "has no bin/python"),
    ],
)
def test_what_makes_a_prefix_complete(tmp_path: pathlib.Path, records: dict[str, made_prefix.Record], problem: str) -> None:
    request = dataclasses.replace(BASE, prefix=str(tmp_path), specs=("A >=1",))
    found = made_prefix.check_complete(request, records, set())
    assert (problem in found) if problem else found == ""


@pytest.mark.parametrize("text", ["", "{", "null", '{"name": 3}'])
def test_a_truncated_record_is_no_package(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/a-1-0.json").write_text(text)
    assert made_prefix.read_records(str(tmp_path)) == {"a-1-0.json": {}}


def test_backend_of_a_name(lab: Lab) -> None:
    assert isinstance(make_backend("micromamba", None), CliBackend)
    assert CliBackend("auto", lab.program("conda")).detect() == Detected("conda", "26.7.1", f"{lab.top}/conda")


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ProxyError: Cannot connect to proxy. Tunnel connection failed: 403 Forbidden", "worker_https_proxy"),
        ("CondaSSLError: certificate verify failed: CERTIFICATE_VERIFY_FAILED", "worker_ca_bundle"),
        ("HTTP 403 Forbidden for url", "credentials in the channel's address"),
    ],
)
def test_what_stands_between_is_told(lab: Lab, said: str, remedy: str) -> None:
    request = lab.request("conda", next(label for tool, label in ROWS if tool == "conda"))
    error = cli_answers.failure(["conda", "create"], 1, "", said, request, request.cache)
    assert (error.code, remedy in error.remedy) == ("channel_unreachable", True)


def test_no_link_of_the_account_is_followed_to_a_file_of_that_name(lab: Lab) -> None:
    elsewhere, work = lab.top / "elsewhere", lab.top / "work"
    elsewhere.mkdir()
    (elsewhere / "authentication.json").write_text("mine")
    work.mkdir()
    (work / "auth").symlink_to(elsewhere)
    assert not cli_backend._is_within(str(work / "auth" / "authentication.json"), str(work))
    assert cli_backend._is_within(str(work / "netrc"), str(work))
