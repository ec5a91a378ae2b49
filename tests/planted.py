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
    """One secret. template: what the user writes, with CORE in it, and HOST where it names a server of the test."""

    kind: str
    core: str
    template: str = "CORE"

    def value(self, host: str = "") -> str:
        """What the user writes."""
        return self.template.replace("CORE", self.core).replace("HOST", host)


# The values of variables that a worker gets: text that some layer between the inventory and the process could take for its own syntax.
VALUES = (
    Planted("plain", "plainEcho7Kilo2"),
    Planted("quotes", "quotesAlfa9Zulu", 'it\'s CORE "quoted" `so`'),
    Planted("dollar", "dollarLima4Golf", "$HOME ${CORE} $(CORE) $$"),
    Planted("percent", "percentMike8Papa", "%i %h 100%% %(CORE)s %CORE"),
    Planted("newline", "newlineOscar5Tango", "first of CORE\nsecond of CORE\n"),
    Planted("unicode", "geheimnisvölligüber密钥", "¡CORE!"),
    Planted("backslash", "backslashHotel3Kilo", "C:\\CORE\\n\\t\\\\ end\\"),
    Planted("number", "48151623421081"),
    Planted("base64-like", "c2VjcmV0IGxpa2UgdGhpcw", "CORE=="),
    Planted("json", "jsonSierra6Delta", '{"key": "CORE", "list": [1, null]}'),
    Planted("template", "templateXray2Bravo", "{{ CORE }} {% if CORE %}"),
    Planted("very long", "longUniform7Yankee", "CORE" * 200),
)
# Where else a user writes a credential. Nobody listens on port 9.
PLACES = {
    each.kind: each
    for each in (
        Planted("index_url", "indexNovember5Rho", "http://user:CORE@127.0.0.1:9/index"),
        Planted("extra_index_urls", "extraTheta8Quebec", "http://CORE@HOST/index"),
        Planted("find_links", "linksOmega3Whisky", "http://user:CORE@HOST/links/"),
        Planted("channel password", "channelDelta1Juliett", "http://user:CORE@HOST/channel"),
        Planted("channel token", "tk-8f3kVictor2Lambda", "http://HOST/t/CORE/channel"),
        Planted("proxy", "proxyFoxtrot6Sigma", "http://user:CORE@127.0.0.1:9"),
        Planted("requirement", "wheelUniform2Kappa", "ew-direct @ http://user:CORE@HOST/links/ew_direct-1.0-py3-none-any.whl"),
        Planted("source", "gitRomeo4Epsilon", "git+http://user:CORE@127.0.0.1:9/team/worker.git@main"),
        Planted("pip.conf", "configTango9Gamma", "[global]\nextra-index-url = http://user:CORE@HOST/index\n"),
        Planted("become password", "becomeZulu1Beta"),
        Planted("variable of a hook", "hookIndia3Alpha"),
    )
}
EVERYTHING = (*VALUES, *PLACES.values())


def variables() -> dict[str, str]:
    """As ``worker_secrets``: each value under a name made of its kind."""
    return {"SECRET_" + each.kind.upper().replace(" ", "_").replace("-", "_"): each.value() for each in VALUES}


def forms(core: str) -> set[bytes]:
    """What stands for the core in any of the ways in which text is written down."""
    raw = core.encode()
    found = {raw, raw.hex().encode(), json.dumps(core)[1:-1].encode(), urllib.parse.quote(core).encode(), core.encode("unicode_escape")}
    found.add("".join(chr(byte) if byte < 128 else f"\\x{byte:02x}" for byte in raw).encode())
    # JSON in JSON, as a module's result in a log has it.
    found |= {form.replace(b"\\", b"\\\\") for form in found}
    for before in range(3):
        # Only those digits in which no neighbour has a part.
        encoded = base64.b64encode(b"\0" * before + raw)
        found.add(encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6])
    return found


def leaked(text: t.Union[str, bytes], planted: t.Iterable[Planted] = EVERYTHING) -> list[str]:
    """The kinds of the secrets that can be read in the text, whole or in part, plain or encoded."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return [each.kind for each in planted if any(form in content for form in forms(each.core))]
