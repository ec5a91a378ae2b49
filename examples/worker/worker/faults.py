# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Ways to misbehave on purpose, for tests of whatever supervises a worker. All are off unless asked for.

Each is a flag ``--test-NAME`` and a variable ``EW_TEST_NAME``; the flag wins. Seconds "after" count from the start of
the process.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any

import grpc

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faults:
    """What to do wrong; seconds are None, 0 or more."""

    listen_delay: float | None = None
    serving_delay: float | None = None
    exit_code: int | None = None
    exit_after: float | None = None
    crash_after_calls: int | None = None
    freeze_after: float | None = None
    hold_gil_after: float | None = None
    hold_threads_after: float | None = None
    ignore_sigterm: bool = False
    never_listen: bool = False
    not_serving: bool = False
    no_health: bool = False


_HELP = {
    "listen_delay": "seconds to wait before listening",
    "serving_delay": "seconds to listen before the service is SERVING, as a large model would",
    "exit_code": "exit with this code, at once unless --test-exit-after is given too",
    "exit_after": "exit after so many seconds, with code 1 unless --test-exit-code is given too",
    "crash_after_calls": "answer so many calls and abort (SIGABRT) on the next one; health calls do not count",
    "freeze_after": "stop the whole process (SIGSTOP) after so many seconds",
    "hold_gil_after": "hang in native code after so many seconds: the port accepts, SIGTERM and SIGCONT change nothing",
    "hold_threads_after": "hold every thread for calls after so many seconds, for ever",
    "ignore_sigterm": "go on serving after SIGTERM",
    "never_listen": "run, but never listen",
    "not_serving": "answer every health call with NOT_SERVING for ever",
    "no_health": "have no health service",
}


def add_arguments(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add a flag for each fault, its default taken from `environ`."""
    group = parser.add_argument_group("faults for tests", "all off by default; seconds count from the process's start")
    for name, text in _HELP.items():
        flag, variable = "--test-" + name.replace("_", "-"), "EW_TEST_" + name.upper()
        text = f"{text} [{variable}]"
        default = environ.get(variable) or None
        read, metavar = _kind(name)
        if read is _switch:
            group.add_argument(flag, nargs="?", const=True, default=default or False, type=_switch, metavar=metavar, help=text)
        else:
            group.add_argument(flag, default=default, type=read, metavar=metavar, help=text)


def from_arguments(args: argparse.Namespace) -> Faults:
    return Faults(**{field.name: getattr(args, "test_" + field.name) for field in fields(Faults)})


def exit_at_once(faults: Faults) -> None:
    if faults.exit_code is not None and faults.exit_after is None:
        _exit(faults.exit_code, "at once")


def arm(faults: Faults, pool: ThreadPoolExecutor, threads: int) -> None:
    """Start the clock of every fault that comes after some seconds."""
    code = 1 if faults.exit_code is None else faults.exit_code
    _later(faults.exit_after, lambda: _exit(code, f"after {faults.exit_after} s"))
    _later(faults.freeze_after, _freeze)
    _later(faults.hold_gil_after, _hold_gil)
    _later(faults.hold_threads_after, lambda: _hold_threads(pool, threads))


def interceptors(faults: Faults) -> Sequence[grpc.ServerInterceptor]:
    return () if faults.crash_after_calls is None else (CrashAfter(faults.crash_after_calls),)


class CrashAfter(grpc.ServerInterceptor):
    """Lets `calls` calls through; the next one ends the process by SIGABRT, without a core file."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self._lock = threading.Lock()

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        if not handler_call_details.method.startswith("/grpc.health."):
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    log.error("test fault: crashing in %s", handler_call_details.method)
                    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                    os.abort()
        return continuation(handler_call_details)


def _later(seconds: float | None, act: Callable[[], None]) -> None:
    if seconds is not None:
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()


def _exit(code: int, when: str) -> None:
    log.error("test fault: exiting %s with code %d", when, code)
    logging.shutdown()
    os._exit(code)


def _freeze() -> None:
    log.error("test fault: stopping this process by SIGSTOP")
    os.kill(os.getpid(), signal.SIGSTOP)


def _hold_gil() -> None:
    log.error("test fault: hanging in native code")
    # PyDLL keeps the interpreter's lock during the call; every signal is blocked in this thread, so pause never ends.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).pause()


def _hold_threads(pool: ThreadPoolExecutor, threads: int) -> None:
    log.error("test fault: holding all %d threads", threads)
    for _each in range(threads):
        pool.submit(threading.Event().wait)


def _kind(name: str) -> tuple[Callable[[str], object], str | None]:
    """The reader of a fault's value and the word that stands for it in the help."""
    declared = {field.name: str(field.type) for field in fields(Faults)}[name]
    if declared == "bool":
        return _switch, "BOOL"
    if declared.startswith("float"):
        return _seconds, "SECONDS"
    return (_code, "CODE") if name == "exit_code" else (_count, "N")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def _code(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} is not an exit code from 0 to 255")
    return int(text)


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(words)}")
    return words[text.lower()]
