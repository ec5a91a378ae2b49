# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of what no module takes: every option of every module with values that nobody should be able to get through.

``@`` in a value is the directory of the test, in which there are: ``link`` (to /etc), ``pipe`` (a named pipe), ``plain`` (a file), ``theirs``
(a directory of another account, with the program ``conda`` in it), and ``root``, which is empty and must stay so.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from tests.shared import free_ports

Args = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """One call.

    real_only: what an earlier task may make, so that check mode takes it.
    option: what the message must name; value: the bad one, shown in it unless secret; code: None where Ansible itself refuses, or a code of
    its own is told; changed: the options that are bad, where they are not called as the message names them.
    """

    module: str
    option: str
    value: t.Any
    args: Args
    code: t.Optional[str] = "invalid_option"
    secret: bool = False
    changed: tuple[str, ...] = ()
    real_only: bool = False

    @property
    def options(self) -> set[str]:
        """The module's options that the case is about."""
        return set(self.changed) or {self.option.partition(".")[0]}

    @property
    def name(self) -> str:
        """For the table."""
        shown = repr(self.value)
        return f"{self.module} {self.option}={shown if len(shown) < 60 else f'{shown[:57]}…'}"


ROOT = "@/root"
# Of a port that somebody listens on the preflight has something else to say.
PORT = free_ports()
INSTANCE: Args = {"name": "0", "ports": [PORT]}
WORKER: Args = {"name": "w", "root": ROOT}
RECORD: Args = {"release": {"id": "0" * 16, "path": f"{ROOT}/releases/{'0' * 16}"}, "settings": {}}
RECORD["conda_environment"] = {"prefix": f"{ROOT}/envs/e-000000000000-1", "fingerprint": "0" * 64, "build": 1, "python": "p", "activation": {}}
# Good in themselves: what is refused is the one option that a case changes.
BASES: dict[str, Args] = {
    "conda_env": {"root": ROOT, "name": "e", "python_version": "3.11", "channels": ["@/channel"], "offline": True},
    "conda_env_info": {"root": ROOT, "name": "e"},
    "ew_worker": {**WORKER, "release": f"{ROOT}/releases/r", "python": f"{ROOT}/envs/e/bin/python", "instances": [INSTANCE], "supervisor": "supervisord"},
    "ew_worker_info": {**WORKER, "supervisor": "supervisord"},
    "grpc_health": {"targets": [{"address": "127.0.0.1:9"}], "attempts": 1, "protocol": "tcp"},
    "worker_bundle": {"root": ROOT, "source": "@/bundle.tar", "bundle": "0" * 16},
    "worker_bundle_archive": {
        "dest": "@/bundle.tar",
        "root": ROOT,
        "python_version": "3.11",
        "channels": ["@/channel"],
        "offline": True,
        "toolchain_requirements": f"nothing==1 --hash=sha256:{'0' * 64}\n",
    },
    "worker_generation": {**WORKER, **RECORD},
    "worker_generation_info": WORKER,
    "worker_preflight": {**WORKER, "ports": [PORT], "instances": ["0"], "wanted": {"deploys": True}, "supervisor": "supervisord", "offline": True},
    "worker_release": {"root": ROOT, "release": "0" * 16, "state": "absent"},
    "worker_toolchain": {"root": ROOT, "requirements": f"nothing==1 --hash=sha256:{'0' * 64}\n", "offline": True},
}
NO_MODULE = {"worker_report": "its action plugin is all there is of it: it runs on the controller, and reads what the hosts have told"}
FINISHED: Args = {**WORKER, "state": "finished"}

CYRILLIC, COMBINING, RIGHT_TO_LEFT = "w\u043erker", "cafe\u0301", "w\u202erekrow"
# Of what paths, units and commands are made.
NAMES = [
    *("", " ", "a b", "a\tb", "worker\n", "..", ".", "../up", "a/b", "/etc", "-x", "--help", "_x", "Worker", "wörker", CYRILLIC, COMBINING, RIGHT_TO_LEFT),
    *("a\0b", "a;id", "$(id)", "`id`", "a|b", "a&b", "a'b", 'a"b', "a\\b", "{{ name }}", "%n", "a@b", "a:b", "*", "~root", "x" * 65, "x" * 100_000),
]
ROOTS = [
    *("", "relative/path", "./root", "../root", "/", "/etc", "/usr", "/root", "/home", "/opt", "/tmp/../etc", "/opt/./x", "/opt//x", "/opt/x y", "/opt/x\n"),
    *("/opt/x\0y", "/opt/x:y", "/opt/'x'", "/opt/x$(id)", "/opt/{{ x }}", "/opt/*", "/opt/[x]", f"/{'x' * 5000}", "/opt/x\u2028y"),
]
PATHS = ["relative", "../../etc/passwd", "/opt/../etc", "/opt/a b", "/opt/a\nb", "/opt/a\0b", "/opt/a:b", "/opt/*"]
NUMBERS = [0, -1, -(10**30)]
FLOATS = [-1.0, float("nan"), float("inf"), float("-inf"), 1e308]
HUGE = 10**30


def _cases(
    module: str, option: str, values: t.Iterable[t.Any], code: t.Optional[str] = "invalid_option", within: t.Any = None, base: t.Any = None
) -> list[Case]:
    """within: makes the arguments of a value, where it is not the option itself."""
    build = within or (lambda value: {option: value})
    good = BASES[module] if base is None else base
    return [Case(module, option, value, {**good, **build(value)}, code, changed=tuple(build(value))) for value in values]


def _instance(key: str) -> t.Callable[[t.Any], Args]:
    return lambda value: {"instances": [{**INSTANCE, key: value}]}


def _target(key: str) -> t.Callable[[t.Any], Args]:
    return lambda value: {"targets": [{"address": "127.0.0.1:9", key: value}]}


def _below(option: str, key: str) -> t.Callable[[t.Any], Args]:
    return lambda value: {option: {key: value}}


def _tls(key: str) -> t.Callable[[t.Any], Args]:
    return lambda value: {"tls": {"cert": "@/plain", "key": "@/plain", key: value}}


def _only_for_real(cases: t.Iterable[Case]) -> list[Case]:
    return [dataclasses.replace(case, real_only=True) for case in cases]


def _places() -> list[Case]:
    """What paths are made of, in every module that makes some."""
    found = []
    for module in ("ew_worker", "ew_worker_info", "worker_generation", "worker_generation_info"):
        found += _cases(module, "name", NAMES if module == "ew_worker" else ["", "../up", "a\0b", CYRILLIC, "x" * 100_000])
        found += _cases(module, "root", ROOTS if module == "ew_worker" else ["/", "/etc", "/opt/../etc", "/opt/x\0y", "relative/path"])
    found += _cases("worker_preflight", "worker_name", ["", "../up", "a\0b", RIGHT_TO_LEFT, "x" * 100_000], "invalid_name", lambda value: {"name": value})
    found += _cases("worker_preflight", "worker_root", ["", "/", "/etc", "/opt/../etc", "/opt/x\0y", "rel"], "invalid_root", lambda value: {"root": value})
    for module in ("worker_release", "worker_toolchain", "conda_env", "conda_env_info"):
        found += _cases(module, "root", ROOTS if module == "conda_env" else ["/", "/etc", "/opt/../etc", "/opt/x\0y", "relative/path", "/opt/x\n"])
    names = ["a b", "../up", "a/b", "-x", "a\0b", "e\n", CYRILLIC, COMBINING, RIGHT_TO_LEFT, "$(id)", "{{ name }}", ".hidden", "x" * 101, "x" * 100_000]
    found += _cases("conda_env", "name", names) + _cases("conda_env_info", "name", names[:5])
    return found


def _conda_env() -> list[Case]:
    """Inputs of environments."""
    module = "conda_env"

    def prefix(value: t.Any) -> Args:
        return {"name": None, "prefix": value}

    found = _cases(module, "prefix", ["relative", "/opt/a b", "/opt/a\0b", "/opt/../etc/x", "/", "/etc", "/usr", f"/{'x' * 5000}"], within=prefix)
    found += _cases("conda_env_info", "prefix", ["relative", "/opt/a\0b"], within=prefix)
    for option in ("cache", "serving_prefix", "mirror"):
        found += _cases(module, option, ["relative", "/opt/a b", "/opt/a\0b", "/opt/../etc/x"])
    versions = ["3.1", "newest", "3.11; id", "3.11\0", "$(id)", "{{ v }}", "٣.١١", "3." + "1" * 10_000, ">=", "-3.11", "nan", "3.11 || 3.12"]
    found += _cases(module, "python_version", versions)
    specs = [
        "",
        " ",
        "=1",
        "numpy=>1",
        "numpy=<2",
        "nump\0y",
        "a\nb",
        "--help",
        "-c evil",
        "@/x",
        "../x",
        "n\u0443mpy",
        "num\u202epy",
        "$(id)",
        "`id`",
        "x" * 100_000,
    ]
    found += _cases(module, "packages", specs, within=lambda value: {"packages": [value]})
    channels = ["a b", "", "../up", "-c", "https://[x", "https://a\nb", "https://a\0b", "ftp\0", "f\u043erge", "$(id)", "{{ x }}", "x" * 100_000, "file://a b"]
    found += _cases(module, "channels", channels, within=lambda value: {"channels": [value]})
    found += _cases(module, "channels", ["defaults", "main", "https://repo.anaconda.com/pkgs/main"], "channel_refused", lambda value: {"channels": [value]})
    for option in ("file", "requirements", "constraints"):
        many = option != "file"
        found += [
            Case(module, option, value, {**BASES[module], option: [value] if many else value}, code)
            for value, code in (
                ("relative.txt", "invalid_option"),
                ("/opt/x\0y.txt", "invalid_option"),
                ("/dev/zero", "invalid_option"),
                ("@/pipe", "invalid_option"),
                ("@/loop", "invalid_option"),
                ("@/root", "invalid_option"),
            )
        ]
    for line in ("-e .", "-r ../x", "a\0b", "a\x1bb", "`id`", ";id", "$(id)", "n\u0443mpy", "x" * 100_000):
        found.append(Case(module, "pip", line, {**BASES[module], "pip": [line]}, None))
    for option, many in (("index_url", False), ("extra_index_urls", True), ("find_links", True)):
        values = ["https://[x", "https://a b", "https://a\nb", "https://a\0b", f"https://{'x' * 100_000} y"]
        found += _cases(module, option, values, within=lambda value, option=option, many=many: {option: [value] if many else value})
    for backend in ("auto", "conda", "mamba", "micromamba"):
        values = ["/nothing/conda", "@/nothing/conda", "../conda", "@/pipe", "@/root", "@/plain", "/opt/con\nda", "con\0da", "--help", " "]
        found += _cases(module, "executable", values, None, lambda value, backend=backend: {"executable": value, "backend": backend})
    found += _cases(module, "build_user", ["no-such-user", "a b", "--help", "root\0", "user\n", "b\u043eb", "x" * 100_000], None)
    found += _cases(module, "timeout", [*NUMBERS, HUGE]) + _cases(module, "lock_timeout", [-1, HUGE])
    return found


def _ew_worker() -> list[Case]:
    """Inputs of units and processes."""
    module = "ew_worker"
    found = _cases(module, "instances.name", ["", "../up", "a\0b", "a b", "%i", CYRILLIC, "x" * 65], within=_instance("name"))
    found += _cases(module, "instances.ports", [0, -1, 65536, HUGE], within=lambda value: {"instances": [{"name": "0", "ports": [value]}]})
    found += _cases(module, "instances.ports", [PORT], within=lambda value: {"instances": [{"name": "0", "ports": [value]}, {"name": "1", "ports": [value]}]})
    found += _cases(
        module, "instances.env", ["A B", "A=B", "1A", "A\0B", "Ä", "EW_PORT", ""], within=lambda value: {"instances": [{**INSTANCE, "env": {value: "x"}}]}
    )
    found += _cases(module, "instances.gpus", ["a b", "0;id", "GPU\0", "", "x\ny"], within=lambda value: {"instances": [{**INSTANCE, "gpus": [value]}]})
    for option in ("env", "secrets", "activation"):
        found += _cases(module, option, ["A B", "A\nB", "EW_GENERATION", "1", "\u0410"], within=lambda value, option=option: {option: {value: "plain"}})
        found += _cases(module, option, ["NUL", "ESC"], within=lambda value, option=option: {option: {value: "a\0b" if value == "NUL" else "a\x1bb"}})
    secret = "geheim-nicht-zeigen"
    for value in ([secret], {"k": secret}, f"{secret}\0", f"{secret}\ud800"):
        found.append(Case(module, "secrets", secret, {**BASES[module], "secrets": {"TOKEN": value}}, secret=True))
    found += _cases(module, "secrets_file", ["relative", "/opt/a b", "/opt/a\0b"])
    found += _cases(module, "secrets_file", ["@/plain", "@/root", "@/pipe", "@/loop", "/dev/zero"])
    for option in ("release", "python"):
        found += _cases(module, option, PATHS)
    for option in ("cert", "key", "client_ca"):
        within = _tls(option)
        found += _cases(module, f"tls.{option}", [*PATHS, "@/pipe", "@/loop", "@/root", "/dev/zero"], within=within)
        found += _only_for_real(_cases(module, f"tls.{option}", ["@/nothing.pem", "@/nothing/x.pem"], within=within))
    found += _cases(module, "writable_paths", PATHS, within=lambda value: {"writable_paths": [value], "supervisor": "auto"})
    found += _cases(module, "path", ["/bin\n/x", "/bin\0"])
    found += _cases(module, "module", ["", "worker main", "worker;id", "../x", "-c", "w\u0000", "worker.", ".worker", "x" * 100_000 + " "])
    found += _cases(module, "arguments", ["{host}", "{ports}", "{port}{x}", "a\0b"], within=lambda value: {"arguments": [value]})
    found += _cases(module, "bind", ["a b", "127.0.0.1\n", "$(id)", "::1;x", "b\u0131nd", "x\0"])
    found += _cases(module, "user", ["a b", "--help", "root\n", "a\0b", "us\u0435r", "../x", "$(id)"])
    found += _cases(module, "stop_timeout", [*NUMBERS, HUGE])
    found += _cases(module, "restart.delay", FLOATS, within=_below("restart", "delay"))
    found += _cases(module, "restart.window", [0.0, *FLOATS], within=_below("restart", "window"))
    found += _cases(module, "restart.burst", [*NUMBERS, HUGE], within=_below("restart", "burst"))
    found += _cases(module, "limits.cpu", [0.0, *FLOATS], within=lambda value: {"limits": {"cpu": value}, "supervisor": "auto"})
    for key in ("memory", "memlock"):
        found += _cases(module, f"limits.{key}", ["", "0", "-1G", "much", "8 G", "1G\n", "٨G", "8X"], within=lambda value, key=key: {"limits": {key: value}})
    for key in ("tasks", "files"):
        found += _cases(module, f"limits.{key}", [*NUMBERS, HUGE], within=_below("limits", key))
    found += _cases(
        module, "unit_overrides", ["serv ice", "[Service]", "Service\n", "\u0405ervice"], within=lambda value: {"unit_overrides": {value: {"Nice": 5}}}
    )
    found += _cases(module, "unit_overrides", ["Exec=Start", "Ni ce", "a\nb"], within=lambda value: {"unit_overrides": {"Service": {value: "5"}}})
    found += _cases(module, "unit_overrides", ["a\nExecStart=/bin/sh", "a\0b"], within=lambda value: {"unit_overrides": {"Service": {"Nice": value}}})
    found += _cases(module, "bind_to_unit", ["gateway", "a b.service", "../x.service", "w.target", "w@0.service", "g\u0430te.service", "x.service\n"])
    found += _cases(module, "only", ["nobody", "../up", "a\0b"], within=lambda value: {"only": [value]})
    found += _cases(module, "generation", [-1, HUGE])
    return found


def _grpc_health() -> list[Case]:
    """Whom to ask, and for how long."""
    module = "grpc_health"
    addresses = [
        "",
        "x",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "a b:1",
        "http://a:1",
        "a:1\n",
        "::1:1",
        "\u0430.example:1",
        "unix:rel",
    ]
    addresses += ["unix:/" + "x" * 200, "a\0b:1", "a:\u0661", "x" * 100_000, "$(id):1", "user:pass@host:1"]
    found = _cases(module, "address", addresses, within=_target("address"))
    found += _cases(module, "expect_pid", [0, -1], within=_target("expect_pid"))
    for option in ("attempts", "success_threshold"):
        found += _cases(module, option, NUMBERS)
    for option in ("interval", "connect_timeout", "rpc_timeout"):
        found += _cases(module, option, [0.0, *FLOATS])
    found += _cases(module, "stable_for", FLOATS) + _cases(module, "targets", [[]])
    for option in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
        found += _cases(module, option, ["@/nothing.pem", "@/plain", "@/root", "/opt/a\0b", f"/{'x' * 5000}"])
        found += _cases(module, option, ["@/pipe", "@/loop", f"@/{'x' * 300}", "/dev/zero"])
    keys = ["Key", "a b", "grpc-x", "x-bin", "", "k\u00e9y", "a\nb"]
    found += _cases(module, "metadata", keys, within=lambda value: {"metadata": {value: "v"}})
    found += _cases(module, "metadata.k", ["v\n", "\u00fc", "a\0b"], within=lambda value: {"metadata": {"k": value}})
    secret = "geheim-nicht-zeigen"
    found.append(Case(module, "secret_metadata.k", secret, {**BASES[module], "secret_metadata": {"k": f"{secret}\n"}}, secret=True))
    found.append(Case(module, "secret_metadata", "Key", {**BASES[module], "secret_metadata": {"Key": secret}}))
    return found


def _rest() -> list[Case]:
    """Generations, releases, toolchains, preflight."""
    found = _cases("worker_generation", "keep", [*NUMBERS, HUGE], base={**FINISHED, "generation": 1, "verdict": "healthy"})
    found += _cases("worker_generation", "generation", [-1, -HUGE], "invalid_option", lambda value: {"generation": value, "verdict": "healthy"}, FINISHED)
    found += _cases("worker_generation", "secrets", ["A B", "1", "EW_PORT"], within=lambda value: {"secrets": {value: "x"}})
    secret = "geheim-nicht-zeigen"
    found.append(Case("worker_generation", "secrets", secret, {**BASES["worker_generation"], "secrets": {"T": [secret]}}, secret=True))
    for option in ("release", "conda_environment"):
        found += _cases("worker_generation", option, [{}, {"id": "x"}, {"path": "/etc"}, {"id": 1, "path": None}])
    found += _cases("worker_generation_info", "rollback_to", ["x", "-1", "1.5", "0x1", "1\n", "\u0661", "../1", "$(id)", "F" * 16, "x" * 100_000])
    found += _cases("worker_generation_info", "generation", ["7", "0" * 16], "unknown_generation", lambda value: {"rollback_to": value})
    found += _cases("ew_worker_info", "only", ["nobody", "../up", "a\0b"], within=lambda value: {"only": [value]})
    found += _cases("ew_worker_info", "logs", [-1, HUGE])
    found += _cases("worker_release", "release", ["", "x", "../../etc", "0" * 15, "0" * 17, "G" * 16, "0" * 15 + "\n", "/etc", "\u0660" * 16])
    toolchain = "worker_toolchain"
    found += _cases(toolchain, "timeout", [*NUMBERS, HUGE])
    found += _cases(toolchain, "python", ["relative", "/nothing/python", "/opt/a\0b", "@/pipe", "@/plain", "@/root", "/dev/null"], None)
    found += _cases(toolchain, "requirements", ["", " ", "# nothing", "numpy", "-e .", "a\0b", "-r /etc/passwd", "--index-url x"], None)
    for option, many in (("index_url", False), ("extra_index_urls", True), ("find_links", True)):
        values = ["https://a b", "https://a\nb", "https://a\0b"]
        found += _cases(toolchain, option, values, within=lambda value, option=option, many=many: {option: [value] if many else value})
    preflight = "worker_preflight"
    found += _cases(preflight, "port", [0, -1, 65536, HUGE], "invalid_instances", lambda value: {"ports": [value]})
    found += _cases(preflight, "worker_instances.name", ["", "../up", "a\0b", CYRILLIC], "invalid_instances", lambda value: {"instances": [value]})
    found += _cases(preflight, "worker_minimum_disk_mb", [-1, -(10**30)], None, lambda value: {"minimum_disk_mb": value})
    found += _cases(preflight, "worker_minimum_disk_mb", [HUGE], None, lambda value: {"minimum_disk_mb": value})
    found += _cases(preflight, "worker_keep", [*NUMBERS, HUGE], None, lambda value: {"keep": value})
    for proxy in ("http_proxy", "https_proxy"):
        found += _cases(preflight, f"worker_{proxy}", ["proxy", "http://host:99999", "http://a b:1"], within=_below("network", proxy))
    programs = ["/nothing/conda", "@/pipe", "@/root"]
    found += _cases(preflight, "worker_conda_path", programs, None, lambda value: {"wanted": {"deploys": True, "executable": value}})
    found += _cases(preflight, "worker_lease_timeout", [*NUMBERS, 10**400], None, lambda value: {"lease_timeout": value})
    found += _cases(preflight, "worker_build_user", ["a b", "--help", "a\0b", "us\u0435r"], None, lambda value: {"accounts": [value]})
    return found


def _network() -> list[Case]:
    """Proxies and certificates, in every module that reaches channels or indexes."""
    found = []
    for module in ("conda_env", "worker_toolchain", "worker_bundle_archive"):
        for proxy in ("http_proxy", "https_proxy"):
            values = ["proxy", "ftp://proxy:3128", "http://", "http://host:0", "http://host:99999", "http://a b:1", "http://a\nb:1", "x" * 100_000]
            found += _cases(module, f"network.{proxy}", values, within=_below("network", proxy))
        found += _cases(module, "network.no_proxy", ["a\nb", "a\0b"], within=_below("network", "no_proxy"))
    for module in ("conda_env", "worker_bundle_archive"):
        found += _only_for_real(_cases(module, "network.ca_bundle", ["@/nothing.pem", "@/root", "@/pipe", "@/loop"], within=_below("network", "ca_bundle")))
    secret = "geheim-nicht-zeigen"
    for module in ("conda_env", "worker_toolchain", "worker_bundle_archive"):
        args = {**BASES[module], "network": {"https_proxy": f"http://user:{secret}@a b"}}
        found.append(Case(module, "network.https_proxy", secret, args, secret=True))
    return found


def _bundles() -> list[Case]:
    """Bundles, and what they are made of."""
    found = _cases("worker_bundle", "root", ROOTS)
    found += _cases("worker_bundle", "bundle", ["", "x", "../../etc", "0" * 15, "0" * 17, "G" * 16, "0" * 15 + "\n", "/etc", "\u0660" * 16, "x" * 100_000])
    module = "worker_bundle_archive"
    found += _cases(module, "root", ROOTS)
    found += _cases(
        module,
        "dest",
        ["", "relative.tar", "../up.tar", "@/root", "@/nothing/bundle.tar", "/etc", "@/a\0b.tar", f"/{'x' * 5000}", "@/pipe", "@/loop", "/dev/null"],
    )
    found += _cases(module, "glibc", ["", "2", "two", "2.5", "3.28", "2.28\n", "2.28;id", "-2.28", "\u0662.28", "2." + "1" * 10_000])
    versions = ["", "3", "3.8", "2.7", "3.11.7", "3.11;id", "../3.11", "-3.11", "3.11\n", "\u0663.11", "x" * 100_000]
    found += _cases(module, "host_pythons", versions, within=lambda value: {"host_pythons": [value]})
    found += _cases(module, "toolchain_requirements", ["", " ", "# nothing", "numpy", "-e .", "a\0b", "-r /etc/passwd", "--index-url x"], None)
    found += _cases(module, "timeout", [*NUMBERS, HUGE])
    found += _cases(module, "python_version", ["3.1", "newest", "3.11; id", "$(id)", "-3.11"])
    found += _cases(module, "packages", ["=1", "numpy=>1", "--help", "../x", "n\u0443mpy"], within=lambda value: {"packages": [value]})
    found += _cases(module, "channels", ["a b", "../up", "https://[x", "f\u043erge"], within=lambda value: {"channels": [value]})
    found += _cases(module, "channels", ["defaults"], "channel_refused", lambda value: {"channels": [value]})
    for option in ("file", "requirements", "constraints"):
        values = ["relative.txt", "/opt/x\0y.txt", "/dev/zero", "@/pipe", "@/loop", "@/root"]
        found += _cases(module, option, values, within=lambda value, option=option: {option: value if option == "file" else [value]})
    found += _cases(module, "pip", ["-e .", "-r ../x", "a\0b", "`id`", "$(id)"], None, lambda value: {"pip": [value]})
    for option, many in (("index_url", False), ("extra_index_urls", True), ("find_links", True)):
        values = ["https://[x", "https://a b", "https://a\nb", "https://a\0b"]
        found += _cases(module, option, values, within=lambda value, option=option, many=many: {option: [value] if many else value})
    return found


def _theirs() -> list[Case]:
    """What other accounts could exchange under root's hands. Whoever is not root has nothing to lose by it that is not lost already."""
    if os.geteuid() != 0:
        return []
    roots = ["@/theirs", "@/theirs/root", "@/theirs/deep/down"]
    found = _cases("worker_preflight", "worker_root", roots, "unsafe_root", lambda value: {"root": value, "wanted": {"deploys": False}})
    found += _cases("conda_env", "executable", ["@/theirs/conda"], "unsafe_executable")
    return found + _cases(
        "worker_preflight", "worker_conda_path", ["@/theirs/conda"], "unsafe_executable", lambda value: {"wanted": {"deploys": True, "executable": value}}
    )


def written() -> list[Case]:
    """The part of the table that somebody thought of."""
    return [*_places(), *_conda_env(), *_ew_worker(), *_grpc_health(), *_rest(), *_network(), *_bundles(), *_theirs()]


def odd_but_fine() -> list[Case]:
    """What looks as bad and is not: somebody's language, or text that only a shell would take for more."""
    roots = ["@/wörker", "@/密钥", "@/cafe\u0301", "@/x`id`", "@/100%i", "@/-x", "@/a;b&c|d", "@/{{ x }}".replace(" ", ""), f"@/{'x' * 255}"]
    found = [case for module in ("ew_worker", "conda_env", "worker_generation") for case in _cases(module, "root", roots)]
    found += _cases("conda_env", "name", ["A.b-C_1", "_x", "7", "x" * 100])
    found += _cases("conda_env", "prefix", ["@/émigré/env", "@/a;b/env"], within=lambda value: {"name": None, "prefix": value})
    found += _cases("conda_env", "python_version", [" 3.11 ", "3.11\n", ">=3.10,<3.12", "3.11.*", "3"])
    found += _cases(
        "conda_env", "packages", ["numpy >=1.26,<2", "conda-forge::numpy", "_libgcc_mutex", "r-base =4.*"], within=lambda value: {"packages": [value]}
    )
    found += _cases(
        "conda_env", "channels", ["@/my channel", "@/kanäle", "https://user:p%40ss@host/x", " conda-forge "], within=lambda value: {"channels": [value]}
    )
    lines = [
        "numpy ; python_version < '4'",
        "# a remark",
        "",
        "numpy[extra]>=1,<2",
        "--no-binary=:all:",
        "x @ https://host/x.whl#sha256=0",
        "numpy==1 # why: é",
    ]
    found += _cases("conda_env", "pip", lines, within=lambda value: {"pip": [value]})
    found += _cases("conda_env", "index_url", ["https://user:p%40ss%3A@host:8443/simple/", "@/wheels", "https://b\u00fccher.example/simple"])
    texts = [
        "",
        "two\nlines",
        'it\'s "quoted"',
        "$HOME $(id) `id`",
        "100% %i %(x)s",
        "{{ x }}",
        "密钥 🔑",
        "a\tb",
        "\u202etxt",
        "x" * 30_000,
        0,
        1.5,
        True,
        "C:\\x\\",
    ]
    for option in ("env", "secrets", "activation"):
        found += _cases("ew_worker", option, texts, within=lambda value, option=option: {option: {"VALUE": value}})
    arguments = [
        "",
        "a b",
        "--name=it's",
        "$(id)",
        "{",
        "{}",
        '{"json": {"a": 1}}',
        "{0}",
        "{port!r}",
        "%h",
        "密钥",
        "two\nlines",
        "{port}:{bind}:{index}:{instance}",
    ]
    found += _cases("ew_worker", "arguments", arguments, within=lambda value: {"arguments": [value]})
    found += _cases("ew_worker", "bind", ["::1", "0.0.0.0", "localhost", "fe80::1%eth0"])
    found += _cases("worker_toolchain", "find_links", ["@/r\u00e4der"], within=lambda value: {"find_links": [value]})
    return found


WRONG: dict[str, list[t.Any]] = {
    "int": ["many", 1.5, [1], {"a": 1}, "0x10", "١٢٣x"],
    "float": ["long", [1.0], {"a": 1}],
    "bool": ["perhaps", 2, [True]],
    "dict": ["no pairs", 7, ["no pairs"]],
    "list": [{"a": 1}],
}


def of_types(specs: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]]) -> list[Case]:
    """The part that follows from the options' types: a wrong one for each option, and no choice where there are choices."""
    found = []
    for module, spec in specs.items():
        for option, each in spec.items():
            # Of an option with options of its own Ansible tells less, and nothing at all where it is a number.
            values = [] if "suboptions" in each else WRONG.get(str(each.get("type")), [])
            if "choices" in each:
                values = ["", "Present", "nothing of these", "\u0430uto"]
            found += [Case(module, option, value, {**BASES[module], option: value}, None) for value in values]
    return found
