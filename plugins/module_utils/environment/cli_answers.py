# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From what conda, mamba and micromamba write to codes and remedies. Pure functions."""

from __future__ import annotations

import json
import re
import typing as t

from ..errors import WorkerError
from ..network import CA_REMEDY, PROXY_REMEDY, PROXY_WORDS
from ..redact import redact
from ..run import describe_exit, quoted, tail
from .backends import CreateRequest
from .solver_words import CREDENTIALS, FETCH_ANEW, LOOSEN, ONCE_ONLINE, REACH, SPEC, Row, classify_text, subject, wanted
from .specs import strip_credentials

Answer = dict[str, t.Any]
_KEYS = {"success", "error", "exception_name", "log_history", "actions", "errors", "message"}
# What the programs say; the first that fits.
_ROWS: tuple[Row, ...] = (
    ("hash_mismatch", FETCH_ANEW, r"ChecksumMismatch|doesn't match expectation|Found incorrect downloads|(?:MD5|SHA256) (?:sums )?mismatch"),
    ("channel_unreachable", PROXY_REMEDY, f"{PROXY_WORDS}|tunnel failed|from proxy after CONNECT"),
    ("channel_unreachable", CA_REMEDY, r"CondaSSLError|CERTIFICATE_VERIFY_FAILED|SSL (?:peer )?certificate"),
    ("channel_unreachable", CREDENTIALS, r"\b40[13]\b|Unauthorized|Forbidden"),
    (
        "channel_unreachable",
        "Check the channel's address: there is no such channel or package.",
        r"UnavailableInvalidChannel|HTTP 404|status: 404|PathNotFoundError|Couldn't (?:read a|open) file",
    ),
    (
        "channel_unreachable",
        REACH,
        r"CondaHTTPError|OfflineError|CONNECTION FAILED|Download error|Could not resolve host|"
        r"Connection (?:refused|reset|broken)|timed out",
    ),
    (
        "invalid_option",
        SPEC,
        r"InvalidMatchSpec|InvalidVersionSpec|InvalidSpec|Error parsing (?:MatchSpec|version)|Invalid (?:version|spec)|match_spec\.py",
    ),
    ("unsatisfiable", LOOSEN, r"Unsatisfiable|PackagesNotFound|ResolvePackageNotFound|SpecsConfigurationConflict|Could not solve|nothing provides"),
    ("build_failed", "Leave the package out, or pin another build.", r"(?:pre|post)-link script failed"),
    ("create_failed", "The package cache is damaged: remove {cache}, then run the same command again.", r"[Cc]orrupt|InvalidArchive|bad CRC"),
)


def answer_in(text: str) -> Answer:
    """The JSON object that the tool answered with, whatever stands around it; empty where there is none."""
    decoder = json.JSONDecoder()
    found: Answer = {}
    position = 0
    while True:
        start = re.compile(r"^\{", re.MULTILINE).search(text, position)
        if start is None:
            return found
        try:
            value, position = decoder.raw_decode(text, start.start())
        except ValueError:
            position = start.end()
            continue
        if isinstance(value, dict) and _KEYS & value.keys():
            found = value


def words_of(answer: t.Mapping[str, t.Any]) -> str:
    """What went wrong, in the tool's own words; empty where its answer says nothing of it."""
    errors = answer.get("errors")
    messages = [_message(each) for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    if not messages and "exception_name" in answer:
        messages = [_message(answer)]
    history = answer.get("log_history")
    for each in history if isinstance(history, list) else []:
        if isinstance(each, dict) and each.get("level") in ("error", "critical"):
            messages.append(str(each.get("message", "")))
    return "\n".join(dict.fromkeys(message.strip() for message in messages if message.strip() not in ("", "()")))


def _message(error: t.Mapping[str, t.Any]) -> str:
    name, text = str(error.get("exception_name", "")), str(error.get("message") or error.get("error") or "")
    return f"{name}: {text}" if name not in ("", "tuple") and text.strip() != "()" else text


def linked_in(answer: t.Mapping[str, t.Any]) -> set[str]:
    """Names of the packages that the tool says it linked."""
    actions = answer.get("actions")
    links = actions.get("LINK") if isinstance(actions, dict) else None
    return {str(each["name"]).lower() for each in links or () if isinstance(each, dict) and "name" in each}


def failure(argv: t.Sequence[str], rc: int, stdout: str, stderr: str, request: CreateRequest, cache: str, indexed: bool = True) -> WorkerError:
    """The error of a ``create`` that failed. indexed: whether any channel's index is in the cache."""
    answer = answer_in(stdout)
    told = "\n".join(words_of(answer).splitlines()[:30])
    words = told or tail(stderr, 30) or tail(stdout, 30)
    code, remedy = classify_text(told or stderr or stdout, _ROWS)
    if not told and "Traceback (most recent call last)" in stderr:
        words = _raised(stderr)
    if code == "unsatisfiable" and request.offline and not indexed:
        # Offline, what it has not got is not in the channel as far as it can tell.
        code, remedy = "channel_unreachable", ONCE_ONLINE
    text = redact(strip_credentials(words)) or f"it ended with {describe_exit(rc)} and wrote nothing"
    remedy = remedy.replace("{cache}", cache)
    return WorkerError(code, f"{subject(code)}: {text.rstrip('.')}.", remedy, **details(argv, rc, stdout, stderr, request))


def _raised(stderr: str) -> str:
    """The exception of a traceback that tells most: one that names a spec, else the last."""
    raised = re.findall(r"^[\w.]+: .+", stderr, re.MULTILINE)
    return next((line for line in raised if "Invalid" in line.partition(":")[0]), raised[-1] if raised else tail(stderr, 1))


def details(argv: t.Sequence[str], rc: int, stdout: str, stderr: str, request: CreateRequest) -> dict[str, t.Any]:
    """What every error of a ``create`` tells beside its message."""
    return {
        "cmd": quoted(argv),
        "rc": rc,
        "stdout": strip_credentials(tail(stdout)),
        "stderr": strip_credentials(tail(stderr)),
        **wanted(request),
    }
