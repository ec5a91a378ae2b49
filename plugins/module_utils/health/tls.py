# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""TLS of the probes: the authorities trusted, and the true reason of a handshake that failed, which gRPC hides."""

from __future__ import annotations

import os
import ssl
import typing as t

from .model import Tls

# Where distributions keep the one file with the authorities that they trust.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)

# OpenSSL's X509_V_ERR_*.
_VERIFY_CODES = {
    9: "tls_not_yet_valid",
    10: "tls_expired",
    18: "tls_unknown_authority",
    19: "tls_unknown_authority",
    20: "tls_unknown_authority",
    21: "tls_unknown_authority",
    23: "tls_revoked",
    62: "tls_wrong_name",
    64: "tls_wrong_name",
}

# Words of OpenSSL's reasons (ssl.SSLError.reason) that tell what the other side is or wants.
_REASONS = (
    ("WRONG_VERSION_NUMBER", "tls_not_spoken"),
    ("RECORD_LAYER_FAILURE", "tls_not_spoken"),
    ("HTTP_REQUEST", "tls_not_spoken"),
    ("CERTIFICATE_REQUIRED", "tls_client_certificate_wanted"),
    ("HANDSHAKE_FAILURE", "tls_handshake_refused"),
    ("UNKNOWN_CA", "tls_client_certificate_refused"),
    ("BAD_CERTIFICATE", "tls_client_certificate_refused"),
    ("CERTIFICATE_EXPIRED", "tls_client_certificate_refused"),
    ("CERTIFICATE_UNKNOWN", "tls_client_certificate_refused"),
    ("DECRYPT_ERROR", "tls_client_certificate_refused"),
)


def context_of(tls: Tls) -> ssl.SSLContext:
    """The context that stands for what gRPC does with the same options. Raises ssl.SSLError or OSError for unusable files."""
    cadata = tls.ca.decode("ascii", "replace") if tls.ca is not None else None
    context = ssl.create_default_context(cadata=cadata)
    # Python 3.13 refuses authorities that gRPC takes (no key usage in them).
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    context.set_alpn_protocols(["h2"])
    if tls.certificate_file:
        context.load_cert_chain(tls.certificate_file, tls.key_file or None)
    return context


def system_authorities() -> t.Optional[bytes]:
    """The PEM bundle of this machine, or None where there is none (gRPC then takes the one built into it)."""
    for path in (os.environ.get("SSL_CERT_FILE", ""), *_BUNDLES):
        try:
            with open(path, "rb") as handle:
                return handle.read()
        except OSError:
            continue
    return None


def explain(error: ssl.SSLError) -> tuple[str, str]:
    """(code, reason in words) of a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, "tls_not_trusted"), f"the server's certificate is not accepted: {error.verify_message}"
    reason = error.reason or ""
    for word, code in _REASONS:
        if word in reason:
            return code, _WORDS.get(code, reason.replace("_", " ").lower())
    if isinstance(error, ssl.SSLEOFError) or "EOF" in reason:
        return "tls_handshake_refused", "the server closed the connection during the TLS handshake"
    return "tls_failed", f"the TLS handshake failed: {reason.replace('_', ' ').lower() or error}"


_WORDS = {
    "tls_not_spoken": "the server does not speak TLS",
    "tls_client_certificate_wanted": "the server wants a client certificate",
    "tls_client_certificate_refused": "the server refused the client certificate",
    "tls_handshake_refused": "the server refused the TLS handshake",
}
