# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bundle is made from a real channel and real wheels, and an environment comes out of it alone."""

from __future__ import annotations

import json
import pathlib
import shutil
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.bundle import archive
from ansible_collections.ew_ai.worker.plugins.module_utils.host.bundle_fit import glibc_here
from tests.figures import tell
from tests.integration.local_packages import local_channel, python_version, write_source_archive, write_source_package, write_wheel
from tests.integration.lock_files import explicit, packages
from tests.integration.module_driver import run_module

# The host's own indexes have no say in these tests.
ENVIRON = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "1"}


class Case(t.NamedTuple):
    directory: pathlib.Path
    links: pathlib.Path

    def make(self, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """``worker_bundle_archive`` with a toolchain of one wheel, unless told otherwise."""
        given = {
            "dest": str(self.directory / "bundle.tar"),
            "root": str(self.directory / "controller"),
            "glibc": ".".join(glibc_here().split(".")[:2]),
            "host_pythons": ["3.9", "3.13"],
            "toolchain_requirements": (self.directory / "toolchain.txt").read_text(),
            "python_version": python_version(),
            "channels": [str(local_channel())],
            "find_links": [str(self.links)],
            "pip": ["alpha"],
        }
        return run_module("worker_bundle_archive", {**given, **options}, check=check, environ=ENVIRON)


@pytest.fixture
def case(tmp_path: pathlib.Path) -> Case:
    links = tmp_path / "links"
    write_wheel(links, "alpha", "1.0", ["beta"])
    write_wheel(links, "beta", "2.0")
    tool = write_wheel(links, "tool", "3.0")
    digest = archive.table_of(str(links))[tool.name][0]
    (tmp_path / "toolchain.txt").write_text(f"tool==3.0 --hash=sha256:{digest}\n")
    return Case(tmp_path, links)


def test_a_bundle_is_made_once_and_an_environment_comes_out_of_it(case: Case) -> None:
    dest = case.directory / "bundle.tar"
    told = case.make(check=True)
    assert (told["changed"], told["actions"], dest.exists()) == (True, [{"what": "bundle", "id": str(dest), "status": "created"}], False)
    made = case.make()
    assert (made.get("msg"), made["actions"]) == (None, told["actions"])
    tell(f"a bundle of Python and two wheels: {made['elapsed']:.1f} s")
    found, first = archive.examine(str(dest)), dest.read_bytes()
    assert sorted(path for path in found.files if "channel" not in path) == [
        "toolchain/tool-3.0-py3-none-any.whl",
        "wheels/alpha-1.0-py3-none-any.whl",
        "wheels/beta-2.0-py3-none-any.whl",
    ]
    again = case.make()
    assert (again["changed"], dest.read_bytes() == first, again["bundle"]["id"]) == (False, True, found.id)
    assert case.make(check=True)["changed"] is False
    unpacked = case.directory / "unpacked"
    archive.examine(str(dest), str(unpacked))
    options = {"root": str(case.directory / "host"), "name": "offline", "python_version": python_version(), "channels": ["conda-forge"], "pip": ["alpha"]}
    built = run_module(
        "conda_env", {**options, "mirror": str(unpacked / "channel"), "find_links": [str(unpacked / "wheels")], "offline": True}, environ=ENVIRON
    )
    assert built.get("msg") is None
    assert {"alpha", "beta"} <= {each["name"] for each in built["packages"]["pip"]}
    # Where packages came from does not count: a deploy over the network wants the same environment.
    assert run_module("conda_env", options, check=True)["changed"] is False
    dest.write_bytes(first[:-20000])
    assert [each["status"] for each in case.make()["actions"]] == ["changed"]
    assert dest.read_bytes() == first


def test_a_lock_is_kept_as_it_is(case: Case) -> None:
    """Its packages come from the bundle, whatever addresses it has for them, and its hashes still decide."""
    there = packages("python", "ew-lib")
    lock = case.directory / "explicit.txt"
    lock.write_text(explicit(local_channel().as_uri(), there, "sha256"))
    options = {"file": str(lock), "python_version": ""}
    made = case.make(**options)
    assert made.get("msg") is None
    unpacked = case.directory / "unpacked"
    found = archive.examine(str(case.directory / "bundle.tar"), str(unpacked))
    assert {path.rpartition("/")[2] for path in found.files if "/" in path and path.startswith("channel/") and "repodata" not in path} == {
        path.name for path in there
    }
    host = {"root": str(case.directory / "host"), "name": "locked", "pip": ["alpha"], "find_links": [str(unpacked / "wheels")], "offline": True}
    for wrong, code in (("python", "hash_mismatch"), ("", None)):
        lock.write_text(explicit("https://channel.invalid/c", there, "sha256", wrong))
        built = run_module("conda_env", {**host, "file": str(lock), "mirror": str(unpacked / "channel")}, environ=ENVIRON)
        assert (built.get("code"), built["changed"]) == (code, code is None)
    assert {"alpha", "beta"} <= {each["name"] for each in built["packages"]["pip"]}


@pytest.mark.parametrize("packed", [False, True], ids=["directory", "archive"])
def test_a_host_can_build_a_local_package_from_the_bundle_alone(case: Case, packed: bool) -> None:
    """With what it needs to be built and to run, each as its pyproject.toml says."""
    for name in ("setuptools", "wheel", "ew_backend_needs", "ew_runs_with"):
        write_wheel(case.links, name, "1.0")
    tree = write_source_package(case.directory / "tree", "ew_local")
    project = tree / "pyproject.toml"
    text = (
        project.read_text()
        .replace("requires = []", 'requires = ["ew-backend-needs"]')
        .replace("[build-system]", 'dependencies = ["ew-runs-with"]\n[build-system]')
    )
    project.write_text(text)
    (tree / "backend.py").write_text("import ew_backend_needs\n" + (tree / "backend.py").read_text())
    local = tree
    if packed:
        local = pathlib.Path(shutil.make_archive(str(case.directory / "ew_local-1.0"), "gztar", case.directory, "tree"))
    (case.directory / "requirements.txt").write_text(f"alpha\n./{local.name}\n")
    options = {"pip": [], "requirements": [str(case.directory / "requirements.txt")]}
    made = case.make(**options)
    assert (made.get("msg"), made.get("warnings", [])) == (None, [])
    unpacked = case.directory / "unpacked"
    found = archive.examine(str(case.directory / "bundle.tar"), str(unpacked))
    wheels = {path.rpartition("/")[2].split("-")[0] for path in found.files if path.startswith("wheels/")}
    assert wheels == {"alpha", "beta", "setuptools", "wheel", "ew_backend_needs", "ew_runs_with"}
    host = {"root": str(case.directory / "host"), "name": "offline", "python_version": python_version(), **options, "offline": True}
    built = run_module("conda_env", {**host, "mirror": str(unpacked / "channel"), "find_links": [str(unpacked / "wheels")]}, environ=ENVIRON)
    assert built.get("msg") is None
    assert {"alpha", "ew-local", "ew-runs-with"} <= {each["name"] for each in built["packages"]["pip"]}


def test_what_local_packages_need_of_each_other_is_looked_for_on_no_index(case: Case) -> None:
    for name in ("setuptools", "wheel"):
        write_wheel(case.links, name, "1.0")
    for name in ("ew_common", "ew_service"):
        write_source_package(case.directory / name, name)
    project = case.directory / "ew_service" / "pyproject.toml"
    project.write_text(project.read_text().replace("[build-system]", 'dependencies = ["Ew.Common>=1"]\n[build-system]'))
    (case.directory / "requirements.txt").write_text("./ew_service\n./ew_common\n")
    made = case.make(pip=[], requirements=[str(case.directory / "requirements.txt")])
    assert (made.get("msg"), made.get("warnings", [])) == (None, [])


def test_a_local_package_that_does_not_say_what_it_needs_is_told(case: Case) -> None:
    for name in ("setuptools", "wheel"):
        write_wheel(case.links, name, "1.0")
    (case.directory / "tree").mkdir()
    (case.directory / "tree/setup.py").write_text("from setuptools import setup\nsetup(name='ew-old')\n")
    (case.directory / "requirements.txt").write_text("./tree\n")
    made = case.make(pip=[], requirements=[str(case.directory / "requirements.txt")])
    assert made.get("msg") is None
    assert "./tree" in json.dumps(made["warnings"])


def test_requirements_without_a_wheel_are_named(case: Case) -> None:
    write_source_archive(case.links, "gamma")
    refused = case.make(pip=["alpha", "gamma"])
    assert (refused["failed"], refused["code"], "gamma" in refused["msg"]) == (True, "no_wheel", True)
    repository = case.make(pip=["delta @ git+https://git.example.com/delta@v1"])
    assert (repository["code"], "delta" in repository["msg"]) == ("no_wheel", True)
    assert not (case.directory / "bundle.tar").exists()
    assert [path.name for path in case.directory.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"dest": "/nowhere/at/all/b.tar"}, "dest"),
        ({"dest": "/tmp"}, "dest"),
        ({"glibc": "three"}, "glibc"),
        ({"host_pythons": ["4"]}, "host_pythons"),
        ({"toolchain_requirements": "tool"}, "requirements"),
    ],
)
def test_bad_options_are_named(case: Case, options: dict[str, t.Any], option: str) -> None:
    refused = case.make(**options)
    assert (refused["code"], option in json.dumps(refused["msg"])) == ("invalid_option", True)
    assert not (case.directory / "controller").exists()
