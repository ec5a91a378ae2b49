# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tarball that users install: it builds, has what it needs and nothing else, and everything in it is found by name."""

from __future__ import annotations

import json
import pathlib
import tarfile

import pytest
import yaml

from tools.checkout import CHECKOUT
from tools.testing.tree import copy_tree, project_files

from .command import run

pytestmark = pytest.mark.slow

DEVELOPMENT = {".ansible-lint", ".ci", ".gitignore", ".yamllint", "Makefile", "ansible.cfg", "molecule", "pyproject.toml", "requirements", "tests", "tools"}


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The built collection."""
    target = tmp_path_factory.mktemp("built")
    run("ansible-galaxy", "collection", "build", "--output-path", target, cwd=copy_tree())
    (found,) = target.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def installed(tarball: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A collections path with only the collection as its tarball has it."""
    target = tmp_path_factory.mktemp("installed")
    (target / "ansible.cfg").write_text("[defaults]\n", encoding="utf-8")
    run("ansible-galaxy", "collection", "install", tarball, "--collections-path", target, "--offline", cwd=target, env=environ(target))
    assert (target / "ansible_collections" / "ew_ai" / "worker" / "MANIFEST.json").is_file()
    return target


def environ(installed: pathlib.Path) -> dict[str, str]:
    """Variables with which Ansible sees that installation, and neither the checkout nor its settings."""
    return {"ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_CONFIG": str(installed / "ansible.cfg"), "ANSIBLE_LOCALHOST_WARNING": "false"}


def names(*place: str, suffix: str = ".py") -> list[str]:
    """Names of the project's files in a directory, without their suffix."""
    return sorted(name.stem for name in project_files() if name.parts[:-1] == place and name.suffix == suffix and name.stem != "__init__")


def test_tarball_has_what_users_need_and_nothing_else(tarball: pathlib.Path) -> None:
    with tarfile.open(tarball) as archive:
        members = {pathlib.PurePosixPath(each) for each in archive.getnames()}
    top = {each.parts[0] for each in members}
    assert top & DEVELOPMENT == set()
    assert top >= {"CHANGELOG.md", "LICENSE", "LICENSES", "README.md", "README.zh-CN.md", "docs", "examples", "meta", "playbooks", "plugins", "roles"}
    shipped = {name for name in project_files() if name.parts[0] in ("plugins", "roles", "playbooks", "meta")}
    assert shipped - members == set()
    assert tarball.stat().st_size < 3_000_000


def test_licences_are_there() -> None:
    metadata = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))
    assert metadata["dependencies"] == {}
    assert set(metadata["license"]) == {"GPL-3.0-or-later", "BSD-2-Clause"}
    assert (CHECKOUT / "LICENSES" / "BSD-2-Clause.txt").is_file()


def test_every_module_is_found_and_documented(installed: pathlib.Path) -> None:
    modules = names("plugins", "modules")
    assert len(modules) >= 10
    done = run("ansible-doc", "--json", "--type", "module", *(f"ew_ai.worker.{name}" for name in modules), cwd=installed, env=environ(installed))
    found = json.loads(done.stdout)
    assert sorted(found) == [f"ew_ai.worker.{name}" for name in modules]
    for name, text in found.items():
        assert text["doc"]["description"], name
        assert text["examples"], name
        assert text["return"], name
        assert {"check_mode", "diff_mode", "idempotent", "platform"} <= set(text["doc"].get("attributes", {})), name


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert sorted(runtime["action_groups"]["worker"]) == names("plugins", "modules")


def test_every_filter_is_found(installed: pathlib.Path) -> None:
    done = run("ansible-doc", "--json", "--list", "--type", "filter", "ew_ai.worker", cwd=installed, env=environ(installed))
    documented = names("plugins", "filter", suffix=".yml")
    assert documented
    assert sorted(json.loads(done.stdout)) == [f"ew_ai.worker.{name}" for name in documented]


def test_every_role_and_entry_point_is_found(installed: pathlib.Path) -> None:
    done = run("ansible-doc", "--json", "--list", "--type", "role", cwd=installed, env=environ(installed))
    found = json.loads(done.stdout)
    roles = sorted({name.parts[1] for name in project_files() if name.parts[0] == "roles"})
    assert sorted(found) == [f"ew_ai.worker.{role}" for role in roles]
    verbs = {"main", "status", "start", "stop", "restart", "reinstall", "rollback", "uninstall", "logs", "bundle"}
    assert set(found["ew_ai.worker.worker"]["entry_points"]) == verbs


@pytest.mark.parametrize("verb", names("playbooks", suffix=".yml"))
def test_every_playbook_is_found(verb: str, installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("workers:\n  hosts:\n    a-host:\n", encoding="utf-8")
    done = run("ansible-playbook", f"ew_ai.worker.{verb}", "-i", inventory, "--list-tasks", "--list-hosts", cwd=tmp_path, env=environ(installed))
    assert "a-host" in done.stdout
    assert "tasks:" in done.stdout
    run("ansible-playbook", f"ew_ai.worker.{verb}", "-i", inventory, "--syntax-check", cwd=tmp_path, env=environ(installed))


def test_galaxy_would_import_it(tarball: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Galaxy's own importer, without the linters: they have tests of their own."""
    settings = tmp_path / "importer.cfg"
    settings.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST = False\nRUN_ANSIBLE_LINT = False\nRUN_FLAKE8 = False\nLOG_LEVEL_MAIN = INFO\n", encoding="utf-8")
    variables = {"GALAXY_IMPORTER_CONFIG": str(settings), "HOME": str(tmp_path)}
    done = run("python", "-m", "galaxy_importer.main", tarball, cwd=tmp_path, env=variables)
    output = done.stdout + done.stderr
    complaints = [line for line in output.splitlines() if line.startswith(("ERROR", "WARNING"))]
    assert not complaints, "\n".join(complaints)
    assert "Importer processing completed successfully" in output
