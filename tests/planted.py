# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of every kind that a user may have, and the search for them in whatever anybody can read.

Each has a core that stands in no other: whoever leaks a part of a secret, or its quoted or escaped form, leaks the core. What changes
the core itself (base64, hexadecimal, escapes of what is no ASCII) is looked for as well.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import typing as t
import urllib.parse


@dataclasses.dataclass(frozen=True)
class Planted:
    """One secret. value: as the user writes it, ``core`` in it."""

    kind: str
    core: str
    value: str

    def __post_init__(self) -> None:
        assert self.core in self.value, self


def _of(kind: str, core: str, template: str = "@") -> Planted:
    return Planted(kind, core, template.replace("@", core))


# The values of variables that a worker gets: text that some layer between the inventory and the process could take for its own syntax.
VALUES = (
    _of("plain", "plainEcho7Kilo2"),
    _of("quotes", "quotesAlfa9Zulu", 'it\'s @ "quoted" `so`'),
    _of("dollar", "dollarLima4Golf", "$HOME ${@} $(@) $$"),
    _of("percent", "percentMike8Papa", "%i %h 100%% %(@)s %@"),
    _of("newline", "newlineOscar5Tango", "first of @\nsecond of @\n"),
    _of("unicode", "geheimnisvölligüber密钥", "¡@!"),
    _of("backslash", "backslashHotel3Kilo", "C:\\@\\n\\t\\\\ end\\"),
    _of("number", "48151623421081", "@"),
    _of("base64-like", "c2VjcmV0IGxpa2UgdGhpcw", "@=="),
    _of("json", "jsonSierra6Delta", '{"key": "@", "list": [1, null]}'),
    _of("template", "templateXray2Bravo", "{{ @ }} {% if @ %}"),
    _of("very long", "longUniform7Yankee", "@" * 200),
)


def variables(planted: t.Iterable[Planted] = VALUES) -> dict[str, str]:
    """As ``worker_secrets``: each value under a name made of its kind."""
    return {name_of(each): each.value for each in planted}


def name_of(planted: Planted) -> str:
    """The variable that has it."""
    return "SECRET_" + planted.kind.upper().replace(" ", "_").replace("-", "_")


def forms(core: str) -> set[bytes]:
    """What stands for the core in any of the ways in which text is written down."""
    raw = core.encode()
    found = {raw, raw.hex().encode(), json.dumps(core)[1:-1].encode(), urllib.parse.quote(core).encode(), urllib.parse.quote_plus(core).encode()}
    found.add(core.encode("unicode_escape"))
    found.add("".join(f"\\x{byte:02x}" if byte > 127 else chr(byte) for byte in raw).encode())
    for before in range(3):
        # Only those digits that no neighbour has a part in.
        encoded = base64.b64encode(b"\0" * before + raw)
        first = -(-before * 8 // 6)
        found.add(encoded[first : (before + len(raw)) * 8 // 6])
    return found


def leaked(text: t.Union[str, bytes], planted: t.Iterable[Planted]) -> list[str]:
    """The kinds of the secrets that can be read in the text, whole or in part, plain or encoded."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return [each.kind for each in planted if any(form in content for form in forms(each.core))]
