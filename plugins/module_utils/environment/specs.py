# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Channels and package specs: what is accepted, and how addresses lose their credentials. Pure functions."""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ..errors import OptionError, WorkerError

DEFAULT_CHANNEL = "conda-forge"
# The channels of Anaconda, Inc. need a licence in most organisations, and ask for consent at a terminal.
_ANACONDA_NAMES = {"defaults", "anaconda", "main", "free", "r", "msys2", "pro"}
_ANACONDA_HOSTS = {"repo.anaconda.com", "repo.continuum.io"}
_ANACONDA_ADDRESSES = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_USER_INFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,30}://)[^/\s'\"]+@", re.IGNORECASE)
# Only behind a host: /t/ may as well be a directory.
_TOKEN = re.compile(r"(?P<host>://[^/\s'\"]+)/t/[^/\s'\"]+")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
_SPEC = re.compile(r"^(?:[^\s:]+::)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
# How a requirement begins: an option, a path, a variable, an address, or a name and what may follow it.
_LINE = re.compile(r"[-./~#]|\$\{|[A-Za-z0-9][A-Za-z0-9._-]*(?:[\s\[<>=!~;@#,(:+/]|$)")
# Of one line, address or spec; what is longer was not meant, and solvers take their time over it.
_LONGEST = 2000
_LONGEST_VERSION = 100


@dataclasses.dataclass(frozen=True)
class Secret:
    """Credentials of one address. Exactly one of token and (user, password) is set."""

    host: str
    user: str = ""
    password: str = ""
    token: str = ""


def strip_credentials(text: str) -> str:
    """The text whose addresses carry neither ``user:password@`` nor ``/t/<token>``."""
    return _TOKEN.sub(r"\g<host>", _USER_INFO.sub(r"\g<scheme>", text))


def for_message(line: str, longest: int = 80) -> str:
    """The line in quotes and brackets, without credentials; empty where an address in it is too broken to tell what are some."""
    bare = strip_credentials(line)
    return "" if "@" in bare and "://" in bare else f" ({bare[:longest]!r})"


def split_address(address: str) -> t.Optional[urllib.parse.SplitResult]:
    """The parts of an address, or None for one that is none (``https://[x``)."""
    try:
        return urllib.parse.urlsplit(address)
    except ValueError:
        return None


def check_addresses(option: str, addresses: t.Iterable[str]) -> None:
    """Raises OptionError."""
    for address in addresses:
        if split_address(address) is None:
            raise OptionError(option, strip_credentials(address), "it is not an address", "Write https://host/path; an IPv6 address stands in brackets.")
        if len(address) > _LONGEST or re.search(r"[\s\x00-\x1f\x7f]", address):
            problem = f"it has a blank or a control character, or more than {_LONGEST} characters"
            raise OptionError(option, strip_credentials(address), problem, "Write a blank in an address as %20; a directory needs a name without blanks.")


def credentials(address: str) -> t.Optional[Secret]:
    """What ``strip_credentials`` takes away from an address, or None."""
    parts = split_address(address)
    host = parts.hostname if parts is not None else None
    if parts is None or not host:
        return None
    token = re.search(r"^/t/([^/]+)", parts.path)
    if token:
        return Secret(host, token=token.group(1))
    if parts.username is not None:
        return Secret(host, urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
    return None


def check_channels(channels: t.Sequence[str], allow_anaconda: bool) -> tuple[str, ...]:
    """The channels as names or addresses, in order of priority, without repetition.

    A directory becomes a ``file://`` address, ``nodefaults`` is left out (it is always in force).
    Raises OptionError, or WorkerError ``channel_refused`` for the channels of Anaconda, Inc.
    """
    # A directory may have blanks in its name: its address has not.
    check_addresses("channels", (each.strip() for each in channels if "://" in each))
    found: list[str] = []
    for channel in channels:
        for each in _expand(channel.strip(), allow_anaconda):
            if each not in found:
                found.append(each)
    return tuple(found) or (DEFAULT_CHANNEL,)


def refuse_anaconda(option: str, channel: str, allow_anaconda: bool) -> None:
    """Raise WorkerError ``channel_refused`` for a channel of Anaconda, Inc., or the address of a package in one, unless that is allowed."""
    if _is_anaconda(channel) and not allow_anaconda:
        raise WorkerError(
            "channel_refused",
            f"Option '{option}' names {strip_credentials(channel)!r}, a channel of Anaconda, Inc., whose terms ask most organisations for a licence.",
            "Use conda-forge; or, with a licence, set allow_anaconda_defaults: true.",
        )


def _expand(channel: str, allow_anaconda: bool) -> tuple[str, ...]:
    if channel == "nodefaults":
        return ()
    if _is_anaconda(channel):
        refuse_anaconda("channels", channel, allow_anaconda)
        return _ANACONDA_ADDRESSES if channel == "defaults" else (channel,)
    if channel.startswith("/"):
        return (f"file://{urllib.parse.quote(channel.rstrip('/'))}",)
    if "://" in channel:
        return (channel.rstrip("/"),)
    if not _NAME.match(channel) or len(channel) > _LONGEST:
        raise OptionError(
            "channels", strip_credentials(channel), "this is neither a channel's name nor an address", "Write conda-forge, https://…, file:///… or /directory."
        )
    return (channel,)


def _is_anaconda(channel: str) -> bool:
    if "://" not in channel:
        return channel in _ANACONDA_NAMES or channel.startswith("pkgs/")
    parts = urllib.parse.urlsplit(strip_credentials(channel))
    if parts.hostname == "conda.anaconda.org":
        return parts.path.strip("/").split("/")[0] in _ANACONDA_NAMES
    return parts.hostname in _ANACONDA_HOSTS


def check_packages(packages: t.Sequence[str]) -> tuple[str, ...]:
    """The conda specs, sorted, without repetition. Raises OptionError for what the solvers read as something else."""
    for spec in packages:
        if not _SPEC.match(spec.strip()) or not spec.isascii() or not spec.isprintable() or len(spec) > _LONGEST:
            raise OptionError("packages", spec, "this is no conda spec", 'Write a name and at most a version: "numpy", "numpy=1.26", "numpy >=1.26,<2".')
        # Solvers take it for the version ">3.11", or for any version at all.
        if re.search(r"=[<>]", spec):
            raise OptionError("packages", spec, "'=>' and '=<' are no operators", "Write >= or <=.")
    return tuple(sorted({" ".join(spec.split()) for spec in packages}))


def check_lines(lines: t.Sequence[str]) -> t.Sequence[str]:
    """The lines of option ``pip`` as they are, of which each could be a requirement or an option. Raises OptionError."""
    for line in lines:
        text = line.strip()
        odd = len(text) > _LONGEST or any(not each.isprintable() and each not in "\n\t" for each in text)
        if text and (odd or not _LINE.match(text)):
            raise OptionError("pip", strip_credentials(text), "this is no requirement", 'Write a name and at most a version: "numpy", "numpy>=1.26,<2".')
    return lines


def spec_name(spec: str) -> str:
    """``python`` for ``conda-forge::python >=3.10``."""
    found = re.match(r"[A-Za-z0-9_.-]*", spec.split("::")[-1].strip())
    return found.group(0).lower() if found else ""


def without_channel(spec: str) -> str:
    """``python >=3.10`` for ``conda-forge::python >=3.10``."""
    return spec.split("::")[-1].strip()


def check_python_version(version: t.Optional[str]) -> t.Optional[str]:
    """The version as given, or None. Raises OptionError; an unquoted 3.10 (which arrives as 3.1) is told apart."""
    if version is None or not version.strip():
        return None
    version = version.strip()
    if re.match(r"^3\.[1-5]$", version):
        raise OptionError(
            "python_version",
            version,
            f"there is no such Python to install; YAML reads an unquoted {version}0 as the number {version}",
            f'Write it in quotes: python_version: "{version}0".',
        )
    plain = re.fullmatch(r"[0-9]+(\.[0-9]+){0,2}(\.\*)?", version)
    if len(version) > _LONGEST_VERSION or not (plain or re.fullmatch(r"(?:[<>=!~]=?\s*[0-9]+(?:\.[0-9]+|\.\*)*\s*,?\s*)+", version)):
        raise OptionError("python_version", version, "this is no version", 'Write "3.10", "3.10.14" or ">=3.10,<3.12".')
    return version


def python_spec(version: str) -> str:
    """``python 3.10.*`` for 3.10; a full version and comparisons stay exact."""
    if re.match(r"^\d+(\.\d+)?$", version):
        return f"python {version}.*"
    if re.match(r"^\d", version):
        return f"python {version}" if version.endswith("*") else f"python =={version}"
    return f"python {version}"


def is_version(version: str, wanted: str) -> bool:
    """Whether the version of a Python fulfils what ``python_version`` may be: ``3.10``, ``3.10.14``, ``>=3.10,<3.12``."""
    if re.match(r"^\d", wanted):
        return _compare(version, "=", wanted)
    comparisons = re.findall(r"([<>=!~]=?)\s*(\d+(?:\.\d+|\.\*)*)", wanted)
    return all(_compare(version, operator, number) for operator, number in comparisons)


def _compare(version: str, operator: str, number: str) -> bool:
    found, wanted = _release(version), _release(number)
    begins = found[: len(wanted)] == wanted
    if operator in ("=", "==", "!=", "!"):
        same = begins if operator == "=" or number.endswith("*") else _padded(found) == _padded(wanted)
        return same is not operator.startswith("!")
    if operator in ("~=", "~"):
        return _padded(found) >= _padded(wanted) and found[: len(wanted) - 1] == wanted[:-1]
    before, after = _padded(found), _padded(wanted)
    return {"<": before < after, "<=": before <= after, ">": before > after, ">=": before >= after}[operator]


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", re.sub(r"[^0-9.].*$", "", version)))


def _padded(release: tuple[int, ...]) -> tuple[int, ...]:
    return (*release, 0, 0, 0)[:3]
