# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defaults, argument specs and READMEs tell the same about every variable: keys, types, defaults."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
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


# A process of its own: whoever has loaded Ansible's lookups imports every collection by Ansible's rules from then on.
TEMPLATING = """
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

init_plugin_loader([])
raw, variables = json.load(sys.stdin)
templar = Templar(DataLoader(), variables=variables)
json.dump({name: templar.template(trust_as_template(value)) if isinstance(value, str) else value for name, value in raw.items()}, sys.stdout)
"""


@functools.cache
def effective_defaults(*environ: str) -> dict[str, t.Any]:
    """What each default is on a host, templates done by Ansible itself. environ: ``NAME=value`` beside the variables of this process."""
    raw = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    variables = {name: value for name, value in os.environ.items() if not name.startswith("EW_")}
    variables.update((name, value) for name, _equals, value in (each.partition("=") for each in environ))
    command = [sys.executable, "-c", TEMPLATING]
    done = subprocess.run(command, input=json.dumps([raw, HOST]), env=variables, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


def test_defaults_and_specs_have_the_same_keys() -> None:
    defaults, specs = load(ROLE)
    assert set(yaml.safe_load(defaults)) == set(options_of(specs))
    assert all(name.startswith("worker_") for name in options_of(specs))


def test_the_generator_sees_every_default() -> None:
    defaults, _specs = load(ROLE)
    groups = groups_of(defaults)
    assert [name for group in groups for name in group.names] == list(yaml.safe_load(defaults))
    assert all(group.heading for group in groups)


def test_defaults_and_specs_have_the_same_values() -> None:
    values = effective_defaults()
    options = options_of(load(ROLE)[1])
    assert {name: (value, options[name]["default"]) for name, value in values.items() if "default" in options[name] and value != options[name]["default"]} == {}


def test_only_computed_defaults_are_missing_in_the_specs() -> None:
    defaults, specs = load(ROLE)
    missing = {name for name, option in options_of(specs).items() if "default" not in option}
    assert {name for name in missing if "{{" not in str(yaml.safe_load(defaults)[name])} == set()


def test_defaults_have_the_types_of_the_specs() -> None:
    options = options_of(load(ROLE)[1])
    wrong = []
    for name, value in effective_defaults().items():
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
def test_variables_of_the_old_module(variable: str, text: str, name: str, value: object) -> None:
    """Each sets its variable, with its type; 3.10 stays a text."""
    found = effective_defaults(f"{variable}={text}")[name]
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
