# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How environments are built: channels, indexes, users, disks and failures, all of them real."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.actions import Actions
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import combine
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import Wanted, present
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content, wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.files import remove_tree
from tests.integration.action_driver import run_task
from tests.integration.certificates import Authority
from tests.integration.conda_env_room import Room, python_says
from tests.integration.local_packages import local_channel, python_version, served, write_index, write_source_package, write_wheel
from tests.shared import digest

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a build user of its own")


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_failures_of_the_installers_have_codes(room: Room, installer: str) -> None:
    write_wheel(room.wheels, "ew_one", "1.0")
    write_wheel(room.wheels, "ew_two", "1.0", ["ew-one>=2"])
    broken = write_source_package(room.top / "broken", "ew_broken")
    (broken / "broken").touch()
    cases = [
        ("pip_conflict", ["ew-one==9"], {}),
        ("pip_conflict", ["ew-one", "ew-two"], {}),
        ("hash_mismatch", [f"ew-one==1.0 --hash=sha256:{'0' * 64}"], {}),
        ("build_failed", [str(broken)], {}),
        ("index_unreachable", ["ew-absent"], {"index_url": "http://alice:s3cret-word@127.0.0.1:9/simple"}),
    ]
    for code, pip, more in cases:
        # A time limit for pip's patience with a dead index.
        failed = room.bad(code, python_version=python_version(), pip=pip, installer=installer, environ={"PIP_DEFAULT_TIMEOUT": "2"}, **more)
        assert "s3cret-word" not in json.dumps(failed)
    assert room.entries() == []


def test_a_package_that_is_not_what_the_channel_says_is_refused(room: Room) -> None:
    channel = room.top / "channel"
    shutil.copytree(local_channel(), channel)
    (package,) = channel.rglob("ew-lib-1.1-*.conda")
    package.write_bytes(package.read_bytes() + b"x")
    failed = room.bad("hash_mismatch", packages=["ew-lib=1.1"], channels=[str(channel)], cache=str(room.top / "cache"))
    assert str(package) in failed["msg"]
    assert room.entries() == []


def test_the_callers_umask_does_not_count(room: Room) -> None:
    os.umask(0o077)
    try:
        done = room.good(packages=["ew-lib", "ew-prefix-text"])
    finally:
        os.umask(0o022)
    prefix = pathlib.Path(done["prefix"])
    closed = [
        str(path) for path in (room.root, room.root / "envs", prefix, *prefix.rglob("*")) if not path.is_symlink() and path.stat().st_mode & 0o444 != 0o444
    ]
    assert closed == []


@pytest.mark.slow
def test_credentials_are_used_and_not_kept(room: Room) -> None:
    index = write_index(room.top / "index", [write_wheel(room.top / "wheel", "ew_one", "1.0")])
    write_wheel(room.top / "other", "ew_two", "1.0")
    with served(local_channel(), "alice:s3cret-word") as channel, served(index, "bob:pa55-word") as simple:
        options: dict[str, t.Any] = {
            "python_version": python_version(),
            "pip": ["ew-one"],
            "channels": [f"http://alice:s3cret-word@{channel}"],
            "index_url": f"http://bob:pa55-word@{simple}",
            "cache": str(room.top / "cache"),
        }
        done = room.good(**options)
        wrong = room.bad("channel_unreachable", **{**options, "channels": [f"http://alice:wr0ng-word@{channel}"], "recreate": True})
    assert python_says(done, "import ew_one; print(ew_one.VERSION)") == "1.0"
    assert [word for word in ("s3cret-word", "pa55-word", "wr0ng-word") if word in json.dumps([done, wrong])] == []
    files = [path for path in room.top.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [str(path) for path in files for word in (b"s3cret-word", b"pa55-word", b"wr0ng-word") if word in path.read_bytes()]
    assert kept == []
    # The credentials are no part of what the environment is.
    assert room.good(**{**options, "channels": [f"http://alice:new-word@{channel}"], "index_url": None})["changed"] is False


def test_the_companys_authority_and_mirror_of_pip_are_in_force_with_uv(room: Room) -> None:
    """An https channel and an https index whose authority only this host knows, the index from pip's own configuration."""
    certificates = room.top / "certificates"
    certificates.mkdir()
    authority = Authority(certificates)
    issued = authority.issue("server")
    index = write_index(room.top / "index", [write_wheel(room.top / "wheel", "ew_one", "1.0")])
    with served(local_channel(), certificate=issued) as channel, served(index, certificate=issued) as simple:
        pathlib.Path(room.environ["PIP_CONFIG_FILE"]).write_text(f"[global]\nindex-url = https://{simple}/\ncert = {authority.certificate}\n")
        options: dict[str, t.Any] = {
            "python_version": python_version(),
            "pip": ["ew-one"],
            "channels": [f"https://{channel}"],
            "cache": str(room.top / "cache"),
        }
        unknown = room.bad("channel_unreachable", **options)
        assert "certificate" in unknown["msg"].lower()
        done = room.good(environ={"SSL_CERT_FILE": str(authority.certificate)}, **options)
        assert done["packages"]["pip"] == [{"name": "ew-one", "version": "1.0"}]


def test_offline_uses_what_was_fetched_before(room: Room) -> None:
    with served(local_channel()) as channel:
        options = {"packages": ["ew-lib"], "channels": [f"http://{channel}"], "cache": str(room.top / "cache")}
        room.good(**options)
    assert room.good(offline=True, recreate=True, **options)["build"] == 2
    before = digest(room.root / "envs", of_directories=True)
    room.bad("channel_unreachable", recreate=True, **options)
    room.bad("channel_unreachable", offline=True, recreate=True, **{**options, "cache": str(room.top / "empty")})
    for index in (pathlib.Path(options["cache"]) / "conda" / "pkgs").glob("ew-lib-*/info/index.json"):
        index.write_text("")
    refused = room.bad("channel_unreachable", offline=True, recreate=True, **options)
    assert re.search(r"offline is set, and what is in \S+/ew-lib-\S+ is damaged", refused["msg"])
    assert digest(room.root / "envs", of_directories=True) == before


@pytest.mark.slow
def test_an_environment_file_with_variables_and_activation(room: Room) -> None:
    write_wheel(room.wheels, "ew_one", "1.0")
    (room.top / "more.txt").write_text("ew-one\n")
    file = room.top / "environment.yml"
    file.write_text(
        f"name: other\nchannels: [{local_channel()}]\ndependencies:\n  - python={python_version()}\n  - ew-lib=1.0\n"
        "  - pip:\n    - -r more.txt\nvariables:\n  EW_COLOUR: blue\n"
    )
    done = room.good(channels=None, file=str(file))
    assert [each["name"] for each in done["packages"]["conda"]] == ["ew-lib", "python"]
    assert done["packages"]["pip"] == [{"name": "ew-one", "version": "1.0"}]
    activation = done["activation"]
    assert (activation["EW_COLOUR"], activation["CONDA_PREFIX"], activation["CONDA_DEFAULT_ENV"]) == ("blue", done["prefix"], "w")
    assert activation["PATH"].split(":")[0] == f"{done['prefix']}/bin"
    assert json.loads((pathlib.Path(done["prefix"]) / "conda-meta/state").read_text()) == {"env_vars": {"EW_COLOUR": "blue"}}
    assert (pathlib.Path(done["prefix"]) / "conda-meta/frozen").exists()
    assert room.good(channels=None, file=str(file))["activation"] == activation
    file.write_text("dependencies:\n  - python: 3.10\n")
    assert "line 2" in room.bad("broken_file", file=str(file))["msg"]


@pytest.mark.parametrize("pip", ["TOP/deep", "-r TOP/deep.txt"])
def test_a_local_package_that_is_nested_too_deep_is_a_clear_error(room: Room, pip: str) -> None:
    deep = room.top / "deep"
    deep.mkdir()
    (room.top / "deep.txt").write_text("./deep\n")
    here = os.open(deep, os.O_RDONLY)
    for _level in range(1500):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    try:
        failed = room.bad("build_failed", python_version=python_version(), pip=[pip.replace("TOP", str(room.top))])
        assert "nested too deep" in failed["msg"]
        assert room.entries() == []
        assert list((pathlib.Path(room.options["cache"]) / "build").iterdir()) == []
    finally:
        remove_tree(str(deep))


@as_root
def test_a_full_disk_is_told_and_leaves_nothing(room: Room) -> None:
    small = room.top / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], capture_output=True, check=False).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        failed = room.bad("disk_full", python_version=python_version(), root=str(small))
        assert "df -h" in failed["remedy"]
        assert list((small / "envs").iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_each_step_tells_that_it_moves_on(room: Room) -> None:
    write_wheel(room.wheels, "ew_one", "1.0")
    options = {**room.options, "python_version": python_version(), "pip": ["ew-one"], "installer": "auto"}
    indexes = combine({"no-index": "1", "find-links": str(room.wheels)}, None, [], [])
    means = Means("rattler", indexes, None, False, 60.0, 600.0)
    lines: list[str] = []
    wanted = Wanted(wanted_place(options), wanted_content(options, False), means, False, False)
    present(wanted, Actions(), False, lambda **identity: lines.append)
    assert lines == [
        "solve 1 specs over 1 channels",
        *(line for line in lines if line.startswith("download ")),
        "link 1/1",
        "install the requirements with uv",
        "the installed packages fit together",
        "verify python",
        "compile bytecode",
    ]


@pytest.mark.slow
def test_through_ansible_itself(room: Room) -> None:
    """The same module as Ansible packs it for a host: the solver's program comes out of that package."""
    (room.top / "controller").mkdir()
    done = run_task("conda_env", {**room.options, "packages": ["ew-lib"]}, room.top / "controller")
    assert not done.get("failed"), done.get("msg")
    assert done["created"] is True
    again = run_task("conda_env", {**room.options, "packages": ["ew-lib"]}, room.top / "controller", check=True)
    assert (again["changed"], again["prefix"]) == (False, done["prefix"])
