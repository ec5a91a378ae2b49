# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What acts on one machine: activation, owners, the streaming child."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import ownership
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.activation import ACTIVATE, base_activation, declared_variables, evaluated, has_scripts
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.stream import stream
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import remove_tree
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive
from ansible_collections.ew_ai.worker.plugins.module_utils.run import run
from tests.shared import wait_until

NOBODY = (65534, 65534)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


def test_the_base_of_an_activation() -> None:
    found = base_activation("/e", "w", [("A", "1"), ("CONDA_PREFIX", "no")])
    assert found["PATH"].startswith("/e/bin:/usr/")
    assert (found["CONDA_PREFIX"], found["CONDA_DEFAULT_ENV"], found["A"]) == ("/e", "w", "1")
    assert base_activation("/e", None)["CONDA_DEFAULT_ENV"] == "/e"


def test_declared_variables(tmp_path: pathlib.Path) -> None:
    assert declared_variables(str(tmp_path)) == {}
    directory = tmp_path / "etc/conda/env_vars.d"
    directory.mkdir(parents=True)
    (directory / "a.json").write_text('{"ONE": "a", "TWO": "a"}')
    (directory / "b.json").write_text('{"TWO": "b"}')
    (directory / "c.txt").write_text("no")
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/state").write_text('{"env_vars": {"TWO": "state", "N": 3}}')
    assert declared_variables(str(tmp_path)) == {"ONE": "a", "TWO": "state", "N": "3"}


@pytest.mark.parametrize("state", ["", "[]", "3", '{"env_vars": []}', '{"other": 1}'])
def test_a_state_that_declares_nothing(tmp_path: pathlib.Path, state: str) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/state").write_text(state)
    assert declared_variables(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("{", "broken_file"),
        ("[" * 100_000, "broken_file"),
        ('{"env_vars": {"A=B": "x"}}', "build_failed"),
        ('{"env_vars": {"": "x"}}', "build_failed"),
        ('{"env_vars": {"A": "x\\u0000"}}', "build_failed"),
        ('{"env_vars": {"A": "\\ud800"}}', "build_failed"),
    ],
)
def test_variables_that_no_process_can_have_are_refused(tmp_path: pathlib.Path, state: str, code: str) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/state").write_text(state)
    with pytest.raises(WorkerError) as failure:
        declared_variables(str(tmp_path))
    assert failure.value.code == code


def test_scripts_are_told_from_other_files(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "etc/conda/activate.d"
    directory.mkdir(parents=True)
    (directory / "x.fish").write_text("")
    assert not has_scripts(str(tmp_path))
    (directory / "x.sh").write_text("")
    assert has_scripts(str(tmp_path))


def test_only_what_the_scripts_changed_counts() -> None:
    before = {"PATH": "/bin", "A": "1", "SHLVL": "1"}
    assert evaluated(before, "PATH=/x:/bin\0A=1\0B=two\nlines\0SHLVL=2\0_=/usr/bin/env\0") == {"PATH": "/x:/bin", "B": "two\nlines"}


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_activation_scripts_are_run_in_order_by_a_real_shell(tmp_path: pathlib.Path, shell: str) -> None:
    """What they print does not count, and what they see is the activated environment."""
    directory = tmp_path / "etc/conda/activate.d"
    directory.mkdir(parents=True)
    (directory / "a.sh").write_text("echo noise; export FIRST=$CONDA_PREFIX/one\n")
    (directory / "b.sh").write_text('export PATH="$FIRST/bin:$PATH" "SPACED=two words"; unset GONE; LOCAL=1\n')
    start = {**base_activation(str(tmp_path), "w"), "GONE": "x"}
    done = run([shell, "-c", ACTIVATE, str(tmp_path)], start)
    assert (done.rc, done.stderr) == (0, "noise\n")
    assert evaluated(start, done.stdout) == {"FIRST": f"{tmp_path}/one", "PATH": f"{tmp_path}/one/bin:{start['PATH']}", "SPACED": "two words"}
    (directory / "c.sh").write_text("exit 3\n")
    assert run([shell, "-c", ACTIVATE, str(tmp_path)], start).rc == 3


def test_lines_arrive_while_the_child_works() -> None:
    """The second line is written only after the first one was seen here."""
    seen: list[str] = []
    program = "import os,sys,time\nprint(sys.stdin.read().strip(), flush=True)\nwhile not os.path.exists(sys.argv[1]): time.sleep(0.01)\nprint('two')"
    gate = pathlib.Path(f"/tmp/stream-{os.getpid()}")

    def on_line(line: str) -> None:
        seen.append(line)
        gate.touch()

    try:
        ended = stream([sys.executable, "-c", program, str(gate)], "one\n", dict(os.environ), 30, on_line)
    finally:
        gate.unlink(missing_ok=True)
    assert (ended.rc, ended.lines, seen) == (0, ("one", "two"), ["one", "two"])


def test_a_child_that_takes_too_long_is_ended_with_its_children(tmp_path: pathlib.Path) -> None:
    pids = tmp_path / "pids"
    program = f"import os,subprocess,time\nc=subprocess.Popen(['sleep','600'])\nopen({str(pids)!r},'w').write(str(c.pid))\nc.wait()"
    with pytest.raises(WorkerError) as failure:
        stream([sys.executable, "-c", program], "", dict(os.environ), 5.0, lambda line: None)
    assert failure.value.code == "timeout"
    wait_until(lambda: not is_alive(int(pids.read_text())), "the signal has arrived")


def test_a_child_that_crashes_keeps_its_words() -> None:
    ended = stream(
        [sys.executable, "-c", "import os,sys; sys.stderr.write('oops'); sys.stderr.flush(); os.abort()"], "", dict(os.environ), 30, lambda line: None
    )
    assert (ended.rc, ended.lines, ended.stderr) == (-6, (), "oops")


def test_an_unknown_build_user_is_refused() -> None:
    assert ownership.build_identity(None) is None
    if os.geteuid() == 0:
        assert ownership.build_identity("root") is None
        with pytest.raises(WorkerError, match="no-such-user"):
            ownership.build_identity("no-such-user")
    else:
        assert ownership.build_identity("no-such-user") is None


@as_root
def test_root_gets_everything_back_that_the_build_user_had(tmp_path: pathlib.Path) -> None:
    prefix, outside = tmp_path / "prefix", tmp_path / "outside"
    (prefix / "lib").mkdir(parents=True)
    (prefix / "lib/linked").write_text("root's")
    (prefix / "lib/linked").chmod(0o640)
    ownership.give(str(prefix / "lib"), NOBODY, lambda path: False)
    os.chown(prefix / "lib/linked", 0, 0)
    # What a build user leaves: files, links out of the prefix, a second name of a file elsewhere, what is no file
    outside.write_text("mine")
    (prefix / "lib/tool").write_text("#!/bin/sh\n")
    (prefix / "lib/private").write_text("x")
    (prefix / "lib/out").symlink_to(outside)
    os.mkfifo(prefix / "lib/pipe", 0o666)
    for path in (prefix, outside, *(prefix / "lib" / name for name in ("tool", "private", "out", "pipe"))):
        os.chown(path, *NOBODY, follow_symlinks=False)
    os.link(outside, prefix / "lib/second")
    (prefix / "lib/tool").chmod(0o4777)
    (prefix / "lib/private").chmod(0o600)
    ownership.take_back(str(prefix), NOBODY[0])
    assert [path for path in (prefix, *prefix.rglob("*")) if os.lstat(path).st_uid != 0] == []
    modes = {path.name: os.lstat(path).st_mode & 0o7777 for path in (prefix, *prefix.rglob("*")) if not path.is_symlink()}
    assert modes == {"prefix": 0o755, "lib": 0o755, "linked": 0o640, "second": 0o644, "tool": 0o755, "private": 0o644}
    assert (os.stat(outside).st_uid, outside.read_text()) == (65534, "mine")


@as_root
def test_what_stays_ours_is_neither_given_nor_taken(tmp_path: pathlib.Path) -> None:
    """But for what was half taken when its run was killed."""
    top = tmp_path / "cache"

    def stays(path: str) -> bool:
        return os.path.dirname(path) == str(top / "pkgs")

    for name in ("ours", "new", "half"):
        (top / "pkgs" / name / "lib").mkdir(parents=True)
        (top / "pkgs" / name / "lib/file").write_text("x")
    ownership.give(str(top), NOBODY, stays)
    owners = {str(path.relative_to(top)): path.stat().st_uid for path in (top, *top.rglob("*"))}
    assert {name for name, uid in owners.items() if uid == NOBODY[0]} == {".", "pkgs"}
    for path in (top / "pkgs/new", top / "pkgs/new/lib", top / "pkgs/half/lib"):
        os.chown(path, *NOBODY)
    (top / "pkgs/half").chmod(0o700)
    (top / "pkgs/ours/lib/file").chmod(0o600)
    ownership.take_back(str(top), NOBODY[0], stays=stays)
    assert {path.stat().st_uid for path in (top, *top.rglob("*"))} == {0}
    assert (top / "pkgs/half").stat().st_mode & 0o777 == 0o755
    assert (top / "pkgs/ours/lib/file").stat().st_mode & 0o777 == 0o600


@as_root
@pytest.mark.parametrize("name", ["", "lib/file"])
def test_what_belongs_to_a_third_account_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    prefix = tmp_path / "prefix"
    (prefix / "lib").mkdir(parents=True)
    (prefix / "lib/file").write_text("secret")
    for path in (prefix, *prefix.rglob("*")):
        os.chown(path, *NOBODY)
    os.chown(prefix / name, 12345, 12345)
    with pytest.raises(WorkerError, match="uid 12345") as failure:
        ownership.take_back(str(prefix), NOBODY[0])
    assert failure.value.code == "build_failed"


def test_a_cache_of_another_owner_is_not_trusted(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "uv"
    assert ownership.own_directory(str(path)) == str(path)
    (path / "wheel").write_text("x")
    ownership.own_directory(str(path))
    assert (path / "wheel").exists()
    if os.geteuid() == 0:
        os.chown(path, *NOBODY)
        ownership.own_directory(str(path))
        assert not (path / "wheel").exists()
        assert os.stat(path).st_uid == 0


def nested(path: pathlib.Path, levels: int) -> None:
    """Directories in directories, further down than a path can reach."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _level in range(levels):
        os.mkdir("deeper", dir_fd=here)
        there = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)


def test_a_tree_is_removed_however_deep_it_is(tmp_path: pathlib.Path) -> None:
    nested(tmp_path / "tree", 3000)
    remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        remove_tree(str(tmp_path / "tree"))


@as_root
@pytest.mark.parametrize(("levels", "refused"), [(500, False), (3000, True)])
def test_a_deep_tree_is_taken_back_or_refused(tmp_path: pathlib.Path, levels: int, refused: bool) -> None:
    nested(tmp_path / "tree", levels)
    subprocess.run(["chown", "-R", "nobody", tmp_path / "tree"], check=True)
    if refused:
        with pytest.raises(WorkerError, match="nested too deep"):
            ownership.take_back(str(tmp_path / "tree"), NOBODY[0])
    else:
        ownership.take_back(str(tmp_path / "tree"), NOBODY[0])
        assert subprocess.run(["find", tmp_path / "tree", "-not", "-user", "root"], capture_output=True, text=True, check=True).stdout == ""
    remove_tree(str(tmp_path / "tree"))
