# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From the module's options to targets, with every bad value named before anything is dialled."""

from __future__ import annotations

import re
import ssl
import typing as t

from ..errors import OptionError
from ..names import check_file
from . import tls
from .address import parse_address
from .model import NOT_SERVING, Patience, Probing, Target, Tls

_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")
_LOWER_LIMITS = {"attempts": 1, "success_threshold": 1, "stable_for": 0, "interval": 0.1, "connect_timeout": 0.05, "rpc_timeout": 0.05}
_MOST = 1_000_000  # as seconds more than a week
_TLS_FILES = ("tls_ca_file", "tls_cert_file", "tls_key_file")

Params = t.Mapping[str, t.Any]


def read(params: Params) -> tuple[list[Target], Probing, Patience]:
    """What to probe, how, and how patiently. Raises OptionError."""
    for name, least in _LOWER_LIMITS.items():
        # The comparison is false for a NaN as well.
        if not params[name] >= least:
            raise OptionError(name, params[name], f"it must be at least {least:g}", "Give a larger number.")
        if params[name] > _MOST:
            raise OptionError(name, params[name], f"it must be at most {_MOST}", "Give a smaller number.")
    if params["protocol"] == "tcp" and params["wait_for_status"] == NOT_SERVING:
        raise OptionError("wait_for_status", NOT_SERVING, "a connection alone (protocol: tcp) cannot tell", "Use protocol: grpc.")
    if not params["targets"]:
        raise OptionError("targets", [], "there is nothing to probe", "Give at least one target.")
    metadata = _metadata(params)
    targets = [_target(f"targets[{index}]", target, params, metadata) for index, target in enumerate(params["targets"])]
    probing = Probing(params["method"], params["protocol"], params["connect_timeout"], params["rpc_timeout"])
    patience = Patience(params["wait_for_status"], params["attempts"], params["interval"], params["success_threshold"], params["stable_for"])
    return targets, probing, patience


def _target(option: str, target: Params, params: Params, metadata: tuple[tuple[str, str], ...]) -> Target:
    address = parse_address(target["address"], f"{option}.address")
    pid = target["expect_pid"]
    if pid is not None and pid < 1:
        raise OptionError(f"{option}.expect_pid", pid, "it is not a process id", "Give the main process of the instance, or leave it out.")
    return Target(
        name=target["name"] or str(address),
        address=address,
        services=tuple(dict.fromkeys(target["services"])) or ("",),
        expect_pid=pid,
        tls=_tls(option, target, params),
        metadata=metadata,
    )


def _tls(option: str, target: Params, params: Params) -> t.Optional[Tls]:
    names = ("tls", "tls_server_name", *_TLS_FILES)
    chosen = {name: (target[name], f"{option}.{name}") if target[name] is not None else (params[name], name) for name in names}
    wanted, _where = chosen["tls"]
    if wanted is None:
        wanted = any(value for name, (value, _option) in chosen.items() if name != "tls")
    if not wanted:
        return None
    contents = {name: _pem(*chosen[name]) for name in _TLS_FILES}
    certificate, key = chosen["tls_cert_file"][0] or "", chosen["tls_key_file"][0] or ""
    if key and not certificate:
        raise OptionError(chosen["tls_key_file"][1], key, "a key without a certificate", "Give tls_cert_file too.")
    if certificate and not key:
        contents["tls_key_file"] = contents["tls_cert_file"]
    found = Tls(
        ca=contents["tls_ca_file"],
        certificate=contents["tls_cert_file"],
        key=contents["tls_key_file"],
        certificate_file=certificate,
        key_file=key,
        server_name=chosen["tls_server_name"][0] or "",
    )
    _must_load(found, chosen)
    return found


def _pem(path: t.Optional[str], option: str) -> t.Optional[bytes]:
    if not path:
        return None
    check_file(option, path)
    try:
        with open(path, "rb") as handle:
            content = handle.read()
    except OSError as error:
        raise OptionError(option, path, f"it cannot be read: {error.strerror}", "Give a PEM file on the host that this user may read.") from None
    if b"-----BEGIN " not in content:
        raise OptionError(option, path, "it is no PEM file", "Convert it: openssl x509 -inform der -in FILE -out FILE.pem")
    return content


def _must_load(found: Tls, chosen: t.Mapping[str, tuple[t.Any, str]]) -> None:
    for name, part in (("tls_ca_file", Tls(ca=found.ca)), ("tls_cert_file", found)):
        try:
            tls.context_of(part)
        except (ssl.SSLError, OSError, ValueError) as error:
            value, option = chosen[name]
            reason = getattr(error, "reason", None) or str(error)
            raise OptionError(option, value, f"it cannot be used: {reason}", "Compare certificate and key, the key without a passphrase.") from None


def _metadata(params: Params) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for option in ("metadata", "secret_metadata"):
        for key, value in params[option].items():
            if not _METADATA_KEY.fullmatch(str(key)) or str(key).endswith("-bin") or str(key).startswith("grpc-"):
                raise OptionError(option, str(key), "it is not a key for text metadata", "Use lower case letters, digits, '-', '_' and '.'.")
            text = str(value)
            if not (text.isascii() and text.isprintable()):
                shown = text if option == "metadata" else "(hidden)"
                raise OptionError(f"{option}.{key}", shown, "it holds other than printable ASCII characters", "Encode the value, for example with base64.")
            pairs.append((str(key), text))
    return tuple(pairs)
