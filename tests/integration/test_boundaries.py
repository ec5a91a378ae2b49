# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module killed (SIGKILL) at every boundary between two writes, beside a worker that goes on answering; the same command mends it.

Nothing is mocked but the moment of death, which plugins/module_utils/boundaries.py makes. docs/testing.md has the table of all of them.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import sys
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive, manifest
from ansible_collections.ew_ai.worker.plugins.module_utils.job import KEY, OFFER
from ansible_collections.ew_ai.worker.plugins.module_utils.job import VARIABLE as JOB
from ansible_collections.ew_ai.worker.plugins.module_utils.release.tree import digest_of, scan, tree_id
from ansible_collections.ew_ai.worker.plugins.plugin_utils.package import package_of
from tests.integration.calling import Calls, calling
from tests.integration.conda_env_room import directory
from tests.integration.deploy_driver import Place, Worker
from tests.integration.ew_worker.kit import WORKER
from tests.integration.fault import Fault, Tree, differing, run_and_die, tree
from tests.integration.local_packages import local_channel, python_version, write_wheel
from tests.integration.module_driver import run_module
from tests.integration.test_worker_toolchain import make_wheel
from tests.shared import free_ports, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("boundaries")]

Args = dict[str, t.Any]
Step = tuple[str, Args]
NAME = "faulty"
# Boundaries by what reaches them; `file.staged` with the name of the file that is about to be renamed.
BOUNDARIES: dict[str, tuple[str, ...]] = {
    "environment": (
        *("environment.marked", "environment.prefix.made", "environment.linked", "environment.frozen", "environment.recorded", "environment.finished"),
        *("environment.link.made", "environment.link.set", "file.staged frozen", "file.staged ew-worker-record"),
    ),
    "environment with Python": ("environment.installed", "environment.compiled"),
    "environment of a build user": ("environment.handed_over",),
    "removed environment": ("environment.removal.marked", "environment.removal.emptied"),
    "release": ("release.staged", "release.unpacked", "release.renamed"),
    "removed release": ("release.removal.renamed",),
    "bundles": ("bundle.staged", "bundle.unpacked", "bundle.renamed", "bundle.removal.renamed"),
    "toolchain": ("toolchain.begun", "toolchain.made", "toolchain.installed", "toolchain.recorded", "toolchain.finished"),
    "generations": (
        *("lease.taken", "lease.renewed", "lease.given_back", "salt.written", "generation.secrets.written", "generation.recorded", "generation.concluded"),
        *("generation.endpoints.written", "generation.logged", "file.staged state.json", "file.staged lease.json"),
    ),
    "pruned generations": ("generation.pruned", "release.removal.renamed"),
    "forgotten worker": ("generation.forgotten", "generation.home.emptied", "shared.removal.renamed"),
    "instances": (
        *("supervisor.shared.written", "supervisor.shared.reloaded", "supervisor.shared.enabled", "supervisor.shared.started"),
        *("instance.data.made", "instance.written", "instance.enabled", "instance.started", "file.staged 0.json"),
    ),
    "moved instance": ("instance.reloaded", "instance.stopped"),
    "removed instances": ("instance.disabled", "instance.removed", "supervisor.shared.removed"),
}
# Reached where an action plugin offers to wait for a job.
OF_JOBS = ("job.claimed", "job.begun")


@dataclasses.dataclass(frozen=True)
class Commands:
    """What a user would run one after the other, each a list of modules; paths: what of the root is compared in the end (glob patterns)."""

    root: pathlib.Path
    commands: list[list[Step]]
    paths: tuple[str, ...]

    def found(self) -> Tree:
        """What stands below the paths."""
        whole = tree(self.root)
        return {name: told for name, told in whole.items() if any(pathlib.PurePath(name).match(each) or _is_below(name, each) for each in self.paths)}


def _is_below(name: str, pattern: str) -> bool:
    return any(str(above) != "." and above.match(pattern) for above in pathlib.PurePath(name).parents)


class Old:
    """The worker that served before, with two instances, and the root that the cases share with it."""

    def __init__(self, place: Place) -> None:
        place.home.chmod(0o755)  # for the build user
        self.place = place
        self.root = place.root
        self.worker: Worker = place.worker(place.copy("old", version="old"), 2)
        self.worker.deploy()
        self.undisturbed: dict[str, Tree] = {}

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{self.worker.port + index}" for index in (0, 1)]


@pytest.fixture(scope="module")
def old() -> t.Iterator[Old]:
    place = Place()
    try:
        yield Old(place)
    finally:
        place.end()


@pytest.fixture(scope="module")
def calls(old: Old) -> t.Iterator[Calls]:
    with calling(old.addresses) as found:
        yield found


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[pathlib.Path]:
    """What the cases are made of: a root for what must not share one, wheels, a worker directory, and a cache that all builds share."""
    with directory("faulty-") as top:
        write_wheel(top / "wheels", "ew_one", "1.0")
        (top / "tools.txt").write_text(make_wheel(top / "tools", "1.0"))
        (top / "source/worker").mkdir(parents=True)
        (top / "source/worker/main.py").write_text(WORKER)
        (top / "source/worker/__init__.py").touch()
        yield top


def _environment(old: Old, workshop: pathlib.Path, **options: t.Any) -> Step:
    known = {"root": str(old.root), "cache": str(workshop / "cache"), "name": NAME, "channels": [str(local_channel())]}
    return "conda_env", {**known, "packages": ["ew-lib"], **options}


def _release(old: Old, workshop: pathlib.Path) -> tuple[str, Step]:
    entries, _problems = scan(str(workshop / "source"))
    digests = {entry.source: digest_of(entry.source) for entry in entries if entry.source}
    release = tree_id(entries, lambda entry: digests[entry.source])
    package = package_of(release, entries, digests, str(workshop))
    return release, ("worker_release", {"root": str(old.root), "source": "x", "release": release, "package": package})


def _generation(root: pathlib.Path, release: str, **options: t.Any) -> list[Step]:
    """A deploy as far as lease and generations go. The run that comes again has the name of the one that was killed, as if it took its lease over."""
    paths = {"release": root / "releases" / release, "prefix": root / "envs" / f"e-{release}-1"}
    for path in paths.values():
        path.mkdir(parents=True, exist_ok=True)
    lease = {"run": "faulty-run", "controller": "here", "user": "me", "pid": 1, "verb": "deploy"}
    own = {"root": str(root), "name": NAME, "lease_run": "faulty-run"}
    contents = {
        "release": {"id": release, "path": str(paths["release"])},
        "conda_environment": {"prefix": str(paths["prefix"]), "fingerprint": release, "build": 1},
        "settings": {"port": 50051},
        "secrets": {"TOKEN": f"token of {release}"},
    }
    number = 1 + "abc".index(release[0])
    concluded = {"state": "finished", "generation": number, "verdict": "healthy", "endpoints": [{"instance": release, "status": "serving"}], "keep": 1}
    return [
        ("worker_preflight", {"root": str(root), "name": NAME, "lease": lease, "wanted": {"deploys": False}, "supervisor": "supervisord"}),
        ("worker_generation", {**own, **contents}),
        ("worker_generation", {**own, **concluded, "log": {"verb": "deploy"}, **options}),
    ]


def _instances(old: Old, workshop: pathlib.Path, port: int, **options: t.Any) -> Step:
    known = {"root": str(old.root), "name": NAME, "supervisor": "supervisord", "state": "started", "enabled": True}
    if options.get("state") == "absent":
        return "ew_worker", {**known, "enabled": None, **options}
    listed = [{"name": str(index), "ports": [port + index]} for index in (0, 1)]
    return "ew_worker", {**known, "release": str(workshop / "source"), "python": sys.executable, "instances": listed, **options}


def _bundle(root: pathlib.Path, workshop: pathlib.Path, name: str) -> list[Step]:
    files, package = workshop / f"{name}.tree", workshop / f"{name}.tar"
    (files / "wheels").mkdir(parents=True, exist_ok=True)
    (files / "wheels" / "pkg-1.0-py3-none-any.whl").write_text(name)
    archive.write(str(package), str(files), manifest.render("linux-64", "2.28", "3.11", [], archive.table_of(str(files)), {}))
    found = archive.read(str(package))
    options = {"root": str(root), "source": str(package), "bundle": found.id, "bytes": found.size}
    # As its action plugin calls it: asked first, and sent where it is missing.
    return [("worker_bundle", options), ("worker_bundle", {**options, "package": str(package)})]


def commands_for(kind: str, old: Old, workshop: pathlib.Path) -> Commands:
    """What is to be run for a kind of boundaries."""
    envs = (f"envs/{NAME}*", f"envs/.{NAME}*")
    if kind in ("environment", "environment with Python", "environment of a build user", "removed environment"):
        python = {"python_version": python_version(), "pip": ["ew-one"], "find_links": [str(workshop / "wheels")], "packages": []}
        special: dict[str, Args] = {
            "environment with Python": python,
            "environment of a build user": {"build_user": "nobody", "cache": str(workshop / "lent")},
        }
        commands = [[_environment(old, workshop, **special.get(kind, {}))]]
        return Commands(old.root, commands + ([[_environment(old, workshop, state="absent")]] if kind.startswith("removed") else []), envs)
    if kind in ("release", "removed release"):
        release, step = _release(old, workshop)
        removal: list[list[Step]] = [[("worker_release", {"root": str(old.root), "release": release, "state": "absent"})]]
        return Commands(old.root, [[step], *(removal if kind.startswith("removed") else [])], (f"releases/{release}", "releases/.*"))
    if kind == "bundles":
        # Below a root without workers two are kept.
        root = workshop / "bundles-root"
        return Commands(root, [_bundle(root, workshop, name) for name in ("first", "second", "third")], ("bundles/*", "bundles/.*"))
    if kind == "toolchain":
        requirements = (workshop / "tools.txt").read_text()
        options = {"root": str(old.root), "requirements": requirements, "find_links": [str(workshop / "tools")], "offline": True}
        return Commands(old.root, [[("worker_toolchain", options)]], ("toolchain/*",))
    if kind in ("generations", "pruned generations", "forgotten worker"):
        root = workshop / "root"
        made = [_generation(root, letter * 16) for letter in ("abc" if kind == "pruned generations" else "a")]
        absent: list[list[Step]] = [[("worker_generation", {"root": str(root), "name": NAME, "state": "absent"})]]
        return Commands(root, made + (absent if kind == "forgotten worker" else []), ("*",))
    port = PORTS
    started = [_instances(old, workshop, port)]
    more = {
        "instances": [],
        "moved instance": [[_instances(old, workshop, port, env={"COLOUR": "blue"}, only=["0"])]],
        "removed instances": [[_instances(old, workshop, port, state="stopped", enabled=False)], [_instances(old, workshop, port, state="absent")]],
    }[kind]
    return Commands(old.root, [started, *more], (f"workers/{NAME}",))


PORTS = free_ports(2)


def run_all(commands: Commands, *faults: Fault) -> None:
    """Each command to its end; the one in which a module is killed is run again from its beginning, as it was, with the next fault."""
    waiting = list(faults)
    for command in commands.commands:
        while not _run(command, waiting[0] if waiting else None):
            waiting.pop(0)


def _run(command: t.Sequence[Step], fault: t.Optional[Fault]) -> bool:
    for name, args in command:
        before = fault is not None and fault.reached
        result = run_and_die(name, {key: value for key, value in args.items() if value is not None}, fault.environ if fault is not None else {})
        if result is None:
            assert fault is not None
            assert (fault.reached, before) == (True, False)
            return False
        assert not result.get("failed"), (name, result.get("msg"))
    return True


def clear(commands: Commands) -> None:
    """Remove what a case has left."""
    pid = commands.root / "workers" / NAME / "supervisord/supervisord.pid"
    if pid.exists():
        run_module("ew_worker", {"root": str(commands.root), "name": NAME, "supervisor": "supervisord", "state": "absent"})
    if commands.paths == ("*",):
        shutil.rmtree(commands.root, ignore_errors=True)
    for pattern in commands.paths:
        for path in commands.root.glob(pattern):
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)


# A toolchain takes seconds to make, and four bundles a few files: the run that mends what was left at one boundary is the one that is killed at the next.
IN_A_ROW = ("bundles", "toolchain")
CASES = [(kind, row) for kind, boundaries in BOUNDARIES.items() for row in ([boundaries] if kind in IN_A_ROW else [(boundary,) for boundary in boundaries])]


@pytest.mark.parametrize(("kind", "boundaries"), CASES, ids=[f"{', '.join(row)} of {kind}" for kind, row in CASES])
def test_the_same_command_after_a_kill_leaves_what_an_undisturbed_one_does(
    old: Old, calls: Calls, workshop: pathlib.Path, tmp_path: pathlib.Path, kind: str, boundaries: tuple[str, ...]
) -> None:
    if kind == "environment of a build user" and os.geteuid() != 0:
        pytest.skip("only root can build as another account")
    before = (calls.answered, len(calls.missed), len(calls.lost))
    if kind not in old.undisturbed:
        undisturbed = commands_for(kind, old, workshop)
        run_all(undisturbed)
        old.undisturbed[kind] = undisturbed.found()
        clear(undisturbed)
    commands, faults = commands_for(kind, old, workshop), [Fault(boundary, tmp_path) for boundary in boundaries]
    try:
        run_all(commands, *faults)
        assert [boundary for boundary, fault in zip(boundaries, faults) if not fault.reached] == [], "no module came by"
        assert differing(old.undisturbed[kind], commands.found()) == []
    finally:
        clear(commands)
    assert calls.answered > before[0]
    assert (calls.missed[before[1] :], calls.lost[before[2] :], calls.versions) == ([], [], {"old"})


@pytest.mark.parametrize("boundary", OF_JOBS)
def test_work_whose_module_died_before_it_told_of_it_is_done_once_and_whole(
    old: Old, calls: Calls, workshop: pathlib.Path, tmp_path: pathlib.Path, boundary: str
) -> None:
    """The test does what the action plugin does: it offers to wait, and comes for the result."""
    lost = len(calls.lost)
    commands, fault = commands_for("environment", old, workshop), Fault(boundary, tmp_path)
    (((name, args),),) = commands.commands
    try:
        assert run_and_die(name, args, {**fault.environ, JOB: OFFER}) is None
        assert fault.reached
        found = run_and_die(name, args, {JOB: OFFER}) or {}
        while KEY in found:
            handle = found[KEY]
            assert handle["attached"] is (boundary == "job.begun")
            wait_until(pathlib.Path(handle["path"], "result").exists, "the job has ended")
            found = run_and_die(name, args, {JOB: handle["path"]}) or {}
        assert not found.get("failed"), found
        assert found["prefix"]
        # A result that nobody came for is kept for an hour.
        assert boundary == "job.begun" or not (old.root / "jobs").exists()
        made = commands.found()
        run_all(commands)
        assert differing(made, commands.found()) == []
    finally:
        clear(commands)
    assert len(calls.lost) == lost
