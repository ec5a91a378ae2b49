# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One life of the worker: listen, load the model, serve, and stop when told to."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence

from worker import STOP_SIGNALS, checkpoint, faults, logs, options, server, service
from worker import inference_pb2 as pb2
from worker import inference_pb2_grpc as pb2_grpc
from worker.version import CODE_VERSION

EXIT_STOPPED = 0
EXIT_NO_FILE = 66  # sysexits.h: EX_NOINPUT
EXIT_NO_PORT = 69  # sysexits.h: EX_UNAVAILABLE
EXIT_LOAD_FAILED = 70  # sysexits.h: EX_SOFTWARE

# How long calls that were cut off at the end of the grace may take to put their things away.
CLEAN_UP_SECONDS = 0.5

log = logging.getLogger("worker.main")


def run(argv: Sequence[str]) -> None:
    """Live until one of `STOP_SIGNALS`, which every thread must have blocked; ends the process with its exit status."""
    args = options.parse(argv, os.environ)
    logs.configure(args.log_level)
    wrong = faults.from_arguments(args)
    faults.exit_at_once(wrong)
    calls = service.InferenceService(origin(os.environ), checkpoint.path_from(os.environ))
    grpc_server = server.Server(
        args.threads,
        lambda into: pb2_grpc.add_InferenceServiceServicer_to_server(calls, into),  # type: ignore[no-untyped-call]
        with_health=not wrong.no_health,
        interceptors=faults.interceptors(wrong),
    )
    faults.arm(wrong, grpc_server.pool, args.threads)
    status = serve(args, wrong, calls, grpc_server)
    logging.shutdown()
    # Not sys.exit: it waits for every thread of the pool, and one that never returns must not outlive the grace.
    os._exit(status)


def serve(args: argparse.Namespace, wrong: faults.Faults, calls: service.InferenceService, grpc_server: server.Server) -> int:
    """Listen, load, serve until told to stop; the exit status."""
    if wrong.never_listen or wrong.listen_delay:
        log.info("test fault: not listening %s", "at all" if wrong.never_listen else f"for {wrong.listen_delay} s")
        if wait_for_stop(wrong, None if wrong.never_listen else wrong.listen_delay):
            return EXIT_STOPPED
    grpc_server.set_health("", server.NOT_SERVING if wrong.not_serving else server.SERVING)
    grpc_server.set_health(service.NAME, server.NOT_SERVING)
    try:
        credentials = server.tls(args.tls_cert, args.tls_key, args.tls_client_ca)
        port = grpc_server.listen(args.bind, args.port, credentials)
    except OSError as error:
        log.error("cannot read %s: %s", error.filename, error.strerror)
        return EXIT_NO_FILE
    except server.PortError as error:
        log.error("%s", error)
        return EXIT_NO_PORT
    log.info("listening on %s port %d, pid %d, code version %s", args.bind, port, os.getpid(), CODE_VERSION)
    threading.Thread(target=load, args=(wrong, calls, grpc_server), name="load", daemon=True).start()
    wait_for_stop(wrong, None)
    stop(args, calls, grpc_server)
    return EXIT_STOPPED


def load(wrong: faults.Faults, calls: service.InferenceService, grpc_server: server.Server) -> None:
    """Load the model while the port is open already and health says NOT_SERVING; ends the process where it fails."""
    try:
        time.sleep(wrong.serving_delay or 0.0)
        calls.load()
    except Exception:
        log.exception("the model cannot be loaded")
        logging.shutdown()
        os._exit(EXIT_LOAD_FAILED)
    if not wrong.not_serving:
        grpc_server.set_health(service.NAME, server.SERVING)
        log.info("serving %s", service.NAME)


def stop(args: argparse.Namespace, calls: service.InferenceService, grpc_server: server.Server) -> None:
    began = time.monotonic()
    log.info("stopping: %d calls running, grace %g s, drain %g s", calls.calls.running, args.grace, args.drain)
    if grpc_server.stop(args.drain, args.grace):
        log.info("stopped after %.1f s: every call finished", time.monotonic() - began)
        return
    log.warning("the grace of %g s is over: cutting off %d calls", args.grace, calls.calls.running)
    grpc_server.cut_off()
    calls.calls.wait_until_none(CLEAN_UP_SECONDS)


def wait_for_stop(wrong: faults.Faults, seconds: float | None) -> bool:
    """Whether a stop signal came within `seconds` (None: wait until it does)."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        if end is None:
            number = signal.sigwait(STOP_SIGNALS)
        else:
            caught = signal.sigtimedwait(STOP_SIGNALS, max(0.0, end - time.monotonic()))
            if caught is None:
                return False
            number = signal.Signals(caught.si_signo)
        if not (wrong.ignore_sigterm and number == signal.SIGTERM):
            log.info("got %s", signal.Signals(number).name)
            return True
        log.warning("test fault: ignoring SIGTERM")


def origin(environ: Mapping[str, str]) -> pb2.Origin:
    return pb2.Origin(
        generation=environ.get("EW_GENERATION", ""),
        instance=environ.get("EW_INSTANCE", ""),
        release=environ.get("EW_RELEASE", ""),
        pid=os.getpid(),
        code_version=CODE_VERSION,
    )
