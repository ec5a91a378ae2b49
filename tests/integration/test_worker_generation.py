# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``worker_generation`` and ``worker_generation_info`` over a real root."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.place import Place
from ansible_collections.ew_ai.worker.plugins.module_utils.files import locked
from ansible_collections.ew_ai.worker.plugins.module_utils.generation import locks, store
from tests.integration.module_driver import run_module
from tests.integration.twelve_steps import twelve_steps

NAME = "ew-worker"


def wanted(root: pathlib.Path, release: str) -> dict[str, t.Any]:
    """The options that ask for a generation of that release, whose directories exist."""
    paths = {"release": root / "releases" / release, "prefix": root / "envs" / f"e-{release}-1"}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    return {
        "release": {"id": release, "path": str(paths["release"])},
        "conda_environment": {"prefix": str(paths["prefix"]), "fingerprint": release, "build": 1},
        "settings": {"port": 50051},
    }


def call(root: pathlib.Path, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """The module's result."""
    return run_module("worker_generation", {"root": str(root), "name": NAME, **options}, check=check)


def deploy(root: pathlib.Path, release: str, verdict: str = "healthy", **options: t.Any) -> dict[str, t.Any]:
    """A whole deploy as far as generations go; returns what concluded it."""
    number = call(root, **wanted(root, release))["generation"]
    return call(root, state="finished", generation=number, verdict=verdict, **options)


def info(root: pathlib.Path, **options: t.Any) -> dict[str, t.Any]:
    """What worker_generation_info tells."""
    return run_module("worker_generation_info", {"root": str(root), "name": NAME, **options})


def listing(root: pathlib.Path) -> list[str]:
    """Everything below the root."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_twelve_steps(tmp_path: pathlib.Path) -> None:
    root = tmp_path / "root"
    steps: dict[str, tuple[dict[str, t.Any], list[dict[str, str]]]] = {
        "create": (wanted(root, "r1"), [{"what": "generation", "id": f"{NAME}/1", "status": "created"}]),
        "modify": (wanted(root, "r2"), [{"what": "generation", "id": f"{NAME}/2", "status": "created"}]),
        "delete": (
            {"state": "absent", "purge": True},
            [
                {"what": "generation", "id": NAME, "status": "removed"},
                *({"what": "environment", "id": f"envs/e-{each}-1", "status": "removed"} for each in ("r1", "r2")),
                *({"what": "release", "id": f"releases/{each}", "status": "removed"} for each in ("r1", "r2")),
                {"what": "data", "id": f"workers/{NAME}", "status": "removed"},
                {"what": "shared", "id": "releases", "status": "removed"},
                {"what": "shared", "id": "envs", "status": "removed"},
            ],
        ),
    }
    before: dict[str, list[str]] = {}

    def after(step: str, check: bool, _result: dict[str, t.Any]) -> None:
        if check:
            before[step] = listing(root)
        elif step.startswith("re-"):
            assert listing(root) == before[step]

    twelve_steps(lambda args, check: call(root, check, **args), steps, after)
    assert not root.exists()


def test_good_generation_becomes_the_active_one_and_is_written_for_whoever_routes_calls(tmp_path: pathlib.Path) -> None:
    endpoints = [{"instance": f"{NAME}@0", "address": "10.0.0.1", "port": 50051, "status": "serving"}]
    found = deploy(tmp_path, "r1", endpoints=endpoints, log={"verb": "deploy"})
    assert {"what": "generation", "id": f"{NAME}/1", "status": "activated"} in found["actions"]
    home = tmp_path / "workers" / NAME
    assert json.loads((home / "endpoints.json").read_text()) == {"worker": NAME, "endpoints": endpoints}
    assert json.loads((home / "deploy.log").read_text())["verb"] == "deploy"
    again = call(tmp_path, state="finished", generation=1, verdict="healthy", endpoints=endpoints)
    assert (again["changed"], again["actions"]) == (False, [])


def test_failed_generation_leaves_the_active_one(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    deploy(tmp_path, "r2", verdict="failed", reason="it broke")
    found = info(tmp_path)
    assert found["active"]["number"] == 1
    assert found["generations"][1]["verdict"]["message"] == "it broke"


def test_old_generations_go_with_what_only_they_needed(tmp_path: pathlib.Path) -> None:
    for release in ("r1", "r2", "r3"):
        found = deploy(tmp_path, release, keep=2)
    assert found["pruned"] == ["envs/e-r1-1", "releases/r1"]
    assert sorted(path.name for path in (tmp_path / "releases").iterdir()) == ["r2", "r3"]
    assert info(tmp_path)["rollback_target"]["number"] == 2


def test_what_a_process_still_runs_stays_until_it_has_ended(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path / "releases" / "r1", stdin=subprocess.PIPE, text=True) as process:
        for release in ("r2", "r3"):
            assert deploy(tmp_path, release, verdict="unverified", keep=1)["pruned"] == []
        process.communicate("\n")
    assert "releases/r1" in deploy(tmp_path, "r4", keep=1)["pruned"]
    assert [each["number"] for each in info(tmp_path)["generations"]] == [3, 4]


def test_rolled_back_source_is_refused_with_the_word_that_insists(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    deploy(tmp_path, "r2")
    call(tmp_path, state="finished", generation=1, verdict="healthy", rolled_back_from=2)
    refused = call(tmp_path, **wanted(tmp_path, "r2"))
    assert (refused["failed"], refused["code"]) == (True, "rolled_back")
    assert "worker_force=true" in refused["remedy"]
    assert call(tmp_path, force=True, **wanted(tmp_path, "r2"))["generation"] == 3


def test_only_the_worker_that_goes_is_forgotten(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    run_module("worker_generation", {"root": str(tmp_path), "name": "other", **wanted(tmp_path, "r1")})
    gone = call(tmp_path, state="absent", purge=True)
    assert (gone["last"], gone["pruned"]) == (False, [])
    assert (tmp_path / "releases" / "r1").is_dir()


HOLDER = {"controller": "c", "user": "ann", "pid": 1, "verb": "deploy"}


def take_lease(root: pathlib.Path, run: str, name: str = NAME, **options: t.Any) -> None:
    """A run begins."""
    found = run_module("worker_preflight", {"root": str(root), "name": name, "minimum_disk_mb": 1, "lease": {**HOLDER, "run": run}, **options})
    assert not found.get("failed"), found


def state_of(root: pathlib.Path) -> t.Any:
    return json.loads((root / "workers" / NAME / "state.json").read_text())


class TestLease:
    """A run that was overtaken changes nothing any more."""

    @pytest.fixture
    def overtaken(self, tmp_path: pathlib.Path) -> pathlib.Path:
        """The run ``one`` recorded a candidate, then ``two`` took over and recorded its own."""
        deploy(tmp_path, "r1")
        take_lease(tmp_path, "one")
        assert call(tmp_path, lease_run="one", **wanted(tmp_path, "r2"))["generation"] == 2
        take_lease(tmp_path, "two", take_lease=True)
        assert call(tmp_path, lease_run="two", **wanted(tmp_path, "r3"))["generation"] == 3
        return tmp_path

    @pytest.mark.parametrize("state", ["present", "finished", "absent"])
    def test_it_is_refused_and_told_who_has_the_lease(self, overtaken: pathlib.Path, state: str) -> None:
        options = {"present": wanted(overtaken, "r4"), "finished": {"generation": 2, "verdict": "healthy", "endpoints": [], "keep": 1}, "absent": {}}
        (overtaken / "releases" / "r4").rmdir() if state != "present" else None
        before = listing(overtaken), state_of(overtaken)
        refused = call(overtaken, state=state, lease_run="one", **options[state])
        assert (refused["failed"], refused["code"], refused["holder"]["run"]) == (True, "lease_lost", "two")
        assert "ann@c (deploy, pid 1, run two) has it now" in refused["msg"]
        assert (listing(overtaken), state_of(overtaken)) == before
        assert info(overtaken)["lease"]["run"] == "two"

    def test_the_other_one_goes_on(self, overtaken: pathlib.Path) -> None:
        assert call(overtaken, state="finished", generation=3, verdict="healthy", lease_run="two")["changed"]
        found = info(overtaken)
        assert (found["active"]["number"], found["lease"]) == (3, None)

    def test_a_long_run_keeps_its_lease(self, tmp_path: pathlib.Path) -> None:
        take_lease(tmp_path, "one", lease_timeout=1)
        path = tmp_path / "workers" / NAME / "lease.json"
        over = json.loads(path.read_text())
        path.write_text(json.dumps({**over, "expires_at": 1, "timeout": 500}))
        assert not call(tmp_path, lease_run="one", **wanted(tmp_path, "r1")).get("failed")
        assert json.loads(path.read_text())["expires_at"] > over["expires_at"] + 100

    def test_it_ends_though_the_conclusion_fails(self, tmp_path: pathlib.Path) -> None:
        take_lease(tmp_path, "one")
        found = call(tmp_path, state="finished", generation=7, verdict="healthy", lease_run="one")
        assert found["code"] == "unknown_generation"
        assert info(tmp_path)["lease"] is None


@pytest.mark.parametrize("state", ["present", "finished"])
def test_a_run_waits_for_what_another_is_writing(tmp_path: pathlib.Path, state: str) -> None:
    deploy(tmp_path, "r1")
    options = {"present": wanted(tmp_path, "r2"), "finished": {"generation": 1, "verdict": "unverified"}}
    with ThreadPoolExecutor(1) as pool:
        with locks.of_state(str(tmp_path), NAME):
            waiting = pool.submit(call, tmp_path, state=state, **options[state])
            wait_for(lambda: held(str(tmp_path / "locks" / f"state-{NAME}.lock")) == 2)
            (record,) = state_of(tmp_path)["generations"]
            store.save(str(tmp_path), NAME, {**state_of(tmp_path), "next": 3, "generations": [record, {**record, "number": 2}]})
        assert not waiting.result(120).get("failed")
    assert [each["number"] for each in info(tmp_path)["generations"]] == ([1, 2, 3] if state == "present" else [1, 2])


def other_worker(root: pathlib.Path, text: str) -> None:
    """Another worker with that state file."""
    home = root / "workers" / "other"
    home.mkdir(parents=True)
    (home / "state.json").write_text(text)


class TestFinished:
    """A good deploy is good whatever trouble there is afterwards."""

    @pytest.mark.parametrize("text", ["{", '{"version": 99}', '{"version": 1}', "\udcff"])
    def test_state_of_another_worker_that_cannot_be_read_only_keeps_everything(self, tmp_path: pathlib.Path, text: str) -> None:
        other_worker(tmp_path, "")
        (tmp_path / "workers" / "other" / "state.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        deploy(tmp_path, "r1")
        deploy(tmp_path, "r2")
        take_lease(tmp_path, "one")
        found = deploy(tmp_path, "r3", keep=2, lease_run="one", endpoints=[], log={"verb": "deploy"})
        assert not found.get("failed"), found
        assert found["pruned"] == []
        assert "other/state.json" in str(found["warnings"])
        assert {path.name for path in (tmp_path / "releases").iterdir()} == {"r1", "r2", "r3"}
        after = info(tmp_path)
        assert (after["active"]["number"], after["lease"]) == (3, None)
        assert (tmp_path / "workers" / NAME / "endpoints.json").exists()

    def test_a_log_that_cannot_be_written_is_a_warning(self, tmp_path: pathlib.Path) -> None:
        deploy(tmp_path, "r1")
        (tmp_path / "workers" / NAME / "deploy.log").mkdir()
        found = deploy(tmp_path, "r2", keep=1, log={"verb": "deploy"}, endpoints=[])
        assert not found.get("failed"), found
        assert "deploy log was not written" in str(found["warnings"])
        assert info(tmp_path)["active"]["number"] == 2

    def test_broken_endpoints_are_written_anew(self, tmp_path: pathlib.Path) -> None:
        deploy(tmp_path, "r1")
        path = tmp_path / "workers" / NAME / "endpoints.json"
        path.write_text("{")
        assert deploy(tmp_path, "r1", endpoints=[])["actions"] == [{"what": "endpoints", "id": NAME, "status": "changed"}]
        assert json.loads(path.read_text())["endpoints"] == []

    @pytest.mark.parametrize(
        ("text", "foretold"),
        [
            ('{"worker": "w", "endpoints": [{"instance": "w@0", "port": 50051, "status": "stopped"}]}', False),
            ('{"worker": "w", "endpoints": [{"instance": "w@0", "port": 50052, "status": "serving"}]}', True),
            ('{"worker": "w", "endpoints": [7]}', True),
            ("[]", True),
            ("{", True),
        ],
    )
    def test_check_mode_foretells_endpoints_but_for_who_will_answer(self, tmp_path: pathlib.Path, text: str, foretold: bool) -> None:
        deploy(tmp_path, "r1")
        path = tmp_path / "workers" / NAME / "endpoints.json"
        path.write_text(text)
        endpoints = [{"instance": "w@0", "port": 50051, "status": "serving"}]
        found = call(tmp_path, check=True, state="finished", generation=1, verdict="healthy", endpoints=endpoints)
        assert [each["what"] for each in found["actions"]] == (["endpoints"] if foretold else [])
        assert path.read_text() == text

    def test_a_failure_that_passes_leaves_the_verdict_and_is_logged(self, tmp_path: pathlib.Path) -> None:
        deploy(tmp_path, "r1")
        found = deploy(tmp_path, "r1", verdict="failed", reason="the gateway is down", log={"verb": "deploy", "success": False})
        assert (found["changed"], found["actions"]) == (False, [])
        assert info(tmp_path)["active"]["verdict"]["status"] == "healthy"
        assert json.loads((tmp_path / "workers" / NAME / "deploy.log").read_text())["success"] is False


def age(path: pathlib.Path) -> None:
    """Make the completion of a build two days old."""
    os.utime(path, (time.time() - 2 * 86400,) * 2)


def built(root: pathlib.Path, number: int) -> pathlib.Path:
    """A complete environment of the default name, two days old."""
    path = root / "envs" / f"ew_ai_worker-{number:012}-1"
    (path / "conda-meta").mkdir(parents=True)
    record = path / "conda-meta" / "ew-worker-record"
    record.write_text(json.dumps({"version": 1, "fingerprint": "f", "build": 1, "listing": {"conda": [], "pip": []}}))
    age(record)
    return path


class TestPruning:
    @pytest.fixture
    def root(self, tmp_path: pathlib.Path) -> pathlib.Path:
        """A deployed worker, its environment, and one that was built and never came to a generation."""
        serving, _lost = built(tmp_path, 1), built(tmp_path, 2)
        options = wanted(tmp_path, "r1")
        options["conda_environment"]["prefix"] = str(serving)
        self.deploy(tmp_path, options)
        return tmp_path

    def deploy(self, root: pathlib.Path, options: t.Optional[dict[str, t.Any]] = None, check: bool = False) -> list[str]:
        """What a deploy that changes nothing prunes, or that of the options."""
        if options is None:
            return t.cast("list[str]", call(root, check, state="finished", generation=1, verdict="healthy")["pruned"])
        number = call(root, **options)["generation"]
        return t.cast("list[str]", call(root, state="finished", generation=number, verdict="healthy")["pruned"])

    def test_an_environment_that_never_came_to_a_generation_goes_after_a_day(self, tmp_path: pathlib.Path) -> None:
        serving, lost, young, foreign = built(tmp_path, 1), built(tmp_path, 2), built(tmp_path, 3), tmp_path / "envs" / "own-000000000001-1"
        os.utime(young / "conda-meta" / "ew-worker-record")
        foreign.mkdir()
        options = wanted(tmp_path, "r1")
        options["conda_environment"]["prefix"] = str(serving)
        number = call(tmp_path, **options)["generation"]
        foretold = call(tmp_path, True, state="finished", generation=number, verdict="healthy")
        found = call(tmp_path, state="finished", generation=number, verdict="healthy")
        assert found["pruned"] == foretold["pruned"] == [f"envs/{lost.name}"]
        assert {"what": "environment", "id": f"envs/{lost.name}", "status": "removed"} in found["actions"]
        assert {path.name for path in (tmp_path / "envs").iterdir()} >= {serving.name, young.name, foreign.name}

    def test_not_while_a_process_runs_from_it(self, root: pathlib.Path) -> None:
        lost = built(root, 4)
        with subprocess.Popen([sys.executable, "-c", "input()"], cwd=lost, stdin=subprocess.PIPE, text=True) as process:
            assert self.deploy(root) == []
            process.communicate("\n")
        assert self.deploy(root) == [f"envs/{lost.name}"]

    def test_not_while_one_of_its_name_is_built(self, root: pathlib.Path) -> None:
        lost = built(root, 4)
        lock = Place(str(root), "", "ew_ai_worker").lock
        with locked(lock, 60, "a build"):
            assert self.deploy(root) == []
        assert self.deploy(root) == [f"envs/{lost.name}"]

    def test_not_while_another_worker_is_being_deployed(self, root: pathlib.Path) -> None:
        """It may rely on what no generation names yet."""
        lost = built(root, 4)
        take_lease(root, "other run", name="other")
        assert self.deploy(root) == []
        assert self.deploy(root, check=True) == []
        run_module("worker_generation", {"root": str(root), "name": "other", "state": "finished", "lease_run": "other run"})
        assert self.deploy(root, check=True) == [f"envs/{lost.name}"]
        assert self.deploy(root) == [f"envs/{lost.name}"]

    def test_nobody_begins_to_deploy_while_it_goes_on(self, root: pathlib.Path) -> None:
        with ThreadPoolExecutor(1) as pool:
            with locks.of_root(str(root)):
                beginning = pool.submit(take_lease, root, "other run", "other")
                wait_for(lambda: held(locks.root_lock(str(root))) == 2)
                assert not (root / "workers" / "other").exists()
            beginning.result(60)
        assert (root / "workers" / "other" / "lease.json").exists()

    def test_not_while_a_release_is_unpacked_or_removed(self, root: pathlib.Path) -> None:
        """Both sweep what killed runs left: one after the other."""
        deploy(root, "r2")
        lock = str(root / "locks" / "releases.lock")
        with ThreadPoolExecutor(1) as pool:
            with locked(lock, 60, "a release"):
                (root / "releases" / ".staging-r9").mkdir()
                waiting = pool.submit(deploy, root, "r3", keep=1)
                wait_for(lambda: held(lock) == 2)
                assert sorted(path.name for path in (root / "releases").iterdir()) == [".staging-r9", "r1", "r2", "r3"]
            assert "releases/r1" in waiting.result(120)["pruned"]
        assert sorted(path.name for path in (root / "releases").iterdir()) == ["r2", "r3"]


class TestUninstall:
    def test_the_last_one_and_a_first_deploy_of_another_at_once(self, tmp_path: pathlib.Path) -> None:
        """One comes after the other: the new worker finds all that is shared, or nothing."""
        deploy(tmp_path, "r1")
        (tmp_path / "toolchain" / "t").mkdir(parents=True)
        with ThreadPoolExecutor(2) as pool:
            with locks.of_root(str(tmp_path)):
                removing = pool.submit(call, tmp_path, state="absent", purge=True)
                wait_for(lambda: held(locks.root_lock(str(tmp_path))) == 2)
                beginning = pool.submit(take_lease, tmp_path, "other run", "other")
                wait_for(lambda: held(locks.root_lock(str(tmp_path))) == 3)
            gone, _begun = removing.result(120), beginning.result(120)
        assert not gone.get("failed"), gone
        assert gone["last"] is not (tmp_path / "toolchain" / "t").exists()
        assert (tmp_path / "workers" / "other" / "lease.json").exists()
        # whoever comes next waits for the lock that the others know
        assert (tmp_path / "locks" / "root.lock").exists()

    def test_it_waits_for_who_works_without_a_lease(self, tmp_path: pathlib.Path) -> None:
        deploy(tmp_path, "r1")
        lock = str(tmp_path / "locks" / "releases.lock")
        with ThreadPoolExecutor(1) as pool:
            with locked(lock, 60, "a release"):
                removing = pool.submit(call, tmp_path, state="absent", purge=True)
                wait_for(lambda: held(lock) == 2)
                assert (tmp_path / "locks" / "releases.lock").exists()
            assert removing.result(120)["last"] is True
        assert not tmp_path.exists() or list(tmp_path.iterdir()) == []

    def test_nothing_is_made_where_nothing_is(self, tmp_path: pathlib.Path) -> None:
        found = call(tmp_path / "root", state="absent", purge=True)
        assert (found["changed"], found["last"]) == (False, True)
        assert not (tmp_path / "root").exists()


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def held(path: str) -> int:
    """How many processes have the lock file open."""
    count = 0
    for directory in pathlib.Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            count += any(os.readlink(each) == path for each in directory.iterdir())
    return count


SECRET = "geheimnis-4711"


class TestSecrets:
    def test_they_belong_to_the_generation(self, tmp_path: pathlib.Path) -> None:
        found = call(tmp_path, secrets={"TOKEN": SECRET, "DEBUG": True, "N": 1}, **wanted(tmp_path, "r1"))
        path = tmp_path / "workers" / NAME / "secrets" / "generation-1.json"
        assert found["secrets_file"] == str(path)
        assert json.loads(path.read_text()) == {"TOKEN": SECRET, "DEBUG": "true", "N": "1"}
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        call(tmp_path, state="finished", generation=1, verdict="healthy")
        again = call(tmp_path, secrets={"N": "1", "DEBUG": "true", "TOKEN": SECRET}, **wanted(tmp_path, "r1"))
        assert (again["changed"], again["new"], again["generation"], again["secrets_file"]) == (False, False, 1, str(path))
        other = call(tmp_path, secrets={"TOKEN": "geheimnis-4712"}, **wanted(tmp_path, "r1"))
        assert (other["new"], other["generation"], other["previous"]["secrets_file"]) == (True, 2, str(path))
        call(tmp_path, state="finished", generation=2, verdict="healthy")
        none = call(tmp_path, **wanted(tmp_path, "r1"))
        assert (none["new"], none["generation"], none["secrets_file"]) == (True, 3, None)
        assert info(tmp_path)["rollback_target"]["secrets_file"] == str(path)
        assert info(tmp_path)["generations"][2]["secrets_file"] is None

    def test_nobody_else_gets_to_know_them(self, tmp_path: pathlib.Path) -> None:
        results = [
            call(tmp_path, check, secrets={"TOKEN": SECRET, "SHORT": "w"}, log={"verb": "deploy"}, **wanted(tmp_path, "r1")) for check in (True, False, False)
        ]
        results += [deploy(tmp_path, "r1", log={"verb": "deploy"}), info(tmp_path)]
        told = json.dumps(results) + "".join(path.read_text() for path in (tmp_path / "workers" / NAME).glob("*.*"))
        assert SECRET not in told
        assert results[0]["invocation"]["module_args"]["secrets"] == {"TOKEN": "********", "SHORT": "********"}
        # a short one does not mask what it happens to occur in
        assert results[1]["invocation"]["module_args"]["name"] == NAME

    def test_check_mode_writes_nothing_and_tells_others_where_there_is_a_salt(self, tmp_path: pathlib.Path) -> None:
        options = wanted(tmp_path, "r1")
        before = listing(tmp_path)
        foretold = call(tmp_path, True, secrets={"TOKEN": SECRET}, **options)
        assert (foretold["generation"], foretold["new"], foretold["secrets_file"]) == (1, True, None)
        assert listing(tmp_path) == before
        found = call(tmp_path, secrets={"TOKEN": SECRET}, **options)
        assert foretold["actions"] == found["actions"]
        call(tmp_path, state="finished", generation=1, verdict="healthy")
        same = call(tmp_path, True, secrets={"TOKEN": SECRET}, **options)
        assert (same["changed"], same["secrets_file"]) == (False, found["secrets_file"])
        for secrets in ({"TOKEN": "other"}, {"TOKEN": SECRET, "MORE": "1"}, {}):
            assert call(tmp_path, True, secrets=secrets, **options)["new"] is True

    def test_they_go_with_the_generation(self, tmp_path: pathlib.Path) -> None:
        for number in (1, 2, 3):
            call(tmp_path, secrets={"TOKEN": str(number)}, **wanted(tmp_path, "r1"))
            call(tmp_path, state="finished", generation=number, verdict="healthy", keep=2)
        directory = tmp_path / "workers" / NAME / "secrets"
        assert sorted(path.name for path in directory.iterdir()) == ["generation-2.json", "generation-3.json"]
        call(tmp_path, state="absent")
        assert not (tmp_path / "workers").exists()

    def test_a_lost_file_is_written_again(self, tmp_path: pathlib.Path) -> None:
        options = {"secrets": {"TOKEN": SECRET}, **wanted(tmp_path, "r1")}
        path = pathlib.Path(call(tmp_path, **options)["secrets_file"])
        call(tmp_path, state="finished", generation=1, verdict="healthy")
        path.unlink()
        expected = [{"what": "generation", "id": f"{NAME}/1", "status": "changed"}]
        assert call(tmp_path, True, **options)["actions"] == expected
        assert not path.exists()
        assert call(tmp_path, **options)["actions"] == expected
        assert json.loads(path.read_text()) == {"TOKEN": SECRET}

    def test_what_is_no_variable_is_refused_without_its_value(self, tmp_path: pathlib.Path) -> None:
        refused = call(tmp_path, secrets={"to-ken": SECRET}, **wanted(tmp_path, "r1"))
        assert (refused["failed"], refused["code"]) == (True, "invalid_option")
        assert SECRET not in json.dumps(refused)


def test_rollback_to_a_release_has_another_number_on_each_host(tmp_path: pathlib.Path) -> None:
    one, other = "00000000000000aa", "00000000000000bb"
    for host, releases in (("first", (one, other)), ("second", (other, one, other))):
        for port, release in enumerate(releases):
            options = {**wanted(tmp_path / host, release), "settings": {"port": port}}
            number = call(tmp_path / host, **options)["generation"]
            call(tmp_path / host, state="finished", generation=number, verdict="healthy")
    found = [info(tmp_path / host, rollback_to=one)["rollback_target"]["number"] for host in ("first", "second")]
    assert found == [1, 2]


@pytest.mark.parametrize(("force", "code"), [(False, "not_good"), (True, None)])
def test_rollback_to_what_failed_must_be_insisted_on(tmp_path: pathlib.Path, force: bool, code: t.Optional[str]) -> None:
    deploy(tmp_path, "r1")
    deploy(tmp_path, "r2", verdict="failed")
    found = info(tmp_path, rollback_to="2", force=force)
    assert found.get("code") == code
    if code is None:
        assert found["rollback_target"]["number"] == 2
    assert info(tmp_path, rollback_to="7")["code"] == "unknown_generation"


def test_what_another_run_keeps_from_being_removed_is_named(tmp_path: pathlib.Path) -> None:
    deploy(tmp_path, "r1")
    take_lease(tmp_path, "theirs", "other")
    found = call(tmp_path, state="absent", purge=True)
    assert found["pruned"] == []
    assert "A run for other is at work" in str(found["warnings"])
    assert "envs/e-r1-1, releases/r1 stay" in str(found["warnings"])
    assert (tmp_path / "releases" / "r1").is_dir()


@pytest.mark.parametrize("name", ["", "..", "../../victim", "../other", "Worker", "-x"])
@pytest.mark.parametrize("module", ["worker_generation", "worker_generation_info", "worker_preflight"])
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_done(tmp_path: pathlib.Path, module: str, name: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "state.json").write_text("precious")
    before = listing(tmp_path)
    lease = {"run": "r", "controller": "c", "user": "ann", "pid": 1, "verb": "uninstall"}
    options = {"worker_generation": {"state": "absent", "purge": True}, "worker_preflight": {"minimum_disk_mb": 1, "lease": lease}}
    refused = run_module(module, {"root": str(tmp_path / "root"), "name": name, **options.get(module, {})})
    assert (refused["failed"], refused["code"]) == (True, "invalid_name" if module == "worker_preflight" else "invalid_option")
    assert listing(tmp_path) == before
