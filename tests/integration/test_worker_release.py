# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases through Ansible itself, over real directories on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import digest_of, scan, tree_id
from ansible_collections.ew_ai.worker.plugins.plugin_utils.package import package_of
from tests.figures import tell
from tests.integration.action_driver import Play, run_task, run_tasks
from tests.integration.module_driver import collections_path
from tests.integration.twelve_steps import action, twelve_steps
from tests.shared import wait_until

CREATED, REMOVED = "created", "removed"
# Runs a command and writes the largest memory (KiB) that one of its processes had; a process of its own, for the kernel's
# figure covers every child that its reader ever had.
MEASURED = """
import pathlib, resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


class Case(t.NamedTuple):
    home: pathlib.Path
    source: pathlib.Path
    root: pathlib.Path

    def run(self, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """``worker_release`` with our root and source, unless told otherwise."""
        options = {"root": str(self.root), **({} if args.get("state") == "absent" else {"source": str(self.source)}), **args}
        return run_task("worker_release", options, self.home, check, cwd=self.home)

    def on_host(self) -> list[str]:
        """All paths below the root but the lock's, sorted."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if "locks" not in path.parts)

    def temporary(self) -> list[str]:
        """What is left in the temporary directories of host and controller."""
        return [str(path) for name in ("remote", "ansible/tmp") for path in (self.home / name).glob("*")]


@pytest.fixture
def case(tmp_path: pathlib.Path) -> Case:
    source = tmp_path / "worker dir ü"
    (source / "worker").mkdir(parents=True)
    (source / "worker/main.py").write_text("print(1)\n")
    (source / "requirements.txt").write_text("-r more.txt\n")
    (source / "more.txt").write_text("numpy\n")
    return Case(tmp_path, source, tmp_path / "host/root")


def release_action(release: str, status: str) -> dict[str, str]:
    return action("release", f"releases/{release}", status)


def id_of(source: pathlib.Path) -> str:
    entries, problems = scan(str(source))
    assert problems == []
    return tree_id(entries, lambda entry: digest_of(entry.source))


def test_twelve_steps(case: Case) -> None:
    other = case.home / "other"
    shutil.copytree(case.source, other)
    (other / "worker/main.py").write_text("print(2)\n")
    first, second = id_of(case.source), id_of(other)
    present: set[str] = set()

    def after(step: str, check: bool, result: dict[str, t.Any]) -> None:
        if not check:
            present.update({"create": {first}, "modify": {second}}.get(step, set()))
            present.difference_update({second} if step == "delete" else ())
        found = {path.name for path in (case.root / "releases").glob("*")}
        assert found == present, step
        assert set(result) >= {
            "changed",
            "actions",
            "diff",
            "elapsed",
            "release",
            "created",
            "requirements",
            "requirement_files",
            "extra_files",
            "sent_bytes",
        }
        assert bool(result["diff"]["after"]) is result["changed"]

    twelve_steps(
        lambda args, check: run_task("worker_release", {"root": str(case.root), **args}, case.home, check),
        {
            "create": ({"source": str(case.source)}, [release_action(first, CREATED)]),
            "modify": ({"source": str(other)}, [release_action(second, CREATED)]),
            "delete": ({"release": second, "state": "absent"}, [release_action(second, REMOVED)]),
        },
        after,
    )
    assert case.temporary() == []


def test_result_is_complete_in_check_mode_and_nothing_is_sent(case: Case) -> None:
    (case.source / ".env").write_text("SECRET=1")
    (case.source / ".git").mkdir()
    (case.source / ".git/config").write_text("")
    (case.source / "link").symlink_to("worker/main.py")
    planned = case.run(check=True)
    assert not case.root.exists()
    real = case.run()
    release = real["release"]["id"]
    path = f"{case.root}/releases/{release}"
    assert real["release"] == {"id": release, "path": path, "layout": "nested", "files": 4, "bytes": 27}
    assert real["requirements"] == f"{path}/requirements.txt"
    assert real["requirement_files"] == {f"{path}/requirements.txt": "-r more.txt\n", f"{path}/more.txt": "numpy\n"}
    assert real["extra_files"] == {}
    assert planned["sent_bytes"] == 0 < real["sent_bytes"]
    same = ("changed", "actions", "diff", "release", "created", "requirements", "requirement_files", "extra_files")
    assert {key: planned[key] for key in same} == {key: real[key] for key in same}
    below = f"releases/{release}"
    assert case.on_host() == ["releases", below, *(f"{below}/{name}" for name in ("link", "more.txt", "requirements.txt", "worker", "worker/main.py"))]
    assert os.readlink(f"{path}/link") == "worker/main.py"
    assert case.temporary() == []


def test_flat_archive_and_directory_have_one_id(case: Case) -> None:
    shutil.copytree(case.source, case.home / "flat")
    for name in ("requirements.txt", "more.txt"):
        (case.home / "flat" / name).rename(case.home / "flat/worker" / name)
    by_directory = case.run(source=str(case.home / "flat/worker"))
    assert by_directory["release"]["layout"] == "flat"
    assert by_directory["requirements"] == by_directory["release"]["path"] + "/worker/requirements.txt"
    archive = shutil.make_archive(str(case.home / "a"), "gztar", case.home / "flat/worker")
    by_archive = case.run(source=archive)
    assert by_archive["release"] == by_directory["release"]
    assert by_archive["changed"] is False
    assert case.temporary() == []


def test_without_a_requirements_file_it_warns(case: Case) -> None:
    (case.source / "requirements.txt").unlink()
    found = case.run()
    assert (found["requirements"], found["requirement_files"]) == (None, {})
    assert any("requirements.txt does not exist" in warning for warning in found["warnings"])


BAD: list[tuple[dict[str, t.Any], str, str]] = [
    ({"root": "relative"}, "invalid_option", "not an absolute path"),
    ({"source": "nothing"}, "source_missing", "/nothing' does not exist"),
    ({"requirements_file": "bad.txt"}, "requirements_missing", "/bad.txt includes, does not exist"),
    ({"requirements_file": "requirments.txt"}, "file_missing", "/requirments.txt does not exist (or is left out), and requirements_file names it"),
    ({"extra_files": ["gone.yml"]}, "file_missing", "/gone.yml does not exist"),
    ({"extra_files": ["bad.yml"]}, "requirements_outside", "The line '-r /etc/shadow' of"),
    ({"ignore": ["main.py"]}, "no_worker", "left out by a pattern"),
    ({"package": "/x"}, "invalid_option", "not for playbooks"),
    ({"release": "0" * 16}, "invalid_option", "not for playbooks"),
    ({"state": "absent"}, "", "release"),
    ({"state": "absent", "release": "../../etc"}, "invalid_option", "16 hexadecimal digits"),
    ({"state": "presently"}, "", "one of"),
    ({"sauce": "x"}, "", "sauce"),
]


def test_bad_input_is_one_clear_error(case: Case) -> None:
    (case.source / "bad.txt").write_text("-r gone.txt\n")
    (case.source / "bad.yml").write_text("dependencies:\n  - pip:\n    - -r /etc/shadow\n")
    tasks = [{"root": str(case.root), "source": str(case.source), **args} for args, _code, _words in BAD]
    for (args, code, words), found in zip(BAD, run_tasks("worker_release", tasks, case.home, cwd=case.home)):
        assert found.get("failed") is True, (args, found)
        assert words in found["msg"]
        assert found.get("code", "") == code
        assert bool(found.get("remedy")) is bool(code)
    assert not case.root.exists()


def test_everything_that_is_wrong_is_told_at_once(case: Case) -> None:
    (case.source / "bad").symlink_to("gone")
    os.mkfifo(case.source / "pipe")
    found = case.run()
    assert found["code"] == "bad_source"
    assert sorted(failure["check"] for failure in found["failures"]) == ["broken_link", "special_file"]
    assert str(case.source / "pipe") in found["msg"]
    assert found["sent_bytes"] == 0


def module_arguments(case: Case) -> tuple[str, dict[str, t.Any]]:
    """The id, and what the action plugin gives the module with a package."""
    entries, _problems = scan(str(case.source))
    digests = {entry.source: digest_of(entry.source) for entry in entries if entry.source}
    release = tree_id(entries, lambda entry: digests[entry.source])
    package = package_of(release, entries, digests, str(case.home))
    return release, {"root": str(case.root), "source": "x", "release": release, "package": package, "_ansible_remote_tmp": "/tmp"}


def start_module(arguments: dict[str, t.Any]) -> subprocess.Popen[str]:
    module = collections_path() / "ansible_collections/ew_ai/worker/plugins/modules/worker_release.py"
    environ = {**os.environ, "PYTHONPATH": str(collections_path())}
    process = subprocess.Popen([sys.executable, str(module)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
    process.stdin.close()
    process.stdin = None
    return process


def test_a_killed_run_leaves_no_release_and_the_next_one_cleans_up(case: Case) -> None:
    for number in range(40):
        (case.source / f"{number}.bin").write_bytes(b"x" * 1000)
    release, arguments = module_arguments(case)
    # A pipe that only ever has half of the package: the module is still unpacking when it is killed.
    package = pathlib.Path(arguments["package"]).read_bytes()
    half = case.home / "half"
    os.mkfifo(half)
    pipe = os.open(half, os.O_RDWR)
    try:
        assert os.write(pipe, package[: len(package) // 2]) == len(package) // 2
        process = start_module({**arguments, "package": str(half)})
        wait_until(lambda: list(case.root.glob(f"releases/.staging-{release}-*/*.bin")) or process.poll() is not None, "it unpacks")
        assert process.poll() is None, process.communicate()
        process.kill()
        process.communicate()
    finally:
        os.close(pipe)
    assert [path.name[:9] for path in (case.root / "releases").iterdir()] == [".staging-"]
    assert case.run()["created"] is True
    assert [path.name for path in (case.root / "releases").iterdir()] == [release]


def test_two_runs_at_once(case: Case) -> None:
    (case.source / "data").write_bytes(os.urandom(1 << 20) * 20)
    release, arguments = module_arguments(case)
    processes = [start_module(arguments) for _number in range(3)]
    results = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
    assert sorted(result["created"] for result in results) == [False, False, True]
    assert not any(result.get("failed") for result in results)
    assert [path.name for path in (case.root / "releases").iterdir()] == [release]


@contextlib.contextmanager
def small_disk(path: pathlib.Path, options: str) -> t.Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount the small file system that this test fills")
    path.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(case: Case) -> None:
    deep = case.source / "/".join(["d"] * 100)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    # enough inodes for its files, not for its directories
    with small_disk(case.root, "size=8m,nr_inodes=60"):
        found = case.run()
        assert found["code"] == "disk_full"
        assert "df -h" in found["remedy"]
        assert found["created"] is False
        assert case.on_host() == ["releases"]
    assert case.temporary() == []


def test_too_little_space_is_told_before_anything_is_sent(case: Case) -> None:
    (case.source / "data").write_bytes(b"x" * 3_000_000)
    with small_disk(case.root, "size=1m"):
        found = case.run()
        assert (found["code"], found["sent_bytes"]) == ("disk_full", 0)
        assert case.on_host() == []


def test_another_account_on_the_host(case: Case) -> None:
    """As after ``become``: what the login account sent is read by the account that the module runs as."""
    if os.geteuid() != 0 or shutil.which("su") is None:
        pytest.skip("only root can become another account without a password, with su")
    with tempfile.TemporaryDirectory(prefix="releases-") as public:
        os.chmod(public, 0o777)
        root = pathlib.Path(public) / "root"
        args = {"root": str(root), "source": str(case.source)}
        become = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": "nobody", "ansible_become_flags": "-s /bin/sh"}
        python = shutil.which("python3", path="/usr/bin:/bin") or pytest.skip("there is no interpreter that every account can run")
        found = run_task("worker_release", args, case.home, python=python, **become)
        assert found.get("created") is True, found
        owners = {path.owner() for path in [root, *root.rglob("*")]}
        assert owners == {"nobody"}


@pytest.mark.slow
def test_half_a_gigabyte_is_sent_once_in_bounded_memory(case: Case) -> None:
    block = os.urandom(1 << 20)
    for number in range(20):
        (case.source / f"model-{number}.bin").write_bytes(bytes([number]) + block * 25)
    play = Play("worker_release", [{"root": str(case.root), "source": str(case.source)}], case.home)
    play.argv[:0] = [sys.executable, "-c", MEASURED, str(case.home / "memory")]
    with play.start() as process:
        output, _nothing = process.communicate()
    (first,) = play.results() or pytest.fail(output)
    memory = int((case.home / "memory").read_text()) / 1024
    second = case.run()
    tell(f"{first['release']['bytes']} bytes: {first['elapsed']} s, {memory:.0f} MB at most in one process; second run {second['elapsed']} s")
    assert first["created"]
    assert f"  localhost | sends release {first['release']['id']}, 524 MB" in output
    assert first["sent_bytes"] > first["release"]["bytes"] > 500_000_000
    assert (second["changed"], second["sent_bytes"]) == (False, 0)
    assert memory < 250
    assert case.temporary() == []
