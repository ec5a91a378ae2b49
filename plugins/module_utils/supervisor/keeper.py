# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Keeps the restart policy of instances under supervisord. Copied to the host and run there as its event listener.

supervisord alone restarts a crashing process for ever once it has stayed up for a moment. Here supervisord restarts
nothing; this listener starts a process that ended again after ``delay`` seconds, at most ``burst`` starts within
``window`` seconds as systemd counts them, and then leaves it failed with a reason. What it knows stands in
``keeper.json``, which a deploy changes too: both hold ``keeper.lock`` from reading to writing.

Needs the standard library only, and imports nothing of this collection, because it is one file on the host.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import select
import signal
import socket
import sys
import time
import typing as t
import xmlrpc.client

FAILED = "start-limit-hit"
# supervisord's states of a process.
STOPPED, EXITED = 0, 100
# Seconds. Who holds the lock reads and writes a small file, and starts a process at most.
LOCK_TIMEOUT = 60.0
_POLL = 0.02
_NEW: dict[str, t.Any] = {"enabled": False, "held": False, "restarts": 0, "starts": [], "due": None, "failed": ""}

Entry = dict[str, t.Any]


class UnixConnection(http.client.HTTPConnection):
    """To whoever listens on the socket file. timeout: seconds for each step."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path, self._timeout = path, timeout

    def make_connection(self, host: t.Any) -> http.client.HTTPConnection:
        return UnixConnection(self._path, self._timeout)


def connect(path: str, timeout: float = 30.0) -> t.Any:
    """The ``supervisor`` namespace of the supervisord that listens on the socket. timeout: seconds for each call."""
    return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_UnixTransport(path, timeout)).supervisor


@contextlib.contextmanager
def entries(directory: str) -> t.Iterator[dict[str, Entry]]:
    """What is known of each instance, by name, to be read and changed within the block; written at its end if changed.

    Raises TimeoutError where somebody else does the same for too long.
    """
    path = os.path.join(directory, "keeper.lock")
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Who can open it can hold it for ever.
        os.fchmod(lock, 0o600)
        _take(lock, path)
        known = read_entries(directory)
        before = json.dumps(known, sort_keys=True)
        yield known
        after = json.dumps(known, sort_keys=True)
        if after != before:
            path = os.path.join(directory, "keeper.json")
            with open(f"{path}.new", "w", encoding="utf-8") as handle:
                handle.write(after)
            os.replace(f"{path}.new", path)
    finally:
        os.close(lock)


def _take(lock: int, path: str) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, f"another process held it for {LOCK_TIMEOUT:g} s", path) from None
        time.sleep(_POLL)


def read_entries(directory: str) -> dict[str, Entry]:
    """What is known of each instance; nothing where the file is absent or broken."""
    try:
        with open(os.path.join(directory, "keeper.json"), encoding="utf-8") as handle:
            known = json.load(handle)
    except (FileNotFoundError, ValueError):
        return {}
    return {name: {**_NEW, **entry} for name, entry in known.items() if isinstance(entry, dict)} if isinstance(known, dict) else {}


def new_entry(**values: t.Any) -> Entry:
    """An entry of an instance that nothing is known of yet."""
    return {**_NEW, "starts": [], **values}


def restart_in(text: str) -> t.Optional[dict[str, t.Any]]:
    """The policy, delay, burst and window of an instance file, None for anything that this could not go by."""
    try:
        value = json.loads(text)["restart"]
        numbers = [value[name] for name in ("delay", "burst", "window")]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    plain = all(isinstance(number, (int, float)) and not isinstance(number, bool) and 0 <= number < float("inf") for number in numbers)
    return value if plain and value["policy"] in ("always", "on-failure", "no") else None


def comes_back(entry: Entry, restart: t.Optional[t.Mapping[str, t.Any]], clean: bool) -> bool:
    """Whether a process that ended by itself is to be started again, now or later."""
    return (
        restart is not None
        and not entry["held"]
        and not entry["failed"]
        and (restart["policy"] == "always" or (restart["policy"] == "on-failure" and not clean))
    )


def after_exit(entry: Entry, restart: t.Mapping[str, t.Any], clean: bool, now: float) -> Entry:
    """The entry after its process ended by itself. restart: policy, delay, burst, window; clean: it exited with 0."""
    if not comes_back(entry, restart, clean):
        return {**entry, "due": None}
    # A start that is still to come was noted before the clock was set back.
    starts = [start for start in entry["starts"] if now - restart["window"] < start <= now]
    if len(starts) >= restart["burst"]:
        reason = f"{len(starts)} starts within {restart['window']:g} s, the limit of restart.burst"
        return {**entry, "starts": starts, "due": None, "failed": reason}
    return {**entry, "starts": starts, "due": now + restart["delay"]}


def after_restart(entry: Entry, now: float) -> Entry:
    """The entry once the process was started again."""
    return {**entry, "due": None, "restarts": entry["restarts"] + 1, "starts": [*entry["starts"], now]}


class Keeper:
    """The event loop of the listener over the directory that holds ``keeper.json`` and ``instances/``."""

    def __init__(self, directory: str, supervisor: t.Any) -> None:
        self._directory = directory
        self._supervisor = supervisor

    def look_around(self) -> None:
        """Catch up with what happened while no listener ran: instances to be started at the start, and those that ended."""
        for info in self._supervisor.getAllProcessInfo():
            name = instance_of(info["name"])
            if name is None:
                continue
            if info["state"] == STOPPED and not info["start"]:
                self._start_enabled(name, info["name"])
            elif info["state"] == EXITED:
                self.ended(info["name"], 0, info["exitstatus"] == 0)

    def ended(self, process: str, pid: int, clean: bool) -> None:
        """A process ended by itself."""
        name = instance_of(process)
        if name is None:
            return
        end_group(pid, name)
        restart = self._restart_of(name)
        with entries(self._directory) as known:
            entry = known.get(name, new_entry())
            if restart is not None and not entry["failed"] and entry["due"] is None:
                known[name] = after_exit(entry, restart, clean, time.time())

    def start_due(self) -> t.Optional[float]:
        """Start what is due. Returns the seconds until the next one, None where none waits."""
        with entries(self._directory) as known:
            waiting = []
            for name, entry in known.items():
                if entry["due"] is None:
                    continue
                # Where the clock was set back, what is due could be years away.
                left = min(entry["due"] - time.time(), (self._restart_of(name) or {}).get("delay", float("inf")))
                if left > 0:
                    entry["due"] = min(entry["due"], time.time() + left)
                    waiting.append(left)
                elif entry["held"]:
                    entry["due"] = None
                else:
                    known[name] = after_restart(entry, time.time())
                    self._start(self._process_of(name))
            return min(waiting) if waiting else None

    def _start_enabled(self, name: str, process: str) -> None:
        with entries(self._directory) as known:
            entry = known.get(name, new_entry())
            if entry["enabled"]:
                known[name] = {**entry, "held": False, "due": None, "failed": "", "starts": [time.time()]}
                self._start(process)

    def _start(self, process: str) -> None:
        try:
            self._supervisor.startProcess(process, False)
        except xmlrpc.client.Fault as fault:
            # It runs already, it was removed, or supervisord shuts down: nothing is left to do in any of them.
            sys.stderr.write(f"{process} was not started: {fault.faultString}\n")

    def _process_of(self, name: str) -> str:
        return f"{os.path.basename(os.path.dirname(self._directory))}@{name}"

    def _restart_of(self, name: str) -> t.Optional[t.Mapping[str, t.Any]]:
        try:
            with open(os.path.join(self._directory, "instances", f"{name}.json"), encoding="utf-8") as handle:
                return restart_in(handle.read())
        except (FileNotFoundError, UnicodeDecodeError):
            return None


def instance_of(process: str) -> t.Optional[str]:
    """``0`` for ``ew-worker@0``; None for a process that is no instance."""
    return process.split("@", 1)[1] if "@" in process else None


def end_group(pid: int, instance: str) -> None:
    """Kill what the ended process left behind in its group, as systemd does: it may still hold the port or a GPU."""
    mark = f"EW_INSTANCE={instance}".encode()
    for each in os.listdir("/proc"):
        try:
            if pid and each.isdigit() and os.getpgid(int(each)) == pid:
                with open(f"/proc/{each}/environ", "rb") as handle:
                    ours = mark in handle.read().split(b"\0")
                if ours:
                    os.kill(int(each), signal.SIGKILL)
        except OSError:
            continue


def read_event(stream: t.BinaryIO) -> t.Optional[tuple[str, dict[str, str]]]:
    """The next event's name and values; None at the end of the stream."""
    header = stream.readline()
    if not header:
        return None
    fields = dict(word.split(":", 1) for word in header.decode().split())
    body = b""
    while len(body) < int(fields["len"]):
        part = stream.read(int(fields["len"]) - len(body))
        if not part:
            return None
        body += part
    return fields["eventname"], dict(word.split(":", 1) for word in body.decode().split("\n")[0].split() if ":" in word)


def main(directory: str, socket_path: str) -> int:
    """Serve events until supervisord closes the stream."""
    keeper = Keeper(directory, connect(socket_path))
    stream = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    keeper.look_around()
    os.write(1, b"READY\n")
    while True:
        due = keeper.start_due()
        if not select.select([stream], [], [], due)[0]:
            continue
        event = read_event(stream)
        if event is None:
            return 0
        name, values = event
        process, pid = values["processname"], int(values.get("pid", "0"))
        if name == "PROCESS_STATE_EXITED":
            keeper.ended(process, pid, values.get("expected") == "1")
        elif instance_of(process):
            end_group(pid, process.split("@", 1)[1])
        os.write(1, b"RESULT 2\nOKREADY\n")


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
