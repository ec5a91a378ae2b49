# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_toolchain`` over real virtual environments, from wheels made here."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import typing as t

import pytest

from tests.figures import tell
from tests.integration import module_driver
from tests.integration.local_packages import write_wheel
from tests.integration.twelve_steps import action, twelve_steps
from tests.shared import PATIENCE, opened, wait_until

OURS = (module_driver.CHECKOUT / "roles/worker/files/toolchain.txt").read_text(encoding="utf-8")


def make_wheel(directory: pathlib.Path, version: str, name: str = "ew_tiny", ballast: int = 0) -> str:
    """The requirements line of a small wheel in ``directory``."""
    wheel = write_wheel(directory, name, version, ballast=ballast)
    return f"{name.replace('_', '-')}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture(name="wheels")
def _wheels(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "wheels"


def args(root: pathlib.Path, requirements: str, wheels: pathlib.Path, **more: t.Any) -> dict[str, t.Any]:
    return {"root": str(root), "requirements": requirements, "find_links": [str(wheels)], "offline": True, **more}


def run(arguments: t.Mapping[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    return module_driver.run_module("worker_toolchain", arguments, check, **more)


def version_in(python: str) -> str:
    return subprocess.run([python, "-c", "import ew_tiny; print(ew_tiny.VERSION)"], capture_output=True, text=True, check=True).stdout.strip()


def test_twelve_steps(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    root = tmp_path / "root"
    one, two = args(root, make_wheel(wheels, "1.0"), wheels), args(root, make_wheel(wheels, "2.0"), wheels)
    first, second = (f"toolchain/{run(each, check=True)['fingerprint']}" for each in (one, two))
    assert first != second
    listings: list[str] = []

    def look(step: str, check: bool, result: dict[str, t.Any]) -> None:
        name = step.replace("re-", "")
        if name != "delete" and (not check or step.startswith("re-")):
            assert result["python"] == str(root / (first if name == "create" else second) / "bin/python")
            assert version_in(result["python"]) == ("1.0" if name == "create" else "2.0")
        elif name != "delete":
            assert result["python"] == sys.executable
        listing = subprocess.run(["find", str(root), "-printf", "%p %T@ %i\\n"], capture_output=True, text=True, check=False).stdout
        if check or step.startswith("re-"):
            assert listing == (listings[-1] if listings else ""), "nothing was touched"
        listings.append(listing)

    steps = {
        "create": (one, [action("toolchain", first, "created")]),
        "modify": (two, [action("toolchain", second, "created")]),
        "delete": ({"root": str(root), "state": "absent"}, [action("toolchain", each, "removed") for each in sorted([first, second])]),
    }
    twelve_steps(run, steps, look)
    assert not (root / "toolchain").exists()


def test_a_converged_run_reads_one_file_and_starts_nothing(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    arguments = args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels)
    assert run(arguments)["changed"] is True
    shutil.rmtree(wheels)
    results = [run(arguments) for _run in range(3)]
    assert not any(result["changed"] for result in results)
    tell(f"converged runs of worker_toolchain: {', '.join(str(result['elapsed']) for result in results)} s")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(TELL_OF_CHILDREN, encoding="utf-8")
    told = tmp_path / "children"
    environ = {"PYTHONPATH": f"{tmp_path / 'site'}:{module_driver.collections_path()}", "TOLD": str(told)}
    assert run(arguments, environ=environ)["changed"] is False
    assert not told.exists(), told.read_text(encoding="utf-8")
    assert run(args(tmp_path / "other", make_wheel(wheels, "1.0"), wheels), environ=environ)["changed"] is True
    assert "subprocess.Popen" in told.read_text(encoding="utf-8"), "the witness sees children where there are some"


# Python itself tells of every program that it starts and every fork.
TELL_OF_CHILDREN = """
import os, sys
def hook(event, args):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "pty.spawn"):
        with open(os.environ["TOLD"], "a") as told:
            told.write(event + "\\n")
sys.addaudithook(hook)
"""


def test_the_toolchain_of_the_role_is_provided_by_the_interpreter_of_the_tests(tmp_path: pathlib.Path) -> None:
    result = run({"root": str(tmp_path / "root"), "requirements": OURS})
    assert (result["provided"], result["python"], result["changed"]) == (True, sys.executable, False)
    assert not (tmp_path / "root").exists()


class TestUseExisting:
    """What is deployed can be looked at and stopped after an upgrade of the collection, and without an index."""

    @pytest.fixture
    def root(self, tmp_path: pathlib.Path, wheels: pathlib.Path) -> pathlib.Path:
        """A root with two toolchains; that of 1.0 was made last."""
        for version, created in (("2.0", "2026-01-01T00:00:00Z"), ("1.0", "2026-01-02T00:00:00Z")):
            made = run(args(tmp_path / "root", make_wheel(wheels, version), wheels))
            assert (made["created"], made["exact"]) == (True, True)
            record = tmp_path / "root/toolchain" / made["fingerprint"] / "toolchain.json"
            record.write_text(json.dumps({**json.loads(record.read_text()), "created": created}))
        shutil.rmtree(wheels)
        return tmp_path / "root"

    def ask(self, root: pathlib.Path, wheels: pathlib.Path, version: str = "3.0", check: bool = False) -> dict[str, t.Any]:
        requirements = make_wheel(wheels.parent / "unused", version)
        return run({"root": str(root), "requirements": requirements, "offline": True, "use_existing": True}, check)

    @pytest.mark.parametrize("check", [True, False])
    def test_the_newest_complete_one_will_do(self, root: pathlib.Path, wheels: pathlib.Path, check: bool) -> None:
        found = self.ask(root, wheels, check=check)
        assert (found["changed"], found["created"], found["provided"], found["exact"]) == (False, False, False, False)
        assert version_in(found["python"]) == "1.0"
        assert found["python"] == str(root / "toolchain" / found["fingerprint"] / "bin/python")
        assert len(list((root / "toolchain").iterdir())) == 2

    def test_the_exact_one_is_better(self, root: pathlib.Path, wheels: pathlib.Path) -> None:
        make_wheel(wheels, "2.0")
        (record,) = [each for each in root.glob("toolchain/*/toolchain.json") if json.loads(each.read_text())["packages"]["ew-tiny"] == "2.0"]
        found = run({"root": str(root), "requirements": (record.parent / "requirements.txt").read_text(), "offline": True, "use_existing": True})
        assert (found["exact"], found["changed"], version_in(found["python"])) == (True, False, "2.0")

    @pytest.mark.parametrize("damage", ["record", "broken record", "interpreter", "other python"])
    def test_one_that_is_not_whole_will_not(self, root: pathlib.Path, wheels: pathlib.Path, damage: str) -> None:
        directory = pathlib.Path(self.ask(root, wheels)["python"]).parents[1]
        if damage == "record":
            (directory / "toolchain.json").unlink()
        elif damage == "broken record":
            (directory / "toolchain.json").write_text("{")
        elif damage == "interpreter":
            (directory / "bin/python").unlink()
        else:
            (directory / "lib" / f"python3.{sys.version_info.minor}").rename(directory / "lib" / "python3.0")
        assert version_in(self.ask(root, wheels)["python"]) == "2.0"

    def test_without_any_it_is_made_or_the_way_to_make_it_is_told(self, tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
        failed(self.ask(tmp_path / "root", wheels), "offline", tmp_path / "root")
        arguments = args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels, use_existing=True)
        assert run(arguments)["created"] is True
        assert run(arguments)["changed"] is False


def interpreter(minor: str) -> str | None:
    """A Python of that version which can make virtual environments, from PATH or pyenv(1)'s directory."""
    candidates = [shutil.which(f"python{minor}"), *sorted(map(str, pathlib.Path.home().glob(f".pyenv/versions/{minor}.*/bin/python")))]
    for path in filter(None, candidates):
        if subprocess.run([path, "-c", "import ensurepip"], check=False, capture_output=True).returncode == 0:
            return path
    return None


@pytest.mark.slow
@pytest.mark.parametrize("minor", ["3.9", "3.11", "3.13"])
def test_the_toolchain_of_the_role_installs(minor: str, tmp_path: pathlib.Path) -> None:
    found = interpreter(minor)
    if found is None:
        pytest.skip(f"there is no Python {minor} with ensurepip on this machine")
    result = run({"root": str(tmp_path / "root"), "requirements": OURS, "python": found})
    if result.get("code") == "no_network":
        pytest.skip("no package index answers")
    assert result["created"] is True, result
    tell(f"the role's toolchain for Python {minor}: made in {result['elapsed']} s")
    record = json.loads((tmp_path / "root/toolchain" / result["fingerprint"] / "toolchain.json").read_text(encoding="utf-8"))
    assert {"grpcio", "py-rattler", "supervisor", "uv"} <= set(record["packages"])
    assert not list((tmp_path / "root/toolchain").glob("*/.building"))
    again = run({"root": str(tmp_path / "root"), "requirements": OURS, "python": found})
    assert (again["changed"], again["python"]) == (False, result["python"])


def test_everybody_may_read_it(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    arguments = args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels)
    before = os.umask(0o077)
    try:
        result = run(arguments)
    finally:
        os.umask(before)
    paths = [pathlib.Path(result["python"]).parents[1], *pathlib.Path(result["python"]).parents[1].rglob("*")]
    assert [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o044 != 0o044] == []


# ---- failures


def failed(result: dict[str, t.Any], code: str, root: pathlib.Path) -> dict[str, t.Any]:
    """The result of a run that must have failed with that code and left no toolchain, half or whole."""
    assert result.get("failed"), result
    assert result["code"] == code, result["msg"]
    assert result["remedy"]
    assert {"python", "fingerprint", "created", "provided", "actions", "diff", "elapsed", "changed"} <= set(result)
    assert (result["changed"], result["created"], result["python"]) == (False, False, "")
    assert not list(root.glob("toolchain/*"))
    return result


def test_no_way_to_an_index(tmp_path: pathlib.Path) -> None:
    result = run(
        {"root": str(tmp_path / "root"), "requirements": make_wheel(tmp_path / "unused", "1.0"), "index_url": "http://user:geheim4711@127.0.0.1:9/simple"},
        environ={"PIP_RETRIES": "1"},
    )
    failed(result, "no_network", tmp_path / "root")
    assert result["invocation"]["module_args"]["index_url"] == "http://127.0.0.1:9/simple"
    assert "geheim4711" not in json.dumps(result)


def test_offline_without_wheels(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    requirements = make_wheel(tmp_path / "unused", "1.0")
    wheels.mkdir()
    assert "find_links" in failed(run(args(tmp_path / "root", requirements, wheels)), "offline", tmp_path / "root")["remedy"]


def test_another_file_than_the_pinned_one(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    requirements = make_wheel(wheels, "1.0")
    make_wheel(wheels, "1.0", ballast=10)
    failed(run(args(tmp_path / "root", requirements, wheels)), "hash_mismatch", tmp_path / "root")


def test_packages_that_do_not_import(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    """A wheel that calls itself grpcio and has no such module stands for one that the C library of the host refuses."""
    requirements = make_wheel(wheels, "1.0", name="grpcio")
    # Named, so that it is not asked whether the running one has a grpcio that will do.
    base = os.path.realpath(sys.executable)
    result = failed(run(args(tmp_path / "root", requirements, wheels, python=base)), "verification_failed", tmp_path / "root")
    assert "No module named 'grpc'" in result["msg"]


def test_a_disk_that_is_full(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a small file system needs root and unshare(1)")
    requirements = make_wheel(wheels, "1.0", ballast=60_000_000)
    root = tmp_path / "small"
    root.mkdir()
    (tmp_path / "args.json").write_text(json.dumps(args(root, requirements, wheels)), encoding="utf-8")
    code = (
        "import json, os, sys; from tests.integration.module_driver import run_module;"
        "result = run_module('worker_toolchain', json.load(open(sys.argv[1])));"
        "left = [os.listdir(sys.argv[2] + '/toolchain')]; print(json.dumps([result, left]))"
    )
    script = 'mount -t tmpfs -o size=50m tmpfs "$1" && exec "$2" -c "$3" "$4" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), sys.executable, code, str(tmp_path / "args.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=module_driver.CHECKOUT, env={**os.environ, "PYTHONPATH": "."})
    result, left = json.loads(done.stdout)
    failed(result, "disk_full", root)
    assert left == [[]]


def test_an_interpreter_without_ensurepip(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    """Debian's python3 without python3-venv has no module ensurepip: hidden here from the real interpreter."""
    (tmp_path / "site").mkdir()
    hide = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ensurepip': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: None if name == 'ensurepip' else find(name, package)\n"
    )
    (tmp_path / "site" / "sitecustomize.py").write_text(hide, encoding="utf-8")
    arguments = args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels)
    for check in (True, False):
        result = run(arguments, check, environ={"PYTHONPATH": f"{tmp_path / 'site'}:{module_driver.collections_path()}"})
        assert "python3-venv" in failed(result, "no_venv", tmp_path / "root")["remedy"]


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"requirements": "psutil"}, "requirements"),
        ({"root": "relative"}, "root"),
        ({"timeout": 0}, "timeout"),
        ({"python": "/nonexistent"}, "python"),
        ({"find_links": ["/a b"]}, "find_links"),
        ({"index_url": "https://a b"}, "index_url"),
    ],
)
def test_bad_options(changes: dict[str, t.Any], option: str, tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    result = run({**args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels), **changes})
    assert failed(result, "invalid_option", tmp_path / "root")["option"] == option


def test_a_directory_that_is_not_ours_is_left_alone(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    arguments = args(tmp_path / "root", make_wheel(wheels, "1.0"), wheels)
    notes = tmp_path / "root/toolchain" / run(arguments, check=True)["fingerprint"] / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine", encoding="utf-8")
    assert run(arguments)["code"] == "foreign_directory"
    assert run({"root": str(tmp_path / "root"), "state": "absent"})["code"] == "foreign_directory"
    assert notes.read_text(encoding="utf-8") == "mine"


# ---- other runs


class Index:
    """A package index on loopback: it serves ``simple/`` of a directory, after ``hold`` is let go."""

    def __init__(self, wheels: pathlib.Path) -> None:
        self.asked = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.authorizations: list[str | None] = []
        index = self
        package = wheels.parent / "served/simple/ew-tiny"
        package.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(wheels, package)

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                index.authorizations.append(self.headers.get("Authorization"))
                index.asked.set()
                index.hold.wait(600)
                super().do_GET()

            def log_message(self, format: str, *args: t.Any) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(package.parents[1])))
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Index:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()


def test_the_hosts_own_settings_of_pip_are_in_force(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    requirements = make_wheel(wheels, "1.0")
    with Index(wheels) as index:
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = http://reader:geheim4711@{index.address}/simple\nuser = true\n", encoding="utf-8")
        result = run(
            {"root": str(tmp_path / "root"), "requirements": requirements}, environ={"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_FIND_LINKS": ""}
        )
        assert result["created"] is True, result
        assert any(index.authorizations)
        assert "geheim4711" not in json.dumps({**result, "invocation": None})


def test_killed_in_the_middle(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    requirements = make_wheel(wheels, "1.0")
    with Index(wheels) as index:
        index.hold.clear()
        arguments = {"root": str(tmp_path / "root"), "requirements": requirements, "index_url": f"http://{index.address}/simple"}
        first = start(arguments)
        assert index.asked.wait(PATIENCE), "pip asks the index"
        first.send_signal(signal.SIGKILL)
        first.wait()
        directory = next((tmp_path / "root/toolchain").iterdir())
        assert (directory / ".building").exists()
        assert run(arguments, check=True)["created"] is True, "a half-made one is not taken for whole"
        index.hold.set()
        result = run(arguments)
    assert (result["created"], version_in(result["python"])) == (True, "1.0")
    assert [path.name for path in (tmp_path / "root/toolchain").iterdir()] == [result["fingerprint"]]
    assert not (directory / ".building").exists()


def test_two_runs_at_once_make_one(tmp_path: pathlib.Path, wheels: pathlib.Path) -> None:
    requirements = make_wheel(wheels, "1.0")
    with Index(wheels) as index:
        index.hold.clear()
        arguments = {"root": str(tmp_path / "root"), "requirements": requirements, "index_url": f"http://{index.address}/simple"}
        first = start(arguments)
        assert index.asked.wait(PATIENCE)
        refused = run({**arguments, "timeout": 1})
        assert refused["code"] == "locked", refused
        second = start(arguments)
        wait_until(lambda: waits_for_the_lock(second), "the second run waits for the first")
        index.hold.set()
        results = [json.loads(each.communicate(timeout=300)[0]) for each in (first, second)]
    assert [result.get("created") for result in results] == [True, False], results
    assert results[0]["python"] == results[1]["python"]


def waits_for_the_lock(process: subprocess.Popen[str]) -> bool:
    """Whether it has opened a lock file; it keeps it until its own work is done."""
    return any(path.endswith(".lock") for path in opened(process.pid))


def start(arguments: t.Mapping[str, t.Any]) -> subprocess.Popen[str]:
    """The module as a process that runs on, with its result on standard output."""
    module = module_driver.collections_path() / "ansible_collections/ew_ai/worker/plugins/modules/worker_toolchain.py"
    process = subprocess.Popen(
        [sys.executable, str(module)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(module_driver.collections_path())},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": dict(arguments)}))
    process.stdin.close()
    process.stdin = None
    return process
