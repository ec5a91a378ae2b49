# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prefixes of any tool, whole and broken: shapes that real runs of conda, micromamba and rattler left, made anew from what was recorded of them."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment.foreign import what_is
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inventory import take_inventory
from ansible_collections.ew_ai.worker.plugins.modules.conda_env_info import work
from tools.checkout import CHECKOUT

Row = dict[str, t.Any]
# top: names in the prefix, or "file"; conda_meta: those in there.
SHAPES: list[Row] = json.loads((CHECKOUT / "tests/data/prefixes/shapes.json").read_text())
BASE = ["ew-ssl", "ew-tzdata", "ew-z", "pip", "python", "setuptools", "wheel"]
TWO = ["ew-tzdata", "ew-z"]
NO_META = ["{top}: has no conda-meta, so it is no environment"]
NO_RECORD = "conda-meta: has no record of any package"
NO_HISTORY = "history: is missing, so conda takes this for no environment"
CONDA_KILLED = ".condatmp: was left by a conda that was killed"
LOCKED = "conda-meta.lock: is the lock of a micromamba that works now, or was killed"
BAD_JSON = "ew-z-1.3.1-h0_0.json: is no valid JSON: it is empty, truncated or something else"
GONE = "ew-z-1.3.1-h0_0.json: names 1 files, of which 1 are gone, first lib/ew-z"
REMOVED = "was left by a removal that was killed"
# (tool of the row, label): (tool that is told, packages, what is broken)
EXPECTED: dict[tuple[str, str], tuple[t.Optional[str], list[str], list[str]]] = {
    ("conda", "create by name success json"): ("conda", BASE, []),
    ("conda", "create no specs (empty env) json"): ("conda", [], [NO_RECORD]),
    ("conda", "create prefix is a file json"): (None, [], NO_META),
    ("conda", "SIGKILL (group) during post-link of create json"): ("conda", [], [CONDA_KILLED, NO_HISTORY, NO_RECORD]),
    ("conda", "SIGKILL during env remove"): (
        "conda",
        [],
        [f"{name}.c~: {REMOVED}" for name in ("ew-big-1.0-0.json", "history", "setuptools-80.9.0-pyh1_0.json", "wheel-0.45.1-pyh1_0.json")] + [NO_RECORD],
    ),
    ("conda", "concurrent create, same prefix, warm cache #0"): (None, [], NO_META),
    ("conda", "dir with a file, no conda-meta: list"): (None, [], NO_META),
    ("conda", "dir with a file, no conda-meta: create -y"): ("conda", ["ew-lib"], []),
    ("conda", "empty conda-meta, no history: list"): (None, [], [NO_HISTORY, NO_RECORD]),
    ("conda", "conda-meta without history: list"): ("conda", TWO, [NO_HISTORY]),
    ("conda", "history but no records: list"): ("conda", [], [NO_RECORD]),
    ("conda", "truncated record json: list"): ("conda", TWO, [BAD_JSON]),
    ("conda", "zero-byte record json: list"): ("conda", TWO, [BAD_JSON]),
    ("conda", "stray non-record json: list"): ("conda", TWO, ["foo.json: is no record of a package"]),
    ("conda", "a package's files deleted, record kept: list"): ("conda", TWO, [GONE]),
    ("conda", "conda-meta unreadable history bytes: list"): ("conda", TWO, []),
    ("micromamba", "create by name success json"): ("micromamba", BASE, []),
    ("micromamba", "create no specs (empty env) json"): (None, [], [NO_RECORD]),
    ("micromamba", "SIGTERM (process) during post-link of create json"): ("micromamba", TWO, [LOCKED]),
    ("micromamba", "SIGINT (group) during post-link of create json"): (None, [], [NO_RECORD]),
    ("micromamba", "SIGTERM during linking of create json"): ("micromamba", [], [LOCKED, NO_RECORD]),
    ("micromamba", "conda-meta without history: list"): (None, TWO, [NO_HISTORY]),
    ("micromamba", "history but no records: list"): ("micromamba", [], [NO_RECORD]),
    ("micromamba", "truncated record json: list"): ("micromamba", TWO, [BAD_JSON]),
    ("micromamba", "zero-byte record json: list"): ("micromamba", TWO, [BAD_JSON]),
    ("micromamba", "a package's files deleted, record kept: list"): ("micromamba", TWO, [GONE]),
    ("py-rattler", "create"): ("rattler", BASE, []),
    ("py-rattler", "prefix too long"): ("rattler", [], [NO_RECORD]),
    ("py-rattler", "concurrent same prefix #0"): (
        "rattler",
        ["ew-big", "ew-ssl", "ew-tzdata", "ew-z", "python"],
        ["prefix_record_H9dOEC: was left by a rattler that was killed"],
    ),
    ("py-rattler", "failing post-link"): ("rattler", ["ew-badpost", "ew-z"], []),
}
DAMAGE = {"truncated record json: list": '{"name": "ew-z", "vers', "zero-byte record json: list": ""}


def make(path: pathlib.Path, row: Row) -> None:
    """The prefix as the row describes it: each record names one file, which is there where its directory is."""
    if row["top"] == "file":
        path.write_text("")
        return
    path.mkdir()
    for name in row["top"]:
        (path / name).touch() if "." in name[1:] else (path / name).mkdir()
    for name in row["conda_meta"] or []:
        text = ""
        if name == "history" and row["history_bytes"]:
            text = f"==> 2026-01-01 00:00:00 <==\n# cmd: /opt/{row['tool']}/bin/{row['tool']} create -p /x\n" if row["history_bytes"] > 11 else "\udcff\udcfe\0"
        elif name == "foo.json":
            text = '{"hello": 1}'
        elif name.endswith(".json"):
            package, version, build = name[: -len(".json")].rsplit("-", 2)
            file = "bin/python" if package == "python" else f"lib/{package}" if package == "ew-z" else f"share/{package}"
            if file.split("/", maxsplit=1)[0] in row["top"]:
                (path / file).touch()
            text = json.dumps({"name": package, "version": version, "build": build, "channel": "c", "files": [file]})
        if name == "ew-z-1.3.1-h0_0.json":
            text = DAMAGE.get(row["label"], text)
        (path / "conda-meta" / name).write_text(text, errors="surrogateescape")


@pytest.mark.parametrize("row", SHAPES, ids=[f"{row['tool']}: {row['label']}" for row in SHAPES])
def test_what_real_tools_leave_is_told(tmp_path: pathlib.Path, row: Row) -> None:
    prefix = tmp_path / "prefix"
    make(prefix, row)
    tool, packages, broken = EXPECTED[(row["tool"], row["label"])]
    (found,) = work({"root": str(tmp_path), "prefix": str(prefix)})["environments"]
    assert (found["state"], found["tool"], [each["name"] for each in found["packages"]["conda"]]) == ("foreign", tool, packages)
    told = [f"{os.path.basename(each['path'])}: {each['problem']}" for each in found["broken"]]
    assert told == [text.format(top="prefix") for text in broken]
    python = str(prefix / "bin/python") if "python" in packages else None
    assert found["python"] == python
    assert (found["python_version"] is not None) == ("python" in packages)


def test_each_shape_is_expected() -> None:
    assert {(row["tool"], row["label"]) for row in SHAPES} == set(EXPECTED)


def test_python_packages_are_told_from_those_of_conda(tmp_path: pathlib.Path) -> None:
    """One that pip put over a conda package counts as what is there."""
    site = tmp_path / "lib/python3.11/site-packages"
    for name in ("six-1.17.0", "idna-3.7", "wheel-0.45.1"):
        (site / f"{name}.dist-info").mkdir(parents=True)
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    rows = {
        "python-3.11.7-0.json": [],
        "six-1.16.0-0.json": ["lib/python3.11/site-packages/six-1.16.0.dist-info/METADATA"],
        "wheel-0.45.1-0.json": ["lib/python3.11/site-packages/wheel-0.45.1.dist-info/METADATA"],
    }
    for name, files in rows.items():
        package, version, build = name[: -len(".json")].rsplit("-", 2)
        (meta / name).write_text(json.dumps({"name": package, "version": version, "build": build, "files": files}))
    found = take_inventory(str(tmp_path))
    assert found.packages["pip"] == [{"name": "idna", "version": "3.7"}, {"name": "six", "version": "1.17.0"}]
    assert next(each["problem"] for each in found.broken if "six" in each["path"]).startswith("names 1 files, of which 1 are gone")


def test_nothing_that_is_read_is_believed(tmp_path: pathlib.Path) -> None:
    """A pipe is not waited for, a link is not told, and odd data is named."""
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    (tmp_path / "secret").write_text("root:secret-word")
    os.mkfifo(meta / "pipe-1-0.json")
    (meta / "link-1-0.json").symlink_to(tmp_path / "secret")
    (meta / "deep-1-0.json").write_text("[" * 100_000)
    (meta / "odd-1-0.json").write_text('{"name": [], "version": 3, "files": {"a": 1}}')
    (meta / "dir-1-0.json").mkdir()
    found = take_inventory(str(tmp_path))
    assert [each["name"] for each in found.packages["conda"]] == ["deep", "dir", "link", "odd", "pipe"]
    assert len(found.broken) == 6
    assert "secret-word" not in str(found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an account to which a directory is closed")
@pytest.mark.parametrize("closed", ["prefix", "prefix/conda-meta"])
def test_what_is_closed_to_the_account_is_told(closed: str) -> None:
    # Not pytest's own directory, which is closed to others already.
    with tempfile.TemporaryDirectory(prefix="ew-closed-") as name:
        top = pathlib.Path(name)
        top.chmod(0o755)
        make(top / "prefix", SHAPES[0])
        (top / closed).chmod(0o700)
        os.seteuid(65534)
        try:
            (found,) = work({"root": name, "prefix": str(top / "prefix")})["environments"]
        finally:
            os.seteuid(0)
        assert found["state"] == "broken"
        assert {"path": str(top / closed), "problem": "cannot be read by this account"} in found["broken"]


def test_what_is_broken_of_ours_is_told_too(tmp_path: pathlib.Path) -> None:
    """A record that is none would stop conda_env; here it is one line among others."""
    for name, text in (("w-0123456789ab-1", "{"), ("w-0123456789ab-2", None)):
        (tmp_path / "envs" / name / "conda-meta").mkdir(parents=True)
        if text is not None:
            (tmp_path / "envs" / name / "conda-meta/ew-worker-record").write_text(text)
    (tmp_path / "envs/.w-0123456789ab-2.building").write_text("{}")
    (tmp_path / "envs/w").mkdir()
    found = work({"root": str(tmp_path), "name": "w"})["environments"]
    assert [(os.path.basename(each["prefix"]), each["state"]) for each in found] == [
        ("w", "foreign"),
        ("w-0123456789ab-1", "broken"),
        ("w-0123456789ab-2", "partial"),
    ]
    assert "is no record of this version" in str(found[1]["broken"])


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["conda-meta/history"], "an environment of another tool"),
        (["conda-meta/history", "CACHEDIR.TAG"], "an environment of rattler"),
        (["conda-meta/conda-meta.lock"], "an environment of micromamba, without a history"),
        (["data"], "a directory that is no environment"),
        ([], "no directory"),
    ],
)
def test_what_stands_there_in_words(tmp_path: pathlib.Path, entries: list[str], words: str) -> None:
    path = tmp_path / "path"
    for entry in entries:
        (path / entry).parent.mkdir(parents=True, exist_ok=True)
        (path / entry).write_text("")
    if not entries:
        path.write_text("")
    assert what_is(str(path)) == words
    (tmp_path / "link").symlink_to(path)
    assert what_is(str(tmp_path / "link")) == f"a link to {path}"
