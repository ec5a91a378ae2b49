# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Worker directories of every kind: the old flat layout, names that no shell likes, links, secrets, and half a gigabyte."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest

from tests.figures import tell
from tests.integration.deploy_driver import EXAMPLES, Place, Run, Worker
from tests.integration.local_packages import local_channel, write_wheel
from tests.integration.lock_files import explicit, packages
from tests.integration.test_deploy_failures import foreign_listener

pytestmark = pytest.mark.slow


def test_the_flat_example_deploys_with_the_documented_warning(place: Place) -> None:
    worker = place.worker(EXAMPLES / "flat-worker")
    run = worker.deploy()
    release = pathlib.Path(run.host["instances"][0]["release"])
    assert (release / "worker" / "main.py").is_file()
    assert "has no health service" in re.sub(r"\s+", " ", run.output), run.output
    assert worker.endpoints() == {"0": "serving"}
    assert worker.deploy().changed == 0
    # Its port may be shared (SO_REUSEPORT), and a stranger that does so would get half of the calls
    pid = worker.rows()["0"]["pid"]
    with foreign_listener(worker.port, "shared") as stranger:
        refused = worker.run("deploy", worker_env={"OTHER": "1"})
    assert (refused.failure["code"], refused.changed) == ("port_in_use", 0)
    assert f"pid {stranger.pid} " in refused.failure["message"]
    assert f"kill {stranger.pid}" in refused.failure["remedy"]
    assert worker.rows()["0"]["pid"] == pid


def test_blanks_unicode_links_and_secrets_in_the_worker_directory(place: Place) -> None:
    source = place.copy("mein Wörker 工人's $(dir)")
    (source / "worker" / "größe 数据.txt").write_text("inhalt\n")
    (source / "worker" / "link to it").symlink_to("größe 数据.txt")
    (source / "weights").symlink_to("worker", target_is_directory=True)
    shared = place.home / "shared vocabulary.txt"
    shared.write_text("kept beside the worker directory\n")
    (source / "worker" / "vocabulary.txt").symlink_to(shared)
    (source / ".env").write_text("API_KEY=hunter2-secret\n")
    (source / "worker" / ".env.local").write_text("API_KEY=hunter2-secret\n")
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    (source / ".git" / "token").write_text("hunter2-secret\n")
    worker = place.worker(source)
    run = worker.deploy()
    release = pathlib.Path(run.host["instances"][0]["release"])
    assert (release / "worker" / "größe 数据.txt").read_text() == "inhalt\n"
    assert os.readlink(release / "worker" / "link to it") == "größe 数据.txt"
    assert os.readlink(release / "weights") == "worker"
    # The host has nothing that a link out of the directory could lead to: what it means on the controller arrives
    assert not (release / "worker" / "vocabulary.txt").is_symlink()
    assert (release / "worker" / "vocabulary.txt").read_text() == "kept beside the worker directory\n"
    arrived = sorted(path.relative_to(release).as_posix() for path in release.rglob("*"))
    assert not [name for name in arrived if ".git" in name.split("/") or ".env" in name], arrived
    found = subprocess.run(["grep", "-rl", "hunter2-secret", str(place.root)], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, "")
    assert worker.ask()["generation"] == "1"
    assert worker.deploy().changed == 0


@pytest.mark.parametrize("package", ["worker/main.py", "main.py"])
def test_environment_file_and_constraints_come_from_the_worker_directory(place: Place, package: str) -> None:
    """Also in check mode, where the host has none of them yet. A change of one of them is another environment, one that is missing is named."""
    source = place.home / f"described-{package.count('/')}"
    for version in ("1.0", "2.0"):
        write_wheel(source / "wheels", "ew_greeting", version)
    files = {
        package: "",
        ".workerignore": "/wheels/\n",
        "deploy/environment.yml": "dependencies:\n  - ew-lib=1.0\n  - pip:\n    - -r more.txt\n",
        "deploy/more.txt": "ew-greeting\n",
        "limits.txt": "ew-greeting<2\n",
    }
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    options: dict[str, t.Any] = {"worker_environment_file": "deploy/environment.yml", "worker_constraints": ["limits.txt"]}
    worker = place.worker(source, worker_auto_start=False, worker_find_links=[str(source / "wheels")], **options)
    foretold = worker.run("deploy", check=True).ok()
    real = worker.deploy()
    assert (foretold.actions, foretold.stage_actions()) == (real.actions, real.stage_actions())
    (generation,) = worker.state()["generations"]
    environment = pathlib.Path(generation["environment"]["prefix"])
    assert len(list((environment / "conda-meta").glob("ew-lib-1.0-*.json"))) == 1
    assert [path.name for path in environment.glob("lib/python*/site-packages/ew_greeting-*.dist-info")] == ["ew_greeting-1.0.dist-info"]
    if package == "main.py":
        (source / "limits.txt").write_text("ew-greeting<3\n")
        changed = worker.run("deploy", check=True).ok()
        assert "environment" in {what for what, _id, _status in changed.actions}
    else:
        missing = worker.run("deploy", worker_constraints=["gone.txt"])
        assert (missing.failure["code"], missing.changed) == ("file_missing", 0)


def test_a_lock_in_the_worker_directory_decides(place: Place) -> None:
    """The preflight tells what contradicts it; the channels of the inventory, which do not answer, are not asked."""
    source = place.home / "locked"
    source.mkdir()
    (source / "main.py").write_text("")
    (source / "explicit.txt").write_text(explicit(f"file://{local_channel()}", packages("python", "ew-lib"), "sha256"))
    options = {"worker_environment_file": "explicit.txt", "worker_channels": ["http://127.0.0.1:9/channel"]}
    worker = place.worker(source, worker_auto_start=False, **options)
    refused = worker.run("deploy", worker_python_version="3.7")
    assert (refused.failure["code"], refused.changed) == ("invalid_option", 0)
    assert "worker_python_version" in refused.output
    foretold = worker.run("deploy", check=True).ok()
    real = worker.deploy()
    assert (foretold.actions, foretold.stage_actions()) == (real.actions, real.stage_actions())
    (generation,) = worker.state()["generations"]
    environment = pathlib.Path(generation["environment"]["prefix"])
    assert sorted(path.name.rsplit("-", 2)[0] for path in (environment / "conda-meta").glob("*.json")) == ["ew-lib", "python"]
    assert worker.run("deploy", worker_python_version="").ok().changed == 0


class Measured(t.NamedTuple):
    run: Run
    peak_mb: float


PEAK = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("PEAK", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def measured(worker: Worker) -> Measured:
    """A deploy, and the most memory that one of its processes held."""
    run = worker.begin("deploy", prefix=[sys.executable, "-c", PEAK]).end().ok()
    (peak,) = re.findall(r"^PEAK (\d+)$", run.output, re.MULTILINE)
    return Measured(run, int(peak) / 1024)


@pytest.fixture
def half_a_gigabyte(place: Place) -> t.Iterator[pathlib.Path]:
    source = place.copy("large")
    with (source / "worker" / "weights.bin").open("wb") as weights:
        for _each in range(500):
            weights.write(os.urandom(1_000_000))
    yield source
    with contextlib.suppress(FileNotFoundError):
        (source / "worker" / "weights.bin").unlink()


def test_half_a_gigabyte_is_sent_once(place: Place, half_a_gigabyte: pathlib.Path) -> None:
    worker = place.worker(half_a_gigabyte, worker_auto_start=False)
    first, second = measured(worker), measured(worker)
    assert sent(first.run) == [500]
    assert (second.run.changed, sent(second.run)) == (0, [])
    for name, each in (("first", first), ("second", second)):
        stage = next(stage for stage in each.run.host["stages"] if stage["name"] == "release")
        tell(f"500 MB, {name} run: {each.run.seconds:.1f} s in all, release {stage['elapsed']:.1f} s, peak memory {each.peak_mb:.0f} MB")
        assert each.peak_mb < 250


def sent(run: Run) -> list[int]:
    """The size (MB) of each release that was announced as sent."""
    return [int(size) for size in re.findall(r"sends release \w+, (\d+) MB", run.output)]
