# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker that tries everything and tells what it could do, in ``confined.json`` of its state directory.

It runs on the hosts as the module ``worker.main``, with their own Python and nothing else: see test_confinement.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import mmap
import multiprocessing
import os
import pathlib
import resource
import signal
import socket
import stat
import subprocess
import threading
import time
import typing as t
from multiprocessing import shared_memory

LIBC = ctypes.CDLL(None, use_errno=True)
STATE = pathlib.Path(os.environ.get("EW_STATE_DIR", "."))
CACHES = ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME")
# mov eax, 42; ret
MACHINE_CODE = b"\xb8\x2a\x00\x00\x00\xc3"
MIB = 1 << 20


def called(result: int) -> None:
    """Raise the error of a call of the C library that failed."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def executable_memory() -> None:
    with contextlib.closing(mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)) as page:
        page.write(MACHINE_CODE)
        view = ctypes.c_char.from_buffer(page)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(view))
        answer = function() if os.uname().machine == "x86_64" else 42
        del view
        assert answer == 42, answer


def shared_memory_of_processes() -> None:
    block = shared_memory.SharedMemory(create=True, size=MIB)
    lock = multiprocessing.get_context("fork").Semaphore(1)
    pid = os.fork()
    if pid == 0:
        with lock:
            block.buf[0] = 7
        os._exit(0)
    os.waitpid(pid, 0)
    with lock:
        assert block.buf[0] == 7
    block.close()
    block.unlink()


def shared_memory_of_system_v() -> None:
    called(LIBC.shmget(0, MIB, 0o600 | 0o1000))


def big_caches() -> None:
    for name in CACHES:
        directory = pathlib.Path(os.environ[name])
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "weights.bin").open("wb") as out:
            for _each in range(50 if name == "HF_HOME" else 1):
                out.write(bytes(MIB))


def threads_and_programs() -> None:
    started = [threading.Thread(target=time.sleep, args=(0.1,)) for _each in range(20)]
    for each in started:
        each.start()
    subprocess.run(["/bin/true"], check=True)
    for each in started:
        each.join()


def serve() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        socket.create_connection(("127.0.0.1", server.getsockname()[1]), 5).close()


def processors_and_memory() -> None:
    assert "MemTotal" in pathlib.Path("/proc/meminfo").read_text()
    assert pathlib.Path("/sys/devices/system/cpu/online").read_text()


def private(path: str) -> None:
    pathlib.Path(path, "from-the-worker").write_text("x")
    # Put there by the test.
    assert not pathlib.Path(path, "from-outside").exists()


def trace() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0 if LIBC.ptrace(0, 0, 0, 0) == 0 else 1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise PermissionError


def become_root() -> None:
    # A copy of id with the setuid bit, put there by the test.
    if subprocess.run(["/srv/id", "-u"], capture_output=True, text=True, check=True).stdout.strip() != "0":
        raise PermissionError


def make_setuid() -> None:
    path = STATE / "setuid"
    path.write_text("")
    path.chmod(0o4755)
    if not path.stat().st_mode & stat.S_ISUID:
        raise PermissionError


def raw_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()


def packet_socket() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def netlink_socket() -> None:
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


def mount() -> None:
    called(LIBC.mount(b"none", b"/mnt", b"tmpfs", 0, None))


def new_namespace() -> None:
    # CLONE_NEWUSER
    called(LIBC.unshare(0x10000000))


def kernel_module() -> None:
    # init_module(2)
    called(LIBC.syscall({"x86_64": 175, "aarch64": 105}[os.uname().machine], 0, 0, b""))


def processes_of_others() -> None:
    if not pathlib.Path("/proc/1").exists():
        raise PermissionError


TRIES: dict[str, t.Callable[[], None]] = {
    each.__name__: each
    for each in (
        executable_memory, shared_memory_of_processes, shared_memory_of_system_v, big_caches, threads_and_programs, serve, processors_and_memory,
        trace, become_root, make_setuid, raw_socket, packet_socket, netlink_socket, mount, new_namespace, kernel_module, processes_of_others,
    )
}  # fmt: skip
TRIES["private_tmp"] = lambda: private("/tmp")
TRIES["private_var_tmp"] = lambda: private("/var/tmp")


def could(attempt: t.Callable[[], None]) -> bool:
    try:
        attempt()
    except (OSError, AssertionError, subprocess.SubprocessError):
        return False
    return True


def writable() -> list[str]:
    """The topmost of all directories and files on the machine that this process may write, but for its own entries in /proc."""
    found = []
    for top, directories, files in os.walk("/"):
        if os.access(top, os.W_OK):
            found.append(top)
            directories.clear()
            continue
        if top == "/proc":
            directories[:] = [name for name in directories if not name.isdigit() and name not in ("self", "thread-self")]
        paths = (os.path.join(top, name) for name in files)
        found += [path for path in paths if not os.path.islink(path) and stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.W_OK)]
    return sorted(found)


def readable(paths: t.Iterable[str]) -> list[str]:
    return [path for path in paths if os.access(path, os.R_OK)]


def opened(pattern: str) -> list[str]:
    """The device nodes of that pattern which are there and can be opened."""
    found = []
    for path in sorted(pathlib.Path("/dev").glob(pattern)):
        with contextlib.suppress(OSError), path.open("rb"):
            found.append(str(path))
    return found


def use_memory() -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1) * (4 * MIB)))
        time.sleep(0.01)


def use_processor() -> None:
    """Two processes that do nothing else for three seconds; the share of the time that they got is told in state."""
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    pid = os.fork()
    if pid == 0:
        while time.monotonic() - began < 3:
            pass
        os._exit(0)
    while time.monotonic() - began < 3:
        pass
    os.waitpid(pid, 0)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds = end.ru_utime + end.ru_stime - used.ru_utime - used.ru_stime + own.ru_utime + own.ru_stime
    tell("limits.json", {"cores": seconds / (time.monotonic() - began), **limits()})


def limits() -> dict[str, t.Any]:
    forks: list[int] = []
    with contextlib.suppress(OSError):
        while len(forks) < 200:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            forks.append(pid)
    for pid in forks:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    files = []
    with contextlib.suppress(OSError):
        while len(files) < 2000:
            files.append(open("/dev/null", "rb"))  # noqa: SIM115
    for each in files:
        each.close()
    page = mmap.mmap(-1, 8 * MIB)
    locked = LIBC.mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page))), ctypes.c_size_t(8 * MIB)) == 0
    return {"forks": len(forks), "files": len(files), "locked_8_mib": locked}


def tell(name: str, what: t.Any) -> None:
    part = STATE / f".{name}"
    part.write_text(json.dumps(what))
    part.rename(STATE / name)


def main() -> None:
    given = argparse.ArgumentParser()
    given.add_argument("--port")
    given.parse_args()
    todo = os.environ["TODO"]
    if todo == "memory":
        use_memory()
    if todo == "limits":
        use_processor()
    if todo == "try":
        asked = os.environ.get("READABLE", "").split(":")
        results = {name: could(attempt) for name, attempt in TRIES.items()}
        key = pathlib.Path(os.environ["EW_TLS_KEY"]).read_text()
        tell("confined.json", {"could": results, "writable": writable(), "readable": readable(asked), "nodes": opened("nvidia*"), "key": key})
    signal.pause()


if __name__ == "__main__":
    main()
