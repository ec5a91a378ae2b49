# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Call a worker: ``python -m worker.client infer``."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from worker import inference_pb2 as pb2
from worker import inference_pb2_grpc as pb2_grpc
from worker import load

EXIT_OK = 0
EXIT_FAILED = 1

EPILOG = """\
exit status:
  0 every call was answered; 1 a call failed, or was lost under load; 2 wrong arguments

examples:
  python -m worker.client infer --features 0.3 -0.4
  python -m worker.client --address 192.0.2.10:50051 train --epochs 300
  python -m worker.client --json load --seconds 30 --callers 8
"""

ADVICE = {
    grpc.StatusCode.UNAVAILABLE: "is the worker running there, and serving yet?",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the worker is busy or frozen, or --timeout is too short",
    grpc.StatusCode.UNIMPLEMENTED: "another service answers there",
}

# Quick to notice a restarted worker, never through a proxy meant for the web, and a connection for each channel.
CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    if args.verb == "load":
        return run_load(args)
    try:
        with connect(args.address, credentials(args), args.tls_server_name) as channel:
            for number, answer in enumerate(call(args, channel)):
                show(answer, first=number == 0, as_json=args.json, as_rows=args.verb != "infer")
    except grpc.RpcError as error:
        advice = ADVICE.get(error.code())
        print(
            f"error: {args.verb} at {args.address}: {error.code().name}: {error.details()}" + (f" ({advice})" if advice else ""),
            file=sys.stderr,
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_FAILED
    return EXIT_OK


def connect(address: str, tls: grpc.ChannelCredentials | None = None, server_name: str = "") -> grpc.Channel:
    """tls: None for plain text; server_name: what the certificate is for, where that is not the address."""
    if tls is None:
        return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    named = [("grpc.ssl_target_name_override", server_name)] if server_name else []
    return grpc.secure_channel(address, tls, options=[*CHANNEL_OPTIONS, *named])


def credentials(args: argparse.Namespace) -> grpc.ChannelCredentials | None:
    """What --tls-* ask for."""
    if not args.tls_ca:
        return None
    ca, key, cert = (Path(each).read_bytes() if each else None for each in (args.tls_ca, args.tls_key, args.tls_cert))
    return grpc.ssl_channel_credentials(ca, key, cert)


def call(args: argparse.Namespace, channel: grpc.Channel) -> Iterable[Message]:
    """The answers of one infer, stream or train."""
    stub = pb2_grpc.InferenceServiceStub(channel)  # type: ignore[no-untyped-call]
    how = {"timeout": args.timeout, "wait_for_ready": args.wait_for_ready}
    if args.verb == "infer":
        return [stub.Infer(pb2.InferRequest(features=args.features), **how)]
    answers: Iterable[Message]
    if args.verb == "stream":
        inputs = [pb2.InferRequest(features=args.features)]
        wanted = pb2.InferStreamRequest(inputs=inputs, repeat=args.repeat, interval_ms=args.interval_ms)
        answers = stub.InferStream(wanted, **how)
    else:
        asked = pb2.TrainRequest(epochs=args.epochs, learning_rate=args.learning_rate, report_every=args.report_every)
        answers = stub.Train(asked, **how)
    return answers


def run_load(args: argparse.Namespace) -> int:
    tls = credentials(args)
    seen = load.run(lambda: connect(args.address, tls, args.tls_server_name), args.seconds, args.callers, args.streams, args.timeout, args.wait_for_ready)
    if args.json:
        print(json.dumps(seen))
    else:
        print_pairs(seen)
    return EXIT_OK if seen["calls"] and not seen["lost"] else EXIT_FAILED


def show(answer: Message, first: bool, as_json: bool, as_rows: bool) -> None:
    """Print an answer: a JSON object a line, a row of a table (its head before the first), or one field a line."""
    fields = as_dict(answer)
    if as_json:
        print(json.dumps(fields), flush=True)
    elif as_rows:
        origin = fields.pop("origin")
        fields["generation"], fields["pid"] = origin["generation"] or "-", origin["pid"]
        if first:
            print("  ".join(f"{name:>14}" for name in fields))
        print("  ".join(f"{text(value):>14}" for value in fields.values()), flush=True)
    else:
        print_pairs(fields)


def as_dict(answer: Message) -> dict[str, Any]:
    """Every field in the order of the proto file, numbers as numbers (protobuf's own JSON makes 64-bit ones texts)."""
    fields: dict[str, Any] = {}
    for field in answer.DESCRIPTOR.fields:
        value = getattr(answer, field.name)
        if isinstance(value, Message):
            value = as_dict(value)
        fields[field.name] = value if isinstance(value, (str, bool, int, float, dict)) else list(value)
    return fields


def print_pairs(fields: dict[str, object]) -> None:
    for name, value in fields.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {text(one)}" for key, one in value.items() if one != "") or "-"
        print(f"{name:<18} {text(value)}")


def text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(text(one) for one in value)
    return str(value) if value not in ("", None) else "-"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m worker.client",
        description="Call ew.ai.v1.InferenceService.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--address", default="127.0.0.1:50051", help="host:port of the worker (default: 127.0.0.1:50051)")
    parser.add_argument("--timeout", type=_positive, metavar="SECONDS", help="for one call (default: 10; train 600)")
    parser.add_argument("--wait-for-ready", action="store_true", help="wait for a connection instead of failing without one")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")
    parser.add_argument("--tls-ca", default="", metavar="FILE", help="PEM file with the authorities that signed the worker's certificate; turns TLS on")
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="PEM file with the caller's certificate, where the worker wants one")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="PEM file with its key")
    parser.add_argument("--tls-server-name", default="", metavar="NAME", help="what the certificate is for, where it is not the address")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    infer = verbs.add_parser("infer", help="classify one point")
    stream = verbs.add_parser("stream", help="classify a point several times, as a stream")
    for verb in (infer, stream):
        verb.add_argument("--features", type=float, nargs="+", default=[0.3, -0.4], metavar="X", help="two coordinates (default: 0.3 -0.4)")
    stream.add_argument("--repeat", type=_count, default=5, help="how many responses (default: 5)")
    stream.add_argument("--interval-ms", type=_count, default=200, help="between two responses (default: 200)")
    train = verbs.add_parser("train", help="train the model that serves, and watch its loss")
    train.add_argument("--epochs", type=_count, default=200, help="passes over the data (default: 200)")
    train.add_argument("--learning-rate", type=_positive, default=0.1, help="at most 2 (default: 0.1)")
    train.add_argument("--report-every", type=_count, default=0, metavar="EPOCHS", help="(default: a tenth of the epochs)")
    many = verbs.add_parser("load", help="call for some time and count lost calls and the longest gap")
    many.add_argument("--seconds", type=_seconds, default=5.0, help="how long; 0 until SIGTERM or SIGINT (default: 5)")
    many.add_argument("--callers", type=_count, default=4, help="callers of infer, side by side (default: 4)")
    many.add_argument("--streams", type=_count, default=0, help="callers of two-second streams beside them (default: 0)")
    args = parser.parse_args(argv)
    args.timeout = args.timeout or (600.0 if args.verb == "train" else 10.0)
    if args.verb == "load" and args.callers + args.streams == 0:
        parser.error("--callers and --streams are both 0: nobody would call")
    return args


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) > 2**32 - 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number, 0 or more")
    return int(value)


def _seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if number < 0 or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number, 0 or more")
    return number


def _positive(value: str) -> float:
    number = _seconds(value)
    if number == 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not over 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
