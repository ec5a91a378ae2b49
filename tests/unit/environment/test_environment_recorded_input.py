# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What real conda, micromamba and py-rattler made of environment files, names and configuration, and that none of it gets through, by backend."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest

from ansible_collections.ew_ai.worker.plugins.module_utils.environment import build, cli_answers
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.inventory import take_inventory
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import Tree, parse_requirements
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import wanted_content
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.files import read_text
from ansible_collections.ew_ai.worker.plugins.modules import conda_env
from tests.recorded import BACKENDS, ROWS, SMALL, TOOLS, WITH_PYTHON, Lab, content_of, left_by

each_backend = pytest.mark.parametrize("tool", BACKENDS)


def refused(lab: Lab, tool: str, **options: t.Any) -> WorkerError:
    """The error of the module with that backend, which must come before any program is started and anything is made."""
    defaults = {name: option.get("default") for name, option in conda_env.argument_spec().items()}
    executable = None if tool == "rattler" else lab.program(tool)
    module = types.SimpleNamespace(check_mode=False, no_log_values=set(), warn=print)
    place = {"root": str(lab.top / "root"), "cache": str(lab.top / "cache"), "backend": tool, "executable": executable}
    with pytest.raises(WorkerError) as failed:
        conda_env.work(t.cast("t.Any", module), {**defaults, **place, **({} if "prefix" in options else {"name": "w"}), **options})
    assert (lab.calls(), lab.envs()) == ([], [])
    assert failed.value.remedy
    return failed.value


def written(lab: Lab, text: str, name: str = "environment.yml") -> str:
    path = lab.top / name
    path.write_text(text)
    return str(path)


# environment.yml.

# (label, text): each with status 0, "success" and an empty environment, in both programs.
EMPTY = [("yml: empty file json", ""), ("yml: null dependencies json", "dependencies:\n"), ("yml: number dependency json", "dependencies:\n  - python: 3.11\n")]


@each_backend
@pytest.mark.parametrize(("label", "text"), EMPTY, ids=["empty", "null", "mapping"])
def test_an_environment_file_that_makes_an_empty_environment_is_refused(lab: Lab, tool: str, label: str, text: str) -> None:
    """py-rattler reads no such file: it is read by us, whatever the backend."""
    if tool != "rattler":
        assert (ROWS[tool, label]["rc"], cli_answers.answer_in(ROWS[tool, label]["stdout"])["success"]) == (0, True)
        assert not [name for name in (ROWS[tool, label]["after"] or {}).get("conda_meta", ()) if name.endswith(".json")]
    assert refused(lab, tool, file=written(lab, text)).code == "broken_file"


def pip_content(tool: str) -> t.Any:
    """What the recorded call asked for, and a package for pip."""
    line = parse_requirements(["colorama"], None, Tree(read_text, None), "the option pip")
    return content_of(tool, WITH_PYTHON[tool], pip=line)


def installer(lab: Lab, status: int) -> None:
    """A uv that puts colorama in, and ends with that status."""
    path = lab.top / "uv"
    path.write_text(
        '#!/bin/sh\n[ "$2" = install ] || exit 0\nwhile [ "$1" != --python ]; do shift; done\n'
        f'for site in "${{2%/bin/python}}"/lib; do mkdir -p "$site/python3.11/site-packages/colorama-0.4.6.dist-info" '
        f'"$site/python3.12/site-packages/colorama-0.4.6.dist-info"; done\necho "No matching distribution found" >&2\nexit {status}\n'
    )
    path.chmod(0o755)
    lab.monkeypatch.setattr(build, "choose_installer", lambda wanted: ("uv", str(path)))


@each_backend
def test_a_failure_of_pip_leaves_no_prefix(lab: Lab, tool: str) -> None:
    """Both programs left a whole environment behind."""
    if tool != "rattler":
        row = ROWS[tool, "yml: pip package missing json"]
        assert (row["rc"], "python-3.11.7-h1_0_cpython.json" in row["after"]["conda_meta"]) == (1, True)
    installer(lab, 1)
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, WITH_PYTHON[tool], content=pip_content(tool))
    assert (failed.value.code, len(lab.creates())) == ("pip_conflict", 1)
    assert lab.envs() == []


@each_backend
def test_a_package_of_pip_is_not_in_the_next_build(lab: Lab, tool: str) -> None:
    """``env update --prune`` never took one out: nothing is ever updated here."""
    if tool != "rattler":
        assert '"colorama"' in ROWS[tool, "list after prune"]["stdout"]
    installer(lab, 0)
    first = lab.present(tool, WITH_PYTHON[tool], content=pip_content(tool))
    second = lab.present(tool, WITH_PYTHON[tool])
    assert (first["packages"]["pip"], second["packages"]["pip"]) == ([{"name": "colorama", "version": "0.4.6"}], [])
    assert list(pathlib.Path(first["prefix"]).rglob("colorama*")) != []
    assert list(pathlib.Path(second["prefix"]).rglob("colorama*")) == []


@each_backend
def test_nodefaults_is_never_passed_on(lab: Lab, tool: str) -> None:
    """conda's ``env create`` took it for the name of a channel."""
    if tool == "conda":
        assert ROWS[tool, "yml: channels with nodefaults json"]["rc"] == 1
        assert "/nodefaults/" in ROWS[tool, "yml: channels with nodefaults json"]["stdout"]
    specs = content_of(tool, SMALL[tool]).packages
    file = written(lab, f"channels:\n  - file:///lab/channel\n  - nodefaults\ndependencies:\n  - {specs[0]}\n")
    content = wanted_content({"root": str(lab.top), "installer": "auto", "file": file}, check=False)
    assert content.channels == ("file:///lab/channel",)
    assert lab.present(tool, SMALL[tool], content=content)["created"] is True
    (call,) = lab.creates()
    assert "nodefaults" not in (call["request"]["channels"] if tool == "rattler" else call["argv"])


@each_backend
@pytest.mark.parametrize("name", ["environment.txt", "environment", "environment.yaml"])
def test_the_name_of_an_environment_file_does_not_matter(lab: Lab, tool: str, name: str) -> None:
    """Both programs read one without ``.yml`` as something else. No tool gets the file."""
    if tool != "rattler":
        assert ROWS[tool, "yml: wrong extension .txt json"]["rc"] == 1
    file = written(lab, f"channels: [file:///lab/channel]\ndependencies:\n  - {content_of(tool, SMALL[tool]).packages[0]}\n", name)
    content = wanted_content({"root": str(lab.top), "installer": "auto", "file": file}, check=False)
    assert lab.present(tool, SMALL[tool], content=content)["created"] is True
    assert file not in json.dumps(lab.calls())


# Names.


@each_backend
@pytest.mark.parametrize("name", ["a b", "a:b", "a#b", "foo/bar"])
def test_a_name_that_one_of_them_refuses_is_refused_for_all(lab: Lab, tool: str, name: str) -> None:
    """conda refused each of these, micromamba took them. The library knows no names."""
    if tool == "conda":
        assert ROWS[tool, f"create name '{name}' json"]["rc"] == 1
    assert refused(lab, tool, name=name, packages=["ew-z"]).code == "invalid_option"


@each_backend
def test_a_prefix_with_a_space_is_refused(lab: Lab, tool: str) -> None:
    if tool != "rattler":
        assert ROWS[tool, "create prefix with space json"]["rc"] == (1 if tool == "conda" else 0)
    assert refused(lab, tool, prefix=f"{lab.top}/with space", packages=["ew-z"]).code == "invalid_option"


@each_backend
def test_a_prefix_that_is_too_long_is_refused_and_leaves_nothing(lab: Lab, tool: str) -> None:
    """conda failed and left debris, micromamba said "success", the library failed half way."""
    label = "prefix too long" if tool == "rattler" else "create prefix too long (>255-placeholder) json"
    assert ROWS[tool, label]["rc"] == (0 if tool == "micromamba" else 1)
    assert ROWS[tool, label]["after"]["exists"]
    prefix = pathlib.Path(str(lab.top) + "/" + "d" * 120 + "/" + "e" * (254 - 122 - len(str(lab.top))))
    with pytest.raises(WorkerError) as failed:
        lab.present(tool, label, place=lab.place(prefix))
    assert failed.value.code == "prefix_too_long"
    assert len(str(prefix)) == 254
    assert list(prefix.parent.iterdir()) == []
    assert len(lab.creates()) == (1 if tool == "rattler" else 0)


@each_backend
def test_an_arrow_is_no_operator(lab: Lab, tool: str) -> None:
    """conda took ``python=>3.11`` for any Python, and linked 3.12; the others refused it."""
    row = ROWS[tool, "spec python=>3.11" if tool == "rattler" else "create spec 'python=>3.11' json"]
    assert (row["rc"] == 0) is (tool == "conda")
    if tool == "conda":
        assert "python-3.12.1" in row["stdout"]
    for options in ({"packages": ["python=>3.11"]}, {"python_version": "=>3.11"}, {"file": written(lab, "dependencies:\n  - python=>3.11\n")}):
        assert refused(lab, tool, **options).code in ("invalid_option", "broken_file")


# Configuration.


@each_backend
def test_a_broken_condarc_of_the_caller_is_not_read(lab: Lab, tool: str) -> None:
    """conda failed with status 1 on everything."""
    assert ROWS["conda", "condarc: unparseable yaml"]["rc"] == 1
    (lab.top / ".condarc").write_text("channels: [[\n")
    lab.monkeypatch.setenv("HOME", str(lab.top))
    assert lab.present(tool, SMALL[tool])["created"] is True
    assert lab.calls()
    for call in lab.calls():
        assert call["env"]["HOME"] != str(lab.top)
        assert call["env"].get("CONDARC") != str(lab.top / ".condarc")


CALLERS = ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS", "CONDA_DRY_RUN", "CONDA_JSON", "CONDA_SOLVER", "MAMBA_ROOT_PREFIX", "MAMBARC", "RATTLER_CACHE_DIR")


@each_backend
def test_variables_of_the_caller_do_not_reach_the_tool(lab: Lab, tool: str) -> None:
    """With two of them both programs failed on everything (conda without JSON); a third one both of them ignored."""
    assert [ROWS[each, "both set: info"]["rc"] for each in TOOLS] == [1, 1]
    assert cli_answers.answer_in(ROWS["conda", "both set: info"]["stdout"]) == {}
    for name in CALLERS:
        lab.monkeypatch.setenv(name, "/of/the/caller")
    assert lab.present(tool, SMALL[tool])["created"] is True
    assert "/of/the/caller" not in json.dumps([call["env"] for call in lab.calls()])


@each_backend
def test_nothing_is_written_into_the_callers_home(lab: Lab, tool: str) -> None:
    """The programs keep a list of all environments in there (``environments.txt``), the library does not: what we have is known by our own records."""
    assert '"/lab/w4-rattler/h"' not in ROWS["rattler", "conda env list sees a rattler-made prefix?"]["stdout"]
    home = lab.top / "home"
    home.mkdir()
    lab.monkeypatch.setenv("HOME", str(home))
    lab.present(tool, SMALL[tool], before='mkdir -p "$HOME/.conda" && echo "$3" >>"$HOME/.conda/environments.txt"')
    assert list(home.iterdir()) == []
    assert list(lab.top.rglob("environments.txt")) == []


@each_backend
def test_what_pip_put_over_a_conda_package_is_told(lab: Lab, tool: str) -> None:
    """conda's list told the new version, micromamba's the old one, and the record stays the old one."""
    if tool != "rattler":
        assert ("six-1.16.0-pypi_0" if tool == "conda" else "six-1.17.0-pyh1_0") in ROWS[tool, "list json after pip over conda package"]["stdout"]
    prefix = left_by(tool, WITH_PYTHON[tool], lab.top / "theirs")
    site = f"lib/python{'3.11' if tool == 'rattler' else '3.12'}/site-packages"
    record = {"name": "six", "version": "1.17.0", "build": "pyh1_0", "files": [f"{site}/six-1.17.0.dist-info/METADATA"]}
    (prefix / "conda-meta/six-1.17.0-pyh1_0.json").write_text(json.dumps(record))
    (prefix / site / "six-1.16.0.dist-info").mkdir(parents=True)
    found = take_inventory(str(prefix))
    assert {"name": "six", "version": "1.16.0"} in found.packages["pip"]
    assert [each["problem"] for each in found.broken if "six" in each["path"]] == [f"names 1 files, of which 1 are gone, first {record['files'][0]}"]
