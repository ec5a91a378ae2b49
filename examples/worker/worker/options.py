# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the worker takes on its command line, checked before anything starts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from worker import faults
from worker.version import CODE_VERSION

_TLS = (
    ("--tls-cert", "EW_TLS_CERT", "PEM file with the certificate; without it the port is plain text"),
    ("--tls-key", "EW_TLS_KEY", "PEM file with its key"),
    ("--tls-client-ca", "EW_TLS_CLIENT_CA", "PEM file with the authorities whose certificates callers must have"),
)

EPILOG = """\
environment:
  EW_BIND                                  the address to listen on, unless --bind is given
  EW_GENERATION, EW_INSTANCE, EW_RELEASE   told in every answer, so that a caller sees what answered
  EW_STATE_DIR, else STATE_DIRECTORY       where the learnt weights are kept; unset: in memory only
  EW_TEST_*                                the faults for tests above

exit status:
  0 stopped by SIGTERM or SIGINT; 2 wrong arguments; 66 a TLS file cannot be read; 69 cannot listen on the port;
  70 the model cannot be loaded
"""


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """The arguments, checked; argparse's own exit status 2 and message for wrong ones."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.main",
        description="Serve ew.ai.v1.InferenceService and grpc.health.v1.Health over gRPC.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=50051, help="port to listen on; 0 takes a free one (default: 50051)")
    parser.add_argument("--bind", default=environ.get("EW_BIND") or "127.0.0.1", help="address to listen on (default: EW_BIND, else 127.0.0.1)")
    parser.add_argument("--threads", type=_threads, default=8, help="calls answered at the same time (default: 8)")
    parser.add_argument(
        "--grace",
        type=_grace,
        default=8.0,
        metavar="SECONDS",
        help="how long a stop waits for running calls; keep it below the supervisor's stop timeout (default: 8)",
    )
    parser.add_argument(
        "--drain",
        type=_grace,
        default=0.0,
        metavar="SECONDS",
        help="part of the grace in which calls are still accepted after NOT_SERVING, for load balancers (default: 0)",
    )
    for flag, variable, text in _TLS:
        parser.add_argument(flag, default=environ.get(variable) or "", metavar="FILE", help=f"{text} (default: {variable})")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="(default: INFO)")
    parser.add_argument("--version", action="version", version=f"code version {CODE_VERSION}")
    faults.add_arguments(parser, environ)
    args = parser.parse_args(argv)
    if args.drain > args.grace:
        parser.error(f"--drain {args.drain:g} is longer than --grace {args.grace:g}, of which it is a part")
    if bool(args.tls_cert) != bool(args.tls_key) or (args.tls_client_ca and not args.tls_cert):
        parser.error("--tls-cert and --tls-key go together, and --tls-client-ca only with them")
    return args


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _threads(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads from 1 to 1024")
    return int(text)


def _grace(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return value
