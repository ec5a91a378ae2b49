# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the role's variables, made from its defaults and argument specs.

``roles/worker/defaults/main.yml`` gives order and groups (a comment above a group is its heading), and
``roles/worker/meta/argument_specs.yml`` types, defaults and descriptions. Where the specs give no default, the value is
computed on each host, and the description tells how.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import typing as t

import yaml

COMPUTED = "computed"
RULE = "|---|---|---|---|"
# O(x), V(x), E(x), C(x), M(x), RV(x) are words of code; a role's variables and hosts' names occur in them
CODE = re.compile(r"\b(?:O|V|E|C|M|RV|P)\(((?:[^()\\]|\\.|\([^()]*\))*)\)")
EMPHASIS = re.compile(r"\b([BI])\(([^()]*)\)")
LINK = re.compile(r"\bL\(([^,()]*),\s*([^()]*)\)")
ROW = re.compile(r"^\|\s*`(?P<name>[^`|]+)`\s*\|(?P<type>(?:\\\||[^|])*)\|(?P<default>(?:\\\||[^|])*)\|")


@dataclasses.dataclass(frozen=True)
class Variable:
    """One row. default: as YAML would have it, or COMPUTED."""

    name: str
    type: str
    default: str
    description: str


@dataclasses.dataclass(frozen=True)
class Language:
    """The words of a table. groups and variables: instead of the headings and descriptions that the role has, by heading and name."""

    header: str = "| variable | type | default | what it does |"
    computed: str = COMPUTED
    keys: str = "Keys: "
    stop: str = "."
    groups: t.Mapping[str, str] | None = None
    variables: t.Mapping[str, str] | None = None


ENGLISH = Language()


@dataclasses.dataclass(frozen=True)
class Group:
    """Variables under one heading."""

    heading: str
    names: tuple[str, ...]


def groups_of(defaults: str) -> list[Group]:
    """The groups of a defaults file: each begins after an empty line, with a comment."""
    groups = []
    for block in re.split(r"\n\s*\n", defaults):
        comments = [line.removeprefix("#").strip() for line in block.splitlines() if line.startswith("#")]
        names = tuple(re.findall(r"^(\w+):", block, re.MULTILINE))
        if names:
            groups.append(Group(" ".join(comments), names))
    return groups


def options_of(specs: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Every option of every entry point. One that several have must be the same in all."""
    found: dict[str, dict[str, t.Any]] = {}
    for entry, spec in specs["argument_specs"].items():
        for name, option in spec.get("options", {}).items():
            if found.setdefault(name, option) != option:
                raise ValueError(f"argument_specs: {name} of the entry point {entry} differs from the one of another entry point.")
    return found


def variable_of(name: str, option: t.Mapping[str, t.Any], language: Language = ENGLISH) -> Variable:
    """The row of an option. Raises KeyError for one that the language has no words for."""
    kind = option.get("type", "str")
    if option.get("elements"):
        kind = f"{kind} of {option['elements']}"
    if option.get("choices"):
        kind = f"{kind}: " + ", ".join(f"`{as_yaml(choice)}`" for choice in option["choices"])
    default = f"`{as_yaml(option['default'])}`" if "default" in option else language.computed
    description = option["description"] if isinstance(option["description"], str) else " ".join(option["description"])
    text = markdown(description) if language.variables is None else language.variables[name]
    if option.get("options"):
        keys = ", ".join(f"`{key}` ({_values(values)})" for key, values in option["options"].items())
        text += f"{' ' if language is ENGLISH else ''}{language.keys}{keys}{language.stop}"
    return Variable(name, kind, default, text)


def _values(option: t.Mapping[str, t.Any]) -> str:
    choices = [as_yaml(choice) for choice in option.get("choices", [])]
    return ", ".join(choices) or str(option.get("type", "str"))


def as_yaml(value: t.Any) -> str:
    """A value as one writes it in an inventory, on one line."""
    if isinstance(value, str) and yaml.safe_load(value or "null") == value and not re.search(r"[:#{}\[\],&*?|<>=!%@`\\\"']", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def markdown(text: str) -> str:
    """Ansible's markup in Markdown, fit for a table's cell."""
    text = CODE.sub(lambda found: "`" + re.sub(r"\\(.)", r"\1", found[1]) + "`", text)
    text = EMPHASIS.sub(lambda found: f"**{found[2]}**" if found[1] == "B" else f"*{found[2]}*", text)
    text = LINK.sub(r"[\1](\2)", text)
    return " ".join(text.split()).replace("|", "\\|")


def table(defaults: str, specs: t.Mapping[str, t.Any], language: Language = ENGLISH) -> str:
    """The tables of all groups, in the order of the defaults file."""
    options = options_of(specs)
    parts = []
    for group in groups_of(defaults):
        rows = [variable_of(name, options[name], language) for name in group.names]
        lines = [f"| `{row.name}` | {row.type} | {row.default.replace('|', chr(92) + '|')} | {row.description} |" for row in rows]
        heading = group.heading if language.groups is None else language.groups[group.heading]
        parts.append("\n".join([f"### {heading}", "", language.header, RULE, *lines]))
    return "\n\n".join(parts)


def rows_of(document: str) -> dict[str, tuple[str, str]]:
    """Type and default of each variable in tables of that form, whatever the language of the rest."""
    found = [ROW.match(line) for line in document.splitlines()]
    return {row["name"]: (row["type"].strip(), row["default"].strip()) for row in found if row}


def load_language(words: pathlib.Path, descriptions: pathlib.Path) -> Language:
    """Another language than the role's own. words: the fields of Language; descriptions: a text for each variable."""
    fields, variables = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (words, descriptions))
    return Language(**fields, variables=variables)


def load(role: pathlib.Path) -> tuple[str, dict[str, t.Any]]:
    """The text of a role's defaults and its argument specs."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    return (role / "defaults" / "main.yml").read_text(encoding="utf-8"), specs
