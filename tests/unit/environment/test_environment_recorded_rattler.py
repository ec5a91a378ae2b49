# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is particular to py-rattler, and that none of it gets through: by its recorded runs, and with the library itself over a tiny channel."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import rattler_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.build import Means
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.content import Content
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.indexes import Indexes
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.manage import Wanted
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.stream import Stream
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from tests.integration.local_packages import index_channel, write_conda_package
from tests.recorded import ROWS, SMALL, Lab
from tests.shared import digest

TELLS = """import atexit
atexit.register(os.write, 2, b"shuts down")


"""
# In the place of the child's own.
PRINTS = """def make_client(library):
    print('{\"packages\": []}', flush=True)
    return real_client(library)


"""


@pytest.fixture
def channel(tmp_path: pathlib.Path) -> pathlib.Path:
    """``plain`` and ``other``, and ``scripted``, which has a link script."""
    channel = tmp_path / "channel"
    for name in ("plain", "other"):
        write_conda_package(channel, name, {f"share/{name}": "text\n"}, [f"share/{name}"])
    script = 'mkdir -p "$PREFIX/etc"; echo ran >>"$PREFIX/etc/ran"\n'
    write_conda_package(channel, "scripted", {"bin/.scripted-post-link.sh": script}, ["bin/.scripted-post-link.sh"])
    return index_channel(channel)


def wanted(lab: Lab, channel: pathlib.Path, *packages: str) -> Wanted:
    """An environment that the library itself makes."""
    content = Content(None, packages, (f"file://{channel}",), (), (), Requirements("", ()), (), "auto", "linux-64")
    return Wanted(lab.place(), content, Means("rattler", Indexes(), None, False, 60.0, 60.0), False, True)


@pytest.mark.parametrize("signal", ["SEGV", "ABRT"])
def test_a_crash_after_the_answer_is_no_failure(lab: Lab, signal: str) -> None:
    """About one in five short runs ended so, after all the work was done."""
    assert ROWS["rattler", "noisy post-link"]["rc"] == -11
    assert lab.present("rattler", "noisy post-link", after=f"kill -{signal} $$")["created"] is True


def test_a_crash_without_an_answer_is_a_failure(lab: Lab) -> None:
    with pytest.raises(WorkerError, match="without an answer") as failed:
        lab.present("rattler", SMALL["rattler"], before="kill -SEGV $$")
    assert failed.value.code == "create_failed"
    assert lab.envs() == []


@pytest.fixture
def child(lab: Lab) -> t.Callable[[str, str], list[Stream]]:
    """Changes the text of the library's child, and gives a list of the runs of it that ended."""

    def change(before: str, after: str) -> list[Stream]:
        ended: list[Stream] = []
        real = rattler_backend.stream

        def changed(argv: t.Sequence[str], *arguments: t.Any) -> Stream:
            assert before in argv[-1]
            ended.append(real([*argv[:-1], argv[-1].replace(before, after)], *arguments))
            return ended[-1]

        lab.monkeypatch.setattr(rattler_backend, "stream", changed)
        return ended

    return change


def test_the_librarys_process_leaves_before_it_can_crash(lab: Lab, channel: pathlib.Path, child: t.Callable[[str, str], list[Stream]]) -> None:
    """It crashes while the interpreter shuts down: that never begins."""
    ended = child("class HashMismatch(", f"{TELLS}class HashMismatch(")
    lab.run(wanted(lab, channel, "plain"))
    assert [(each.rc, "shuts down" in each.stderr) for each in ended] == [(0, False)]


def test_what_the_library_prints_is_no_answer(lab: Lab, channel: pathlib.Path, child: t.Callable[[str, str], list[Stream]]) -> None:
    """The child's own stream carries its answers alone: whatever else is printed in it goes elsewhere."""
    ended = child("def make_client(", f"{PRINTS}def real_client(")
    assert [each["name"] for each in lab.run(wanted(lab, channel, "plain"))["packages"]["conda"]] == ["plain"]
    (run,) = ended
    assert ('{"packages": []}' in run.lines, '{"packages": []}' in run.stderr) == (False, True)


def test_every_part_of_a_package_is_text(lab: Lab, channel: pathlib.Path) -> None:
    """The library's build is an object of its own, which no JSON can hold."""
    (package,) = lab.run(wanted(lab, channel, "plain"))["packages"]["conda"]
    assert {type(value) for value in package.values()} == {str}
    assert (package["build"], json.loads(json.dumps(package))) == ("0", package)


def test_link_scripts_are_run_by_us_and_once(lab: Lab, channel: pathlib.Path) -> None:
    """The library leaves them out unless it is told to run them, and takes no notice of one that fails."""
    before: list[bool] = []
    real = rattler_backend.RattlerBackend.create

    def watched(backend: t.Any, request: t.Any, progress: t.Any) -> t.Any:
        done = real(backend, request, progress)
        before.append(pathlib.Path(request.prefix, "etc/ran").exists())
        return done

    lab.monkeypatch.setattr(rattler_backend.RattlerBackend, "create", watched)
    built = lab.run(wanted(lab, channel, "scripted"))
    assert before == [False]
    assert (pathlib.Path(built["prefix"]) / "etc/ran").read_text() == "ran\n"


def test_fewer_specs_take_nothing_away(lab: Lab, channel: pathlib.Path) -> None:
    """The library removes from a prefix whatever is not asked for any more: it gets an empty one each time."""
    assert json.loads(ROWS["rattler", "fewer specs: prunes"]["stdout"])["unlink"] != []
    first = pathlib.Path(lab.run(wanted(lab, channel, "plain", "other"))["prefix"])
    before = digest(first, of_directories=True)
    second = lab.run(wanted(lab, channel, "plain"))
    assert [each["name"] for each in second["packages"]["conda"]] == ["plain"]
    assert digest(first, of_directories=True) == before


def test_files_that_it_does_not_know_are_not_overwritten(lab: Lab, channel: pathlib.Path) -> None:
    """It writes over them without a word."""
    assert ROWS["rattler", "over an unmanaged file"]["rc"] == 0
    theirs = lab.path(wanted(lab, channel, "plain").content) / "share/plain"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("three years of work")
    with pytest.raises(WorkerError) as failed:
        lab.run(wanted(lab, channel, "plain"))
    assert failed.value.code == "foreign_prefix"
    assert theirs.read_text() == "three years of work"


def test_a_second_run_completes_nothing(lab: Lab, channel: pathlib.Path) -> None:
    """The library itself goes on where it was interrupted, with records of packages whose scripts never ran: a build begins anew."""
    built = lab.run(wanted(lab, channel, "scripted"))
    prefix = pathlib.Path(built["prefix"])
    (prefix / "etc/ran").unlink()
    (prefix / "conda-meta/ew-worker-record").unlink()
    (prefix.parent / f".{prefix.name}.building").write_text("{}")
    assert lab.run(wanted(lab, channel, "scripted"))["prefix"] == str(prefix)
    assert (prefix / "etc/ran").read_text() == "ran\n"


def test_a_malformed_spec_is_named_by_the_library(lab: Lab, channel: pathlib.Path) -> None:
    with pytest.raises(WorkerError, match="=>3") as failed:
        lab.run(wanted(lab, channel, "plain=>3"))
    assert failed.value.code == "invalid_option"
