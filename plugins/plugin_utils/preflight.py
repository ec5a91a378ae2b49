# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller finds before a deploy begins: settings that the modules would refuse in a later stage, and hooks that are not there.

The modules' own functions judge the settings, so that nothing is refused here that they would take. A finding is
``{"check", "msg", "remedy"}``; no value that may be a secret is in it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_path

from ansible_collections.ew_ai.worker.plugins.module_utils.bounds import at_least
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.backends import choose_backend
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.environment_file import EnvironmentFile
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.requirements import local_path
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.specs import check_channels, check_packages, check_python_version, strip_credentials
from ansible_collections.ew_ai.worker.plugins.module_utils.environment.wanted import check_lock, wanted_content, wanted_place
from ansible_collections.ew_ai.worker.plugins.module_utils.errors import OptionError, WorkerError
from ansible_collections.ew_ai.worker.plugins.module_utils.health import options as health
from ansible_collections.ew_ai.worker.plugins.module_utils.host.toolchain_pins import parse_pins
from ansible_collections.ew_ai.worker.plugins.module_utils.host.toolchain_pip import refuse_blanks
from ansible_collections.ew_ai.worker.plugins.module_utils.layout import Layout
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor import options as supervisor
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.model import Instance
from ansible_collections.ew_ai.worker.plugins.module_utils.supervisor.process import argv
from ansible_collections.ew_ai.worker.plugins.modules.conda_env import argument_spec as conda_env_spec
from ansible_collections.ew_ai.worker.plugins.modules.ew_worker import OPTIONS as EW_WORKER_SPEC
from ansible_collections.ew_ai.worker.plugins.modules.grpc_health import ARGUMENTS as GRPC_HEALTH_SPEC

Finding = dict[str, str]
Options = t.Mapping[str, t.Any]
Params = dict[str, t.Any]

HOOKS = tuple(f"{moment}_{stage}" for stage in ("preflight", "toolchain", "release", "environment", "instances", "health") for moment in ("before", "after"))
# Where a variable of the role is not called worker_<option>.
_CONDA_ENV = {"name": "worker_env_name", "executable": "worker_conda_path", "file": "worker_environment_file", "timeout": "worker_environment_timeout"}
_SOURCE = {"source": "worker_dir", "requirements_file": "worker_requirements_file", "extra_files": "worker_environment_file or worker_constraints"}
_GRPC_HEALTH = {name: f"worker_health_{name}" for name in GRPC_HEALTH_SPEC}
# What stands in for a refused value while the others are looked at.
_NEUTRAL = {"scope": "system", "instances": [], "module": "worker.main", "stop_timeout": 10, "sandbox": "standard"}
# The stages before the one that needs them make these.
_LATER = {"release": "/release", "python": "/environment/bin/python", "generation": 1}
_PLACE = {"name": "ew-worker", "root": "/opt/ew_ai_worker"}


def settings_findings(settings: Options) -> tuple[list[Finding], list[Finding]]:
    """What ew_worker would refuse of these options: on every host, and only where the supervisor is supervisord."""
    params, findings = _validated(EW_WORKER_SPEC, {**settings, **_PLACE}, "the instances")
    if findings:
        return findings, []
    params.update(_LATER)
    names = {name: f"worker_{name}" for name in EW_WORKER_SPEC}
    anywhere = [*_refusals(_judge_instances, params), *_refusals(lambda each: supervisor.spec(each, Layout(_PLACE["root"]).worker(_PLACE["name"])), params)]
    if not anywhere:
        anywhere = _refusals(_judge_arguments, params)
    if params["scope"] == "user":
        anywhere += _refusals(supervisor.refuse_in_user_scope, params)
    under_supervisord = _refusals(supervisor.refuse_under_supervisord, params)
    return [_finding(each, names) for each in anywhere], [_finding(each, names) for each in under_supervisord]


def _judge_instances(params: Options) -> None:
    try:
        supervisor.instances(params)
    except OptionError as error:
        # The module itself looks at names and ports.
        if error.details["option"] not in ("instances.name", "instances.ports"):
            raise


def _judge_arguments(params: Options) -> None:
    # All instances have the same arguments.
    argv(supervisor.spec(params, Layout(_PLACE["root"]).worker(_PLACE["name"])), Instance("0", 0, (50051,)))


def wanted_gpus(settings: Options) -> Params:
    """What the host is asked about GPUs; nothing where the controller refuses the instances itself."""
    params, findings = _validated(EW_WORKER_SPEC, {**settings, **_PLACE}, "the instances")
    if findings or _refusals(_judge_instances, params):
        return {}
    listed = {str(each["name"]): each["gpus"] for each in params["instances"] or () if each.get("gpus")}
    return {"gpus": listed, "gpu_sharing": params["gpu_sharing"]}


def secrets_findings(secrets: Options, gpus: bool = False) -> list[Finding]:
    """What ew_worker would refuse of the secrets; no value is told. gpus: an instance is to have some."""
    refused = _refusals(lambda params: supervisor.secret_variables("secrets", params["secrets"], gpus), {"secrets": secrets})
    return [_finding(each, {"secrets": "worker_secrets"}) for each in refused]


def source_findings(failures: t.Iterable[WorkerError]) -> list[Finding]:
    """What is wrong with the worker directory."""
    return [_finding(each, _SOURCE) for each in failures]


def environment_findings(settings: Options) -> list[Finding]:
    """What conda_env would refuse of these options. Requirement files are another's matter."""
    params, findings = _validated(conda_env_spec(), {**settings, "root": _PLACE["root"]}, "the environment")
    if findings:
        return findings
    names = {name: _CONDA_ENV.get(name, f"worker_{name}") for name in params}
    judges: list[t.Callable[[], object]] = [
        lambda: wanted_place(params),
        lambda: check_python_version(params["python_version"]),
        lambda: at_least("timeout", params["timeout"], 1),
        lambda: choose_backend(params["backend"], params["executable"]),
        *((lambda each=each: check_packages([each])) for each in params["packages"]),
        *((lambda each=each: check_channels([each], params["allow_anaconda_defaults"])) for each in params["channels"] or []),
        *((lambda each=each: _judge_requirement(each, params)) for each in params["pip"] if not local_path(each).startswith(("/", "file:"))),
        *((lambda each=each: refuse_blanks(each, _list(params[each]))) for each in ("index_url", "extra_index_urls", "find_links")),
    ]
    return [_finding(error, names) for error in map(_error_of, judges) if error is not None]


def toolchain_findings(settings: Options) -> list[Finding]:
    """What worker_toolchain would refuse of these options, which is after the accounts were made."""
    names = {name: f"worker_toolchain_{name}" for name in ("requirements", "find_links")}
    judges: list[t.Callable[[], object]] = [
        lambda: parse_pins(str(settings.get("requirements") or "")),
        lambda: refuse_blanks("find_links", [str(each) for each in _list(settings.get("find_links"))]),
    ]
    return [_finding(error, names) for error in map(_error_of, judges) if error is not None]


def lock_findings(settings: Options, given: str, lock: EnvironmentFile) -> list[Finding]:
    """What conda_env would refuse of these options beside the lock, which is the environment file of that name."""
    params, findings = _validated(conda_env_spec(), {**settings, "root": _PLACE["root"]}, "the environment")
    if findings or _error_of(lambda: check_python_version(params["python_version"])) is not None:
        # Told already.
        return []
    names = {name: _CONDA_ENV.get(name, f"worker_{name}") for name in params}
    error = _error_of(lambda: check_lock(lock, {**params, "file": given}, check_python_version(params["python_version"])))
    return [_finding(error, names)] if error is not None else []


def _judge_requirement(line: str, params: Options) -> None:
    try:
        wanted_content({**params, "python_version": None, "packages": [], "channels": None, "pip": [line]}, True)
    except WorkerError as error:
        # What it names is on the host.
        if error.code in ("editable_requirement", "unsupported_requirement") or error.details.get("option") == "pip":
            raise


def health_findings(settings: Options) -> list[Finding]:
    """What grpc_health would refuse of these options, which is after the move."""
    params, findings = _validated(GRPC_HEALTH_SPEC, {**settings, "targets": [{"address": "127.0.0.1:50051"}]}, "health", "worker_health_")
    defaults = {name: spec.get("default") for name, spec in GRPC_HEALTH_SPEC.items()}
    return findings or [_finding(each, _GRPC_HEALTH) for each in _refusals(health.read, params, defaults)]


def tls_findings(settings: Options, health_tls: Options, protocol: str) -> list[Finding]:
    """Whether workers that secure their ports can be asked for their health. The files themselves are on the host."""
    findings = []
    if settings.get("tls") and not health_tls and protocol != "tcp":
        remedy = "Set worker_health_tls: {ca: FILE ON THE HOST}, with cert and key where worker_tls has client_ca, and server_name."
        findings.append(_of("invalid_option", "worker_tls is set, and worker_health_tls does not tell how the health is asked over TLS.", remedy))
    if bool(health_tls.get("cert")) != bool(health_tls.get("key")):
        remedy = "Give both files, certificate and key."
        findings.append(_of("invalid_option", "worker_health_tls has one of cert and key without the other.", remedy))
    return findings


def remote_tls_findings(asker: str, remote: Options, health_tls: Options) -> list[Finding]:
    """Files that the controller needs to ask over TLS, and cannot read. remote: worker_health_tls_remote, else what the hosts themselves use counts."""
    if asker != "controller":
        return []
    name, files = ("worker_health_tls_remote", remote) if remote else ("worker_health_tls", health_tls)
    findings = []
    for key in ("ca", "cert", "key"):
        path = str(files.get(key) or "")
        # As the module will read it.
        found = check_type_path(path)
        if path and not (os.path.isfile(found) and os.access(found, os.R_OK)):
            text = f"{name}.{key} names {path}, which cannot be read on the controller, and the controller asks for the health over the network."
            remedy = (
                f"Put it there (ls -l {path}), by a hook before_preflight at the latest, name the controller's own files in worker_health_tls_remote, "
                "or set worker_health_from: none."
            )
            findings.append(_of("missing_file", text, remedy))
    return findings


def asker_findings(asker: str, protocol: str) -> list[Finding]:
    """Whether who asks over the network can. asker: ``controller``, or anything else of which nothing is known here."""
    if asker != "controller" or protocol == "tcp" or importlib.util.find_spec("grpc") is not None:
        return []
    remedy = f"Install it ({sys.executable} -m pip install grpcio), or let a host of the group 'gateways' ask, or set worker_health_from: none."
    return [_of("missing_library", f"The controller asks for the health over the network (worker_health_from), and {sys.executable} has no grpcio.", remedy)]


def hook_findings(hooks: t.Any, find: t.Callable[[str], str], load: t.Callable[[str], t.Any]) -> list[Finding]:
    """Hooks that no stage has, and files that are not there or hold no tasks.

    find: the path at which a file is looked for, as include_tasks does. load: a file's data; raises AnsibleError.
    """
    if not isinstance(hooks, dict):
        return [_of("invalid_hooks", "worker_hooks holds no lists of files by hook.", "Write it as {before_instances: [drain.yml]}.")]
    findings = []
    for hook, files in hooks.items():
        if hook not in HOOKS:
            findings.append(_of("invalid_hooks", f"worker_hooks has {hook!r}, which no stage has.", f"Use one of: {', '.join(HOOKS)}."))
        elif not isinstance(files, list) or not all(isinstance(each, str) for each in files):
            findings.append(_of("invalid_hooks", f"worker_hooks.{hook} is no list of files.", f"Write it as {{{hook}: [tasks.yml]}}."))
        else:
            findings += [finding for each in files for finding in _hook_file(hook, each, find(each), load)]
    return findings


def _hook_file(hook: str, name: str, path: str, load: t.Callable[[str], t.Any]) -> list[Finding]:
    if not os.path.isfile(path):
        text = f"worker_hooks.{hook} names {name}, and there is no such file on the controller (looked for at {path})."
        return [_of("invalid_hooks", text, "Write the whole path, such as {{ inventory_dir }}/" + f"{os.path.basename(name)}.")]
    try:
        tasks = load(path)
    except AnsibleError as error:
        return [_of("invalid_hooks", f"worker_hooks.{hook} names {path}, which cannot be read: {' '.join(str(error).split())}", "Correct it.")]
    if tasks is not None and not isinstance(tasks, list):
        return [_of("invalid_hooks", f"worker_hooks.{hook} names {path}, which is no list of tasks.", "Write tasks alone into it, without a play.")]
    return []


def named_program(settings: Options) -> t.Optional[str]:
    """The program that is to create the environment, for the host to look for; None where none is named, or none that conda_env would take."""
    executable = settings.get("executable")
    if not isinstance(executable, str) or _error_of(lambda: choose_backend(str(settings.get("backend")), executable)) is not None:
        return None
    return executable


def askable_channels(settings: Options) -> list[str]:
    """The channels as names or addresses, without credentials; only those that conda_env would take."""

    def fits(channel: str) -> bool:
        return _error_of(lambda: check_channels([channel], bool(settings.get("allow_anaconda_defaults")))) is None

    given = _list(settings.get("channels"))
    fitting = [each for each in given if fits(each)]
    # Where none fits, the channel that stands in for none at all is not wanted.
    return [] if given and not fitting else [strip_credentials(each) for each in check_channels(fitting, True)]


def askable_addresses(addresses: t.Iterable[t.Any]) -> list[str]:
    """The indexes without credentials; only those that pip would take."""

    def fits(address: str) -> bool:
        return _error_of(lambda: refuse_blanks("index_url", [address])) is None

    return [strip_credentials(each) for each in map(str, filter(None, addresses)) if fits(each)]


def _validated(spec: Options, settings: Options, what: str, variables: str = "worker_") -> tuple[Params, list[Finding]]:
    """The options with the types that the module would give them, or what it would say of them. variables: how the role's names of them begin."""
    result = ArgumentSpecValidator(dict(spec)).validate(dict(settings))
    remedy = "Correct it: ansible-doc --type role ew_ai.worker.worker lists all variables."
    # In the words of the role, as far as they tell which option they mean.
    texts = [re.sub(r"\bfound in (\w+)", rf"found in {variables}\1", text) for text in result.error_messages]
    messages = [strip_credentials(text).rstrip(".") for text in texts]
    return dict(result.validated_parameters), [_of("invalid_option", f"A setting of {what} is refused: {text}.", remedy) for text in messages]


def _refusals(judge: t.Callable[[Params], object], params: Options, defaults: t.Optional[Options] = None) -> list[WorkerError]:
    """Everything that ``judge`` refuses, which raises only the first: with each refused value out of the way it is asked again.

    defaults: what takes the place of a refused value, those of ew_worker unless given.
    """
    found: list[WorkerError] = []
    left = dict(params)
    tried: set[str] = set()
    while True:
        error = _error_of(lambda: judge(left))
        if error is None:
            return found
        option = str(error.details.get("option", ""))
        name, _dot, key = option.partition(".")
        if option not in tried:
            found.append(error)
        if key and option not in tried and isinstance(left.get(name), dict):
            left[name] = {**left[name], key: None}
        elif name in left and name not in tried:
            left[name] = (_NEUTRAL if defaults is None else defaults).get(name)
            tried.add(name)
        else:
            return found
        tried.add(option)


def _error_of(judge: t.Callable[[], object]) -> t.Optional[WorkerError]:
    try:
        judge()
    except WorkerError as error:
        return error
    return None


def _finding(error: WorkerError, names: t.Mapping[str, str]) -> Finding:
    """In the words of the role, whose user does not know the module's options."""

    def variable(match: re.Match[str]) -> str:
        return f"{names.get(match[1], match[1])}{match[2]}"

    return _of(error.code, re.sub(r"(?:^Option|\bthe option) '?\b(\w+)([.\w]*)'?", variable, error.message, count=1), error.remedy)


def _of(check: str, msg: str, remedy: str) -> Finding:
    return {"check": check, "msg": msg, "remedy": remedy}


def _list(value: t.Any) -> list[t.Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
