# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and changelog."""

from __future__ import annotations

import re
import urllib.parse

import pytest
import yaml

from tools.checkout import CHECKOUT
from tools.testing.tree import copy_tree, project_files

from .command import call, run


@pytest.mark.slow
def test_antsibull_docs_finds_nothing() -> None:
    """Every plugin and role, links and references to options included."""
    checks = ("--plugin-docs", "--skip-rstcheck", "--validate-collection-refs", "all", "--disallow-unknown-collection-refs")
    run("antsibull-docs", "lint-collection-docs", *checks, ".", cwd=copy_tree())


def test_antsibull_changelog_finds_nothing() -> None:
    run("antsibull-changelog", "lint", cwd=copy_tree())


def test_fragments_are_there_or_released() -> None:
    """A version without a release has a fragment that will be its entry."""
    version = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    released = CHECKOUT / "changelogs" / "changelog.yaml"
    releases = yaml.safe_load(released.read_text(encoding="utf-8"))["releases"] if released.is_file() else {}
    assert version in releases or list((CHECKOUT / "changelogs" / "fragments").glob("*.yml"))


def test_changelog_has_every_module() -> None:
    """`make changelog` reads them from the modules themselves; those of the next release are told by a fragment."""
    releases = yaml.safe_load((CHECKOUT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    told = {module["name"] for release in releases.values() for module in release.get("modules", [])}
    modules = {name.stem for name in project_files() if name.parts[:2] == ("plugins", "modules") and name.suffix == ".py"}
    fragments = "\n".join(path.read_text(encoding="utf-8") for path in (CHECKOUT / "changelogs" / "fragments").glob("*.yml"))
    assert told <= modules
    assert {name for name in modules - told if not re.search(rf"\b{name}\b", fragments)} == set()
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8").replace("\\", "")
    assert [module for module in told if f"ew_ai.worker.{module} " not in text] == []


def anchors(text: str) -> set[str]:
    """The fragments that a Markdown document's headings make."""
    titles = re.findall(r"^#{1,6}\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for name in project_files():
        if name.suffix != ".md":
            continue
        text = (CHECKOUT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _hash, fragment = urllib.parse.unquote(target).partition("#")
            file = (CHECKOUT / name).parent / path if path else CHECKOUT / name
            if not file.exists():
                broken.append(f"{name}: {target}")
            elif fragment and file.suffix == ".md" and fragment not in anchors(file.read_text(encoding="utf-8")):
                broken.append(f"{name}: {target} (no such heading)")
    assert not broken, "\n".join(broken)


def test_help_tells_every_target_of_the_readme() -> None:
    """And each target that it tells is there."""
    listed = set(re.findall(r"^  ([a-z]+)\s", run("make", "help").stdout, re.MULTILINE))
    assert listed >= {"help", "deploy", "undeploy", "status", "test", "lint", "unit", "integration", "molecule", "clean"}
    for target in listed:
        assert call("make", "--dry-run", target).returncode == 0, target
    named = set(re.findall(r"`make ([a-z]+)", (CHECKOUT / "README.md").read_text(encoding="utf-8")))
    assert named
    assert named <= listed
