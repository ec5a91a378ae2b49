# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What real conda, micromamba and py-rattler did wrong, and that none of it gets through, by backend: what ``create`` destroys, and what answers are worth."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pathlib
import tempfile

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import cli_answers
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.locked import LockedPackage
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from tests.integration.local_packages import served, write_conda_package
from tests.recorded import BACKENDS, ROWS, SMALL, TOOLS, WITH_PYTHON, Lab, content_of, left_by
from tests.shared import digest

each_backend = pytest.mark.parametrize("tool", BACKENDS)
each_program = pytest.mark.parametrize("tool", TOOLS)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an account that may not remove a file")
ALREADY_THERE = {"conda": "create already existing, no -y, json", "micromamba": "create already existing, no -y, json", "rattler": "fewer specs: prunes"}
OVER_A_FILE = {
    "conda": "dir with a file, no conda-meta: create -y",
    "micromamba": "dir with a file, no conda-meta: create -y",
    "rattler": "over an unmanaged file",
}


# ``create`` destroys.


@each_backend
@pytest.mark.parametrize("check", [True, False], ids=["check", "run"])
def test_create_never_touches_an_existing_prefix(lab: Lab, tool: str, check: bool) -> None:
    """What was there is gone after the recorded call, whether or not it had ``-y``: so a program is started for an empty directory alone."""
    assert ROWS[tool, ALREADY_THERE[tool]]["rc"] == 0
    assert not [name for name in ROWS[tool, ALREADY_THERE[tool]]["after"]["conda_meta"] if name.startswith("python-")]
    prefix = left_by(tool, WITH_PYTHON[tool], lab.top / "theirs")
    before = digest(prefix, of_directories=True)
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, ALREADY_THERE[tool], check=check, place=lab.place(prefix))
    assert failed.value.code == "foreign_prefix"
    assert digest(prefix, of_directories=True) == before
    assert lab.calls() == []


@each_backend
def test_create_is_asked_of_an_empty_directory_only(lab: Lab, tool: str) -> None:
    """Also where the environment changes: the one that was there stays as it is."""
    found = f"ls -A {lab.top}/root/envs/w-*-[12] | grep -v : >>{lab.top}/found"
    first = pathlib.Path(lab.present(tool, SMALL[tool], before=found)["prefix"])
    before = digest(first, of_directories=True)
    second = lab.present(tool, WITH_PYTHON[tool])["prefix"]
    assert second != str(first)
    assert digest(first, of_directories=True) == before
    assert (lab.top / "found").read_text().strip() == ""


@each_backend
def test_check_mode_starts_no_program(lab: Lab, tool: str) -> None:
    """``--json`` alone implied yes, and ``CONDA_DRY_RUN`` was ignored: a look must not be left to the tool."""
    if tool != "rattler":
        assert "--dry-run" not in ROWS[tool, "CONDA_DRY_RUN=1 create json"]["argv"]
        assert ROWS[tool, "CONDA_DRY_RUN=1 create json"]["after"]["exists"]
    planned = lab.present(tool, SMALL[tool], check=True)
    assert (planned["created"], lab.calls(), lab.envs()) == (True, [], [])


@each_backend
def test_a_directory_that_is_no_environment_is_left_alone(lab: Lab, tool: str) -> None:
    """conda installed into it, and removed the user's file with the environment later; py-rattler overwrites; micromamba refused."""
    assert (ROWS[tool, OVER_A_FILE[tool]]["rc"] == 0) is (tool != "micromamba")
    assert ROWS["conda", "dir with a file, no conda-meta: env remove"]["after"] == {"exists": False}
    theirs = lab.top / "theirs"
    (theirs / "share").mkdir(parents=True)
    (theirs / "share/ew-tzdata").write_text("three years of work")
    for run in (lambda place: lab.present(tool, OVER_A_FILE[tool], place=place), lab.absent):
        with pytest.raises(WorkerError) as failed:
            run(lab.place(theirs))
        assert failed.value.code == "foreign_prefix"
    assert (theirs / "share/ew-tzdata").read_text() == "three years of work"
    assert lab.calls() == []


@as_root
@each_backend
def test_a_removal_that_is_refused_is_an_error_and_asks_no_tool(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """conda said nothing on standard output, ended with 0, and the environment was still there."""
    refused = ROWS["conda", "remove env root-owned as uid 65534 json"]
    assert (refused["rc"], refused["stdout"], refused["after"]["exists"]) == (0, "", True)
    # Not pytest's own directory, which is closed to others already.
    with tempfile.TemporaryDirectory(prefix="ew-recorded-") as name:
        os.chmod(name, 0o755)
        lab = Lab(pathlib.Path(name), monkeypatch)
        prefix = pathlib.Path(lab.present(tool, SMALL[tool])["prefix"])
        asked = len(lab.calls())
        os.chmod(lab.top / "root" / "envs", 0o777)
        (lab.top / "root" / "locks").chmod(0o777)
        for lock in (lab.top / "root" / "locks").iterdir():
            lock.chmod(0o666)
        (lab.top / "root" / "envs" / "w").unlink()
        os.seteuid(65534)
        try:
            with pytest.raises((WorkerError, OSError)):
                lab.absent()
        finally:
            os.seteuid(0)
        assert list((prefix / "conda-meta").glob("ew-z-*.json"))
        assert len(lab.calls()) == asked
        assert lab.absent() == {}
        assert not prefix.exists()


# Neither status nor answer can be trusted alone.

FAILED_QUIETLY = {
    "conda": "repeat 0: 2 concurrent creates, different prefixes, shared cold pkgs cache #0",
    "micromamba": "SIGINT (group) during post-link of create json",
    "rattler": "uppercase EW-Z",
}


@each_backend
def test_success_without_an_environment_is_a_failure(lab: Lab, tool: str) -> None:
    """conda with no answer and micromamba with "success": both with the status 0 and no package. The library did not do so, and is not believed either."""
    row = ROWS[tool, FAILED_QUIETLY[tool]]
    assert (row["rc"], cli_answers.answer_in(row["stdout"]).get("success")) == (0, True if tool == "micromamba" else None)
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, FAILED_QUIETLY[tool], after=f"rm {lab.top}/root/envs/w-*-1/conda-meta/ew-z-*" if tool == "rattler" else "")
    assert (failed.value.code, "lacks ew-" in failed.value.message) == ("create_failed", True), failed.value.message
    assert lab.envs() == []


@each_backend
def test_an_answer_of_nothing_at_all_is_judged_by_the_prefix(lab: Lab, tool: str) -> None:
    """conda answers an explicit list with an empty standard output and the status 0, whether it did it or not."""
    assert (ROWS["conda", "explicit file good md5"]["rc"], ROWS["conda", "explicit file good md5"]["stdout"]) == (0, "")
    path = lab.top / "ew-z-1.3.1-h0_0.conda"
    path.write_bytes(b"x")
    locked = (LockedPackage(f"file://{path}", sha256=hashlib.sha256(b"x").hexdigest()),)
    label = SMALL[tool] if tool == "rattler" else "explicit file good md5"
    assert [package["name"] for package in lab.create(tool, label, specs=(), channels=(), locked=locked)] == ["ew-z"]
    lab.present(tool, SMALL[tool])
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, WITH_PYTHON[tool], before="exit 0")
    assert failed.value.code == "create_failed"


@each_backend
def test_creates_over_one_package_cache_come_one_after_the_other(lab: Lab, tool: str) -> None:
    """Two at once over one cold cache ended in "corrupt tarball"."""
    alone = f"mkdir {lab.top}/busy || echo at once >>{lab.top}/together\nsleep 0.3"
    places = [lab.place(lab.top / name) for name in ("one", "other")]
    wanted = [lab.wanted(tool, SMALL[tool], place=place, before=alone, after=f"rmdir {lab.top}/busy") for place in places]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lab.run, wanted))
    assert [result["created"] for result in results] == [True, True]
    assert len(lab.creates()) == 2
    assert not (lab.top / "together").exists()


@each_backend
def test_runs_for_one_prefix_come_one_after_the_other(lab: Lab, tool: str) -> None:
    """The second one finds what the first one made."""
    wanted = lab.wanted(tool, SMALL[tool], before="sleep 0.3")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lab.run, [wanted, wanted]))
    assert len({result["prefix"] for result in results}) == 1
    assert len(lab.creates()) == 1


@each_backend
@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_locked_file_with_another_hash_is_refused(lab: Lab, tool: str, kind: str) -> None:
    """conda takes one from a directory as it is, and rattler too: both are spared it by us."""
    assert ROWS["conda", "explicit file wrong md5"]["rc"] == 0
    path = lab.top / "ew-z-1.3.1-h0_0.conda"
    path.write_bytes(b"x")
    locked = LockedPackage(f"file://{path}", **{kind: "0" * (64 if kind == "sha256" else 32)})
    with pytest.raises(WorkerError) as failed:
        lab.create_locked(tool, SMALL[tool] if tool == "rattler" else "explicit file wrong md5", locked)
    assert failed.value.code == "hash_mismatch"
    assert lab.creates() == []


@each_backend
def test_a_download_with_another_hash_is_refused(lab: Lab, tool: str, tmp_path: pathlib.Path) -> None:
    """Each of them looks at what it downloads; the library is a real one here."""
    write_conda_package(tmp_path, "ew-z", {}, [])
    with served(tmp_path) as place:
        locked = LockedPackage(f"http://{place}/noarch/ew-z-1.0-0.tar.bz2", sha256="0" * 64)
        with pytest.raises(WorkerError) as failed:
            lab.create_locked(tool, SMALL[tool] if tool == "rattler" else "explicit http wrong sha256", locked)
    assert failed.value.code == "hash_mismatch", failed.value.message


NOISY = [
    ("conda", "noisy post-link json", {"ew-noisy"}),
    ("conda", "yml: unknown keys json", {"ew-z"}),
    ("conda", "yml: pip section without pip dependency json", {"ew-ssl", "ew-tzdata", "ew-z", "pip", "python", "setuptools", "wheel"}),
    ("micromamba", "noisy post-link json", {"ew-noisy"}),
    ("micromamba", "yml: unknown keys json", {"ew-z"}),
    ("micromamba", "yml: pip section without pip dependency json", {"ew-ssl", "ew-tzdata", "ew-z", "pip", "python", "setuptools", "wheel"}),
]


@pytest.mark.parametrize(("tool", "label", "linked"), NOISY)
def test_text_before_the_answer_does_not_hide_it(tool: str, label: str, linked: set[str]) -> None:
    assert cli_answers.linked_in(cli_answers.answer_in(ROWS[tool, label]["stdout"])) == linked


@each_backend
def test_text_around_the_answer_does_not_fail_a_build(lab: Lab, tool: str) -> None:
    noise = "echo from a script; echo '{ half'; echo '{\"fetch\": 1}'"
    assert lab.present(tool, SMALL[tool], before=noise, after=noise)["created"] is True


@each_program
def test_a_usage_error_is_a_failure_in_the_tools_words(lab: Lab, tool: str) -> None:
    """conda ends with 2 and no JSON, micromamba with 109. The library has no command line."""
    row = ROWS[tool, "unknown option"]
    assert row["rc"] == {"conda": 2, "micromamba": 109}[tool]
    error = cli_answers.failure(["x", "create"], row["rc"], row["stdout"], row["stderr"], lab.request(tool, SMALL[tool]), "/cache")
    assert (error.code, error.details["rc"]) == ("create_failed", row["rc"])
    assert "--frobnicate" in error.message


@each_backend
def test_a_malformed_spec_is_told_by_the_tools_words(lab: Lab, tool: str) -> None:
    """conda wrote a traceback and no JSON."""
    label = "spec python=>3.11" if tool == "rattler" else "create spec 'python==3.11=*=x' json"
    with pytest.raises(WorkerError) as failed:
        lab.create(tool, label)
    assert (failed.value.code, "Traceback" in failed.value.message) == ("invalid_option", False)
    assert "3.11" in failed.value.message


@each_backend
def test_a_failing_post_link_script_is_an_error_and_leaves_nothing(lab: Lab, tool: str) -> None:
    """micromamba and py-rattler ended with 0 and recorded the package; conda rolled back. Here we run it, for each of them."""
    label = "failing post-link" if tool == "rattler" else "failing post-link create json"
    assert (ROWS[tool, label]["rc"] == 0) is (tool != "conda")
    directory = lab.path(content_of(tool, SMALL[tool])) / "bin"
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, SMALL[tool], after=f"mkdir {directory}; echo exit 3 >{directory}/.ew-z-post-link.sh")
    assert failed.value.code == "build_failed"
    assert "ew-z" in failed.value.remedy
    assert lab.envs() == []


# (backend, label, code): micromamba says "success": true in both of its rows.
WITH_STATUS = [
    ("conda", "yml: pip package missing json", "create_failed"),
    ("conda", "create read-only parent (uid 65534) json", "not_writable"),
    ("micromamba", "yml: pip package missing json", "create_failed"),
    ("micromamba", "create read-only parent (uid 65534) json", "not_writable"),
    ("rattler", "read-only parent uid 65534", "not_writable"),
]


@pytest.mark.parametrize(("tool", "label", "code"), WITH_STATUS)
def test_success_in_the_answer_with_status_1_is_a_failure(lab: Lab, tool: str, label: str, code: str) -> None:
    row = ROWS[tool, label]
    assert row["rc"] == 1
    if tool == "micromamba":
        assert cli_answers.answer_in(row["stdout"])["success"] is True
    if label.startswith("yml"):
        error = cli_answers.failure(["x", "create"], 1, row["stdout"], row["stderr"], lab.request(tool, SMALL[tool]), "/cache")
    else:
        with pytest.raises(WorkerError) as failed:
            lab.create(tool, label)
        error = failed.value
    assert (error.code, bool(error.remedy)) == (code, True)


@each_backend
def test_an_interrupted_create_is_a_failure_whatever_it_says(lab: Lab, tool: str) -> None:
    """micromamba ended with 0 and "success" over an empty environment."""
    label = "SIGINT in post-link" if tool == "rattler" else "SIGINT (group) during post-link of create json"
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, label)
    assert failed.value.code == "create_failed"
    assert not failed.value.message.endswith(": .")
    assert lab.envs() == []


@each_backend
def test_errors_are_told_wherever_they_stand(lab: Lab, tool: str) -> None:
    """micromamba has them in its log alone, conda in "message" and "errors", and the library raises them."""
    label = "unsatisfiable" if tool == "rattler" else "create unsatisfiable json"
    if tool == "micromamba":
        assert not {"errors", "error", "message"} & cli_answers.answer_in(ROWS[tool, label]["stdout"]).keys()
    with pytest.raises(WorkerError, match="ew-lib") as failed:
        lab.create(tool, label)
    assert failed.value.code == "unsatisfiable"
    assert not {"{", "}"} & set(failed.value.message), "the answer as it is"
