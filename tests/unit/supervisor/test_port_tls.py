# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that secure a worker's port: taken from the options, looked at on the host, found by the process."""

from __future__ import annotations

import os
import pathlib
import tempfile
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError
from ansible_collections.ew_ai.worker.plugins.module_utils.host.preflight import check_files
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import port_tls, process
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Instance, Spec
from ansible_collections.ew_ai.worker.plugins.module_utils.trust import writable_by_others

STRANGER = (54_321, 54_322)


def spec(*tls: tuple[str, str], **values: t.Any) -> Spec:
    return Spec(Layout("/opt/w").worker("w"), 1, "/r", "/e/bin/python", tls=tls, **values)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, ()),
        ({}, ()),
        ({"cert": "/c", "key": "/k", "client_ca": None}, (("cert", "/c"), ("key", "/k"))),
        ({"key": "/k", "client_ca": "/a", "cert": "/c"}, (("cert", "/c"), ("key", "/k"), ("client_ca", "/a"))),
    ],
)
def test_the_option(given: t.Optional[dict[str, t.Any]], found: tuple[tuple[str, str], ...]) -> None:
    assert port_tls.files_of(given) == found


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(OptionError) as refused:
        port_tls.files_of({"cert": "/c", "key": "k.pem"})
    assert refused.value.details["option"] == "tls.key"


@pytest.fixture
def public() -> t.Iterator[pathlib.Path]:
    """A directory that everybody gets into; those of pytest are for its own account alone."""
    with tempfile.TemporaryDirectory() as made:
        pathlib.Path(made).chmod(0o755)
        yield pathlib.Path(made)


@pytest.mark.parametrize(
    ("mode", "owner", "credentials", "fits"),
    [
        (0o600, STRANGER, False, False),
        (0o600, STRANGER, True, True),
        (0o644, STRANGER, False, True),
        (0o640, (STRANGER[0], os.getegid()), False, True),
        (0o600, (os.geteuid(), os.getegid()), False, True),
        (0o000, (0, 0), False, True),
    ],
    ids=["root's alone", "handed on", "everybody's", "the group's", "its own", "root itself"],
)
def test_who_can_read_a_key(public: pathlib.Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: tuple[int, int], credentials: bool, fits: bool) -> None:
    # Nothing below the system's temporary directory is handed on.
    monkeypatch.setattr(port_tls, "writable_by_others", lambda _path, lasting: None)
    key = public / "key"
    key.touch()
    key.chmod(mode)
    wanted = spec(("key", str(key)), credentials=credentials)
    if fits:
        port_tls.check(wanted, owner)
        return
    with pytest.raises(OptionError) as refused:
        port_tls.check(wanted, owner)
    assert f"chgrp {owner[1]} {key}" in refused.value.remedy


def test_a_directory_on_the_way_is_closed(public: pathlib.Path) -> None:
    private = public / "private"
    private.mkdir(0o700)
    (private / "key").touch(0o644)
    (public / "link").symlink_to(private / "key")
    with pytest.raises(OptionError) as refused:
        port_tls.check_one("tls.key", str(public / "link"), False, STRANGER)
    assert (f"may not get through {private}" in refused.value.message, f"chmod g+x {private}" in refused.value.remedy) == (True, True)
    port_tls.check_one("tls.key", str(public / "link"), False, None)
    private.chmod(0o711)
    port_tls.check_one("tls.key", str(public / "link"), False, STRANGER)


def test_a_file_with_an_access_list_is_believed(public: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (public / "key").touch(0o600)
    monkeypatch.setattr(os, "listxattr", lambda path: ["system.posix_acl_access"] if str(path).endswith("key") else [])
    port_tls.check_one("tls.key", str(public / "key"), False, STRANGER)


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    absent = str(tmp_path / "absent")
    with pytest.raises(OptionError) as refused:
        port_tls.check_there(spec(("cert", absent), credentials=True), may_come=False)
    assert (refused.value.details["option"], "No such file" in refused.value.message) == ("tls.cert", True)
    port_tls.check_there(spec(("cert", absent), credentials=True), may_come=True)
    assert [(each.check, "worker_tls.cert" in each.msg) for each in check_files({"worker_tls.cert": absent})] == [("missing_file", True)]
    assert check_files({"worker_tls.cert": __file__}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_what_others_could_exchange_is_not_handed_on(tmp_path: pathlib.Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "key").symlink_to("/etc/passwd")
    os.chown(theirs, *STRANGER)
    with pytest.raises(OptionError) as refused:
        port_tls.check(spec(("key", str(theirs / "key")), credentials=True), STRANGER)
    assert (refused.value.details["option"], str(theirs) in refused.value.message) == ("tls.key", True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's files may be handed on")
def test_what_may_be_gone_at_the_next_start_is_not_handed_on(tmp_path: pathlib.Path) -> None:
    """Whoever makes it anew in a directory like /tmp decides what root reads then."""
    everybodys = tmp_path / "everybodys"
    (everybodys / "tls").mkdir(parents=True)
    everybodys.chmod(0o1777)
    (everybodys / "tls" / "key").touch()
    assert writable_by_others(str(everybodys / "tls" / "key")) is None
    with pytest.raises(OptionError) as refused:
        port_tls.check(spec(("key", str(everybodys / "tls" / "key")), credentials=True), STRANGER)
    assert "others than root can write" in refused.value.message


def test_no_pipe_is_waited_for(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "a\0b"):
        assert [each.check for each in check_files({"worker_tls.cert": path})] == ["invalid_option"]
    assert [each.check for each in check_files({"worker_tls.cert": t.cast("str", 1)})] == ["missing_file"]
    with pytest.raises(OptionError):
        port_tls.check(spec(("key", str(tmp_path / "pipe"))), STRANGER)


def test_a_placeholder_without_the_option_names_the_option() -> None:
    with pytest.raises(OptionError) as refused:
        process.argv(spec(arguments=("{tls_key}",)), Instance("0", 0, (1,)))
    assert "worker_tls" in refused.value.remedy


def test_who_hands_the_files_on_changes_no_digest() -> None:
    instance, tls = Instance("0", 0, (1,)), (("cert", "/c"), ("key", "/k"))
    plain = process.digest(spec(), instance, "systemd", b"salt")
    assert process.digest(spec(credentials=True), instance, "systemd", b"salt") == plain
    assert process.digest(spec(*tls), instance, "systemd", b"salt") != plain
