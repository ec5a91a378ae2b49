# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Downloaded code that wants more than its account: links under root's hands, and processes that outlive the build."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import leftovers, ownership
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.processes import is_alive
from ansible_collections.ew_ai.worker.plugins.module_utils.run import run
from tools.checkout import CHECKOUT

NOBODY = (65534, 65534)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a build user")


def lay(prefix: pathlib.Path, victim: pathlib.Path) -> dict[str, t.Callable[[], None]]:
    """What a build user may do to a prefix, by name."""
    for name in ("bin", "conda-meta", "etc/conda/env_vars.d"):
        (prefix / name).mkdir(parents=True)
    (prefix / "conda-meta/state").write_text("{}")
    (prefix / "etc/conda/env_vars.d/good.json").write_text("{}")
    (prefix / "bin/python").symlink_to("python3")

    def replace(name: str) -> None:
        (prefix / name).rename(prefix / f"{name.replace('/', '-')}.was")
        (prefix / name).symlink_to(victim)

    return {
        "nothing": lambda: None,
        "bin": lambda: replace("bin"),
        "conda-meta": lambda: replace("conda-meta"),
        "etc": lambda: replace("etc"),
        "state": lambda: replace("conda-meta/state"),
        "declared": lambda: (prefix / "etc/conda/env_vars.d/x.json").symlink_to(victim / "secret"),
        "pipe": lambda: os.mkfifo(prefix / "etc/conda/env_vars.d/x.json"),
    }


@pytest.mark.parametrize("trick", ["nothing", "bin", "conda-meta", "etc", "state", "declared", "pipe"])
def test_root_does_not_work_where_a_link_of_the_build_user_leads(tmp_path: pathlib.Path, trick: str) -> None:
    prefix, victim = tmp_path / "prefix", tmp_path / "victim"
    (victim / "conda/env_vars.d").mkdir(parents=True)
    (victim / "secret").write_text("{}")
    lay(prefix, victim)[trick]()
    if trick == "nothing":
        ownership.refuse_detours(str(prefix))
        return
    with pytest.raises(WorkerError, match="no package may put a link or a special file there") as caught:
        ownership.refuse_detours(str(prefix))
    assert caught.value.code == "build_failed"


# Cuts itself loose from parent, session, group and variables, and gives its directory in /proc to root (PR_SET_DUMPABLE).
HIDDEN = """
import ctypes, os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.closerange(0, 3)
        time.sleep(300)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


def hidden(directory: pathlib.Path) -> int:
    """The pid of such a process of the build user, started as builds do."""
    directory.mkdir()
    os.chown(directory, *NOBODY)
    directory.parent.chmod(0o755)
    done = run(["/usr/bin/python3", "-c", HIDDEN, str(directory / "pid")], user="nobody", groups=(leftovers.GROUP,))
    assert done.rc == 0, done.stderr
    return int((directory / "pid").read_text())


@pytest.fixture
def open_directory() -> t.Iterator[pathlib.Path]:
    """pytest's own are closed to other accounts."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="ew-hostile-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@as_root
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_build_leaves_running_ends_with_it(open_directory: pathlib.Path, fails: bool) -> None:
    """However it hides, and also when the build fails. What else the account runs goes on."""
    with subprocess.Popen(["sleep", "300"], user="nobody", start_new_session=True) as other:
        try:
            with contextlib.suppress(ZeroDivisionError), leftovers.as_build_user(NOBODY[0], 60, lambda line: None):
                left = hidden(open_directory / "place")
                assert is_alive(left)
                if fails:
                    _nothing = 1 / 0
            assert not is_alive(left)
            assert is_alive(other.pid)
        finally:
            other.kill()


@as_root
def test_what_a_killed_build_left_hidden_ends_before_the_next_one(open_directory: pathlib.Path) -> None:
    script = f"import pathlib, sys; sys.path.insert(0, {str(CHECKOUT)!r})\nfrom {__name__} import hidden\n"
    script += f"hidden(pathlib.Path({str(open_directory / 'place')!r}))"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    left = int((open_directory / "place/pid").read_text())
    assert is_alive(left)
    with leftovers.as_build_user(NOBODY[0], 60, lambda line: None):
        assert not is_alive(left)


@as_root
def test_builds_of_one_account_run_one_by_one(open_directory: pathlib.Path) -> None:
    """Whoever waits says so, and gives up in time."""
    lines: list[str] = []
    with leftovers.as_build_user(NOBODY[0], 60, lambda line: None):
        with pytest.raises(WorkerError, match="another build runs as the account with the uid 65534") as failure:
            with leftovers.as_build_user(NOBODY[0], 0, lines.append):
                raise AssertionError("two builds at a time")
    assert failure.value.code == "locked"
    assert lines == ["wait for another build that runs as the account with the uid 65534"]


def test_what_a_killed_build_left_running_ends_before_the_next_one(tmp_path: pathlib.Path) -> None:
    scratch = tmp_path / "build" / "e-0123456789ab-1"
    program = [sys.executable, "-c", "print(flush=True); import time; time.sleep(300)"]
    homes = [scratch, scratch / "home", tmp_path / "build" / "e-0123456789ab-12"]
    children = [subprocess.Popen(program, stdout=subprocess.PIPE, env={**os.environ, "HOME": str(home)}, start_new_session=True) for home in homes]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        leftovers.end_orphans(str(scratch))
        assert [is_alive(child.pid) for child in children] == [False, False, True]
    finally:
        for child in children:
            child.kill()
            child.communicate()


@as_root
def test_root_writes_to_no_name_that_the_build_user_could_choose(tmp_path: pathlib.Path) -> None:
    """A file with two names is replaced by a copy; the names beside it may be links of the build user to anywhere."""
    prefix, victim = tmp_path / "prefix", tmp_path / "victim"
    (prefix / "lib").mkdir(parents=True)
    victim.mkdir()
    (prefix / "lib/a").write_text("hostile")
    os.link(prefix / "lib/a", prefix / "lib/b")
    for suffix in (".ew-own", ".new", ".tmp"):
        for name in ("a", "b"):
            (prefix / f"lib/{name}{suffix}").symlink_to(victim / f"{name}{suffix}")
    for path in (prefix, *prefix.rglob("*")):
        os.chown(path, *NOBODY, follow_symlinks=False)
    ownership.take_back(str(prefix), NOBODY[0])
    assert list(victim.iterdir()) == []
    assert [(prefix / name).read_text() for name in ("lib/a", "lib/b")] == ["hostile", "hostile"]
    assert {(path.lstat().st_uid, path.lstat().st_mode & 0o777) for path in prefix.rglob("*") if not path.is_symlink()} == {(0, 0o755), (0, 0o644)}
