# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defaults, argument specs and READMEs tell the same about every variable: keys, types, defaults."""

from __future__ import annotations

import functools
import os
import typing as t

import pytest
import yaml

from tools.checkout import CHECKOUT
from tools.docs.__main__ import DOCUMENTS
from tools.docs.markers import between
from tools.docs.variables import groups_of, load, options_of, rows_of, table

ROLE = CHECKOUT / "roles" / "worker"
TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (float, int),
    "int": (int,),
    "list": (list,),
    "path": (str,),
    "raw": (object,),
    "str": (str,),
}
HOST = {"inventory_hostname": "a-host", "role_path": str(ROLE), "ansible_host": "192.0.2.7"}


@functools.cache
def _plugins() -> None:
    """Ansible's lookups can be loaded from now on."""
    from ansible.plugins.loader import init_plugin_loader

    init_plugin_loader([])


def effective_defaults(environ: t.Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, t.Any]:
    """What each default is on a host, templates done by Ansible itself."""
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    _plugins()
    for name in [name for name in os.environ if name.startswith("EW_")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    raw = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    templar = Templar(DataLoader(), variables=dict(HOST))
    return {name: templar.template(trust_as_template(value)) if isinstance(value, str) else value for name, value in raw.items()}


def test_defaults_and_specs_have_the_same_keys() -> None:
    defaults, specs = load(ROLE)
    assert set(yaml.safe_load(defaults)) == set(options_of(specs))
    assert all(name.startswith("worker_") for name in options_of(specs))


def test_the_generator_sees_every_default() -> None:
    defaults, _specs = load(ROLE)
    groups = groups_of(defaults)
    assert [name for group in groups for name in group.names] == list(yaml.safe_load(defaults))
    assert all(group.heading for group in groups)


def test_defaults_and_specs_have_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    values = effective_defaults({}, monkeypatch)
    options = options_of(load(ROLE)[1])
    assert {name: (value, options[name]["default"]) for name, value in values.items() if "default" in options[name] and value != options[name]["default"]} == {}


def test_only_computed_defaults_are_missing_in_the_specs() -> None:
    defaults, specs = load(ROLE)
    missing = {name for name, option in options_of(specs).items() if "default" not in option}
    assert {name for name in missing if "{{" not in str(yaml.safe_load(defaults)[name])} == set()


def test_defaults_have_the_types_of_the_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(load(ROLE)[1])
    wrong = []
    for name, value in effective_defaults({}, monkeypatch).items():
        kind = options[name].get("type", "str")
        if not isinstance(value, TYPES[kind]) or (kind == "int" and isinstance(value, bool)):
            wrong.append(f"{name} is {value!r}, the specs say {kind}")
        if "choices" in options[name] and value not in options[name]["choices"]:
            wrong.append(f"{name} is {value!r}, the specs say one of {options[name]['choices']}")
        if kind == "dict" and "options" in options[name] and set(value) - set(options[name]["options"]):
            wrong.append(f"{name} has keys that its specs do not have")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("EW_SELF_DEPLOY_ENABLED", "false", "worker_enabled", False),
        ("EW_WORKER_DIR", "../my worker", "worker_dir", "../my worker"),
        ("EW_CONDA_PATH", "/opt/conda/bin/conda", "worker_conda_path", "/opt/conda/bin/conda"),
        ("EW_CONDA_ENV", "other", "worker_env_name", "other"),
        ("EW_PYTHON_VERSION", "3.10", "worker_python_version", "3.10"),
        ("EW_WORKER_PORT", "50055", "worker_port", 50055),
        ("EW_AUTO_START", "false", "worker_auto_start", False),
    ],
)
def test_variables_of_the_old_module(variable: str, text: str, name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sets its variable, with its type; 3.10 stays a text."""
    found = effective_defaults({variable: text}, monkeypatch)[name]
    assert (found, type(found) is type(value) or isinstance(found, str)) == (value, True)
    assert variable in options_of(load(ROLE)[1])[name]["description"]


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_readmes_have_the_table(document: str) -> None:
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    assert between(text, "variables") == table(*load(ROLE), DOCUMENTS[document]), "run `make docs`"
    assert list(rows_of(between(text, "variables"))) == [name for group in groups_of(load(ROLE)[0]) for name in group.names]


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_languages_have_no_words_too_many(document: str) -> None:
    """What the role no longer has goes from the translations too."""
    defaults, _specs = load(ROLE)
    groups, language = groups_of(defaults), DOCUMENTS[document]
    assert set(language.variables or {}) <= {name for group in groups for name in group.names}
    assert set(language.groups or {}) <= {group.heading for group in groups}
