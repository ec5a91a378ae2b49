# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The options of ew_worker as data, each bad one refused by name before anything is changed. Needs nothing of Ansible."""

from __future__ import annotations

import re
import typing as t

from ..bounds import at_least
from ..errors import OptionError, WorkerError
from ..files import read_json
from ..layout import Layout, WorkerLayout
from ..names import check_file, check_name, check_path, check_root
from ..redact import MASKED_LENGTH
from . import port_tls
from .model import GPU, GPU_VARIABLES, RESERVED, Instance, Limits, Restart, Spec

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SIZE = re.compile(r"[1-9][0-9]*(\.[0-9]+)?[KMGT]?|infinity")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|target|socket|mount|path|slice|scope|device|timer)")
_SECTION = re.compile(r"[A-Z][A-Za-z-]*")
_ADDRESS = re.compile(r"[A-Za-z0-9_.:%\[\]-]+")
_ACCOUNT = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
# A newline and a tab have a place in a variable; what else controls a terminal has none in a unit, and halves of characters in no file.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

_MOST_CORES = 1_000_000

Params = t.Mapping[str, t.Any]
Pairs = tuple[tuple[str, str], ...]


def worker_layout(params: Params) -> WorkerLayout:
    """Where the worker lives: options root and name."""
    name = check_name("name", params["name"])
    root = check_root("root", params["root"])
    return Layout(root).worker(name)


def instances(params: Params) -> list[Instance]:
    """The listed instances, with names and ports that are each there once."""
    found: list[Instance] = []
    named: set[str] = set()
    seen: dict[int, str] = {}
    for index, row in enumerate(params["instances"] or []):
        name = check_name("instances.name", row["name"])
        if name in named:
            raise OptionError("instances.name", name, "it is listed twice", "Give each instance a name of its own.")
        named.add(name)
        ports = tuple(_port(port) for port in row.get("ports") or ())
        for port in ports:
            if port in seen:
                raise OptionError("instances.ports", port, f"instance {seen[port]!r} has it already", "Give each instance ports of its own.")
            seen[port] = name
        env = variables("instances.env", row.get("env"))
        found.append(Instance(name, index, ports, env, _gpus(row.get("gpus") or (), found, bool(params.get("gpu_sharing")))))
    return found


def _gpus(given: t.Sequence[str], others: t.Sequence[Instance], sharing: bool) -> tuple[str, ...]:
    """The GPUs of an instance. others: those listed before it."""
    for gpu in given:
        if not GPU.fullmatch(gpu):
            problem = "it is no UUID (a GPU's number changes with the machine's hardware)"
            raise OptionError("instances.gpus", gpu, problem, "Write the UUID that nvidia-smi -L prints on the host, such as GPU-5c7e1a2b-….")
        holder = next((one.name for one in others if gpu in one.gpus), None)
        if holder is not None and not sharing:
            remedy = "Give each instance GPUs of its own, or let them share: gpu_sharing: true (worker_gpu_sharing)."
            error = OptionError("instances.gpus", gpu, f"instance {holder!r} has it already", remedy)
            error.code = "gpu_taken"
            raise error
    if len(set(given)) < len(given):
        raise OptionError("instances.gpus", ",".join(given), "one of them is listed twice", "List each once.")
    return tuple(given)


def chosen(params: Params, known: t.Sequence[str]) -> tuple[str, ...]:
    """The names to act on: option only, or all that are known."""
    if params["only"] is None:
        return tuple(known)
    for name in params["only"]:
        if name not in known:
            raise OptionError("only", name, "there is no such instance", f"Choose from: {', '.join(known) or 'none is known'}.")
    return tuple(name for name in known if name in params["only"])


def spec(params: Params, layout: WorkerLayout) -> Spec:
    """What the instances have in common. Raises OptionError."""
    activation = dict(variables("activation", params["activation"]))
    if params["path"]:
        activation["PATH"] = _text("path", params["path"])
    return Spec(
        layout=layout,
        generation=at_least("generation", params["generation"] or 0, 0),
        release=check_path("release", params["release"]),
        python=check_path("python", params["python"]),
        activation=tuple(sorted(activation.items())),
        module=_matching("module", params["module"], _MODULE, "a dotted module name such as worker.main"),
        arguments=_arguments(params),
        bind=_matching("bind", params["bind"], _ADDRESS, "an address") if params["bind"] else None,
        user=_matching("user", params["user"], _ACCOUNT, "the name of an account") if params["user"] else "",
        env=variables("env", params["env"]),
        secrets=secret_variables("secrets_file" if params["secrets_file"] else "secrets", params["secrets"], has_gpus(params)),
        restart=_restart(params["restart"] or {}),
        stop_timeout=at_least("stop_timeout", params["stop_timeout"], 1),
        limits=_limits(params["limits"] or {}),
        sandbox=params["sandbox"],
        writable_paths=tuple(check_path("writable_paths", path) for path in params["writable_paths"] or ()),
        unit_overrides=_overrides(params["unit_overrides"] or {}),
        bind_to_unit=bound_unit(params),
        tls=port_tls.files_of(params.get("tls")),
    )


def bound_unit(params: Params) -> t.Optional[str]:
    """Option bind_to_unit, or None."""
    unit = params["bind_to_unit"]
    if unit and (unit == f"{params['name']}.target" or unit.startswith(f"{params['name']}@")):
        raise OptionError("bind_to_unit", unit, "it is a unit of this worker itself", "Name the unit that the worker is to follow.")
    return _matching("bind_to_unit", unit, _UNIT, "a unit's full name such as gateway.service") if unit else None


def variables(option: str, values: t.Optional[t.Mapping[t.Any, t.Any]]) -> Pairs:
    """Variables as sorted pairs of texts; a boolean becomes ``true`` or ``false``. Errors name the variable, never its value."""
    pairs = []
    for name, value in sorted((values or {}).items(), key=lambda pair: str(pair[0])):
        _matching(option, str(name), _VARIABLE, "a variable's name: letters, digits and underscores")
        if str(name) in RESERVED:
            raise OptionError(option, name, "the collection sets this variable itself", "Choose another name.")
        if value is None or isinstance(value, (dict, list)):
            raise OptionError(option, name, "its value is neither text nor a number", "Quote it, or leave it out.")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if _CONTROL.search(text):
            raise OptionError(option, name, "its value has a control character", "Put it into a file, and its path into the variable.")
        pairs.append((str(name), text))
    return tuple(pairs)


def has_gpus(params: Params) -> bool:
    """Whether an instance is to have GPUs of its own."""
    return any(each.get("gpus") for each in params.get("instances") or ())


def secret_variables(option: str, values: t.Optional[t.Mapping[t.Any, t.Any]], gpus: bool) -> Pairs:
    """As ``variables``. gpus: an instance has some; secrets come last, and no one would know which GPUs it uses then."""
    for name in sorted({str(each) for each in values or ()} & GPU_VARIABLES if gpus else ()):
        raise OptionError(option, name, "instances.gpus sets this variable", "Leave it out here, or leave out gpus.")
    return variables(option, values)


def secrets(params: Params, check_mode: bool) -> dict[t.Any, t.Any]:
    """The secrets as they were given: option secrets, or what stands in the file that option secrets_file names.

    In check mode the file may be absent, for the generation that brings it is not made.
    """
    if not params["secrets_file"]:
        return dict(params.get("secrets") or {})
    path = check_file("secrets_file", check_path("secrets_file", params["secrets_file"]))
    try:
        found = read_json(path)
    except WorkerError as error:
        raise OptionError("secrets_file", path, f"it holds no JSON object: {error.message}", "Write names and values into it: {}.") from None
    if found is None and not check_mode:
        raise OptionError("secrets_file", path, "there is no such file on this host", "Write it first: worker_generation does for a generation with secrets.")
    if not isinstance(found, (dict, type(None))):
        raise OptionError("secrets_file", path, "it holds no JSON object", "Write names and values into it: {}.")
    return found or {}


def masked_values(given: t.Iterable[t.Any]) -> set[str]:
    """The texts that are masked wherever they turn up. A secret of several lines counts line by line, as a log has it."""
    texts = {str(value) for value in given}
    return {part for text in texts for part in (text, *text.splitlines()) if len(part) >= MASKED_LENGTH}


def refuse_under_supervisord(params: Params) -> None:
    """Refuse by name what was asked for and supervisord cannot do."""
    asked = {f"limits.{name}": value for name, value in (params["limits"] or {}).items() if value is not None}
    asked.update({name: params[name] for name in ("writable_paths", "unit_overrides", "bind_to_unit") if params[name]})
    if params["sandbox"] == "strict":
        asked["sandbox"] = "strict"
    if params["scope"] == "user":
        asked["scope"] = "user"
    for option, value in asked.items():
        raise OptionError(option, value, "supervisord cannot do this", "Leave it out, or use supervisor: systemd (docs/supervisors.md lists what each can do).")


def refuse_in_user_scope(params: Params) -> None:
    """Refuse by name what was asked for and a systemd without privileges cannot do. Its limits are those of a host."""
    asked = {"sandbox": "strict" if params["sandbox"] == "strict" else None, "writable_paths": params["writable_paths"]}
    for option, value in asked.items():
        if value:
            remedy = "Leave it out, or use scope: system with become: true (docs/supervisors.md lists what each can do)."
            raise OptionError(option, value, "units of a login (scope: user) cannot do this", remedy)


def _restart(values: t.Mapping[str, t.Any]) -> Restart:
    default = Restart()
    restart = Restart(*(default_value if values.get(name) is None else values[name] for name, default_value in vars(default).items()))
    at_least("restart.burst", restart.burst, 1)
    at_least("restart.delay", restart.delay, 0)
    at_least("restart.window", restart.window, 1)
    if restart.policy != "no" and restart.burst * restart.delay >= restart.window:
        raise OptionError(
            "restart.window",
            restart.window,
            f"{restart.burst} starts with {restart.delay:g} s between them never happen within it, so that a crash loop would never end",
            "Raise the window, or lower burst or delay.",
        )
    return restart


def _limits(values: t.Mapping[str, t.Any]) -> Limits:
    for name in ("memory", "memlock"):
        if values.get(name) is not None:
            _matching(f"limits.{name}", values[name], _SIZE, "a size such as 8G, or infinity")
    if values.get("cpu") is not None and not 0 < values["cpu"] <= _MOST_CORES:
        raise OptionError("limits.cpu", values["cpu"], f"it is no number above 0 and up to {_MOST_CORES}", "Give a number of cores such as 1.5.")
    for name in ("tasks", "files"):
        if values.get(name) is not None:
            at_least(f"limits.{name}", values[name], 1)
    return Limits(**{name: values.get(name) for name in ("memory", "cpu", "tasks", "files", "memlock")})


def _overrides(values: t.Mapping[str, t.Any]) -> tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...]:
    sections = []
    for section, rows in values.items():
        _matching("unit_overrides", str(section), _SECTION, "a section such as Service")
        if not isinstance(rows, dict):
            raise OptionError("unit_overrides", section, "it holds no directives", "Write it as {Service: {Nice: 5}}.")
        directives = []
        for key, value in rows.items():
            _matching("unit_overrides", str(key), _SECTION, "a directive such as Nice")
            texts = [_text("unit_overrides", str(each)) for each in (value if isinstance(value, list) else [value])]
            if any(text.endswith("\\") for text in texts):
                raise OptionError("unit_overrides", key, "its value ends with a backslash, which would take in the next line", "Leave that out.")
            directives.append((str(key), tuple(texts)))
        sections.append((str(section), tuple(directives)))
    return tuple(sections)


def _arguments(params: Params) -> tuple[str, ...]:
    if params["arguments"] is not None:
        return tuple(_text("arguments", argument, newline=True) for argument in params["arguments"])
    return ("--port", "{port}", *(("--bind", "{bind}") if params["bind"] else ()))


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise OptionError("instances.ports", value, "it is no port", "Give a number from 1 to 65535.")
    return value


def _matching(option: str, value: str, pattern: re.Pattern[str], wanted: str) -> str:
    if not pattern.fullmatch(value):
        raise OptionError(option, value, "it is not valid", f"Write {wanted}.")
    return value


def _text(option: str, value: str, newline: bool = False) -> str:
    if _CONTROL.search(value) or ("\n" in value and not newline):
        raise OptionError(option, value, "it has a newline or another control character", "Leave that out.")
    return value
