# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes ``.venv`` from a pinned requirements file: ``python3 tools/venv.py deploy|test``.

Standard library only, since it runs before anything is installed. A stamp holds what was installed, so a second run
costs a few milliseconds. pip does the work: its own configuration (mirrors, certificates, PIP_* variables) stays in force.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
OLDEST = (3, 11)
PIP = ("-m", "pip", "--disable-pip-version-check", "install", "-qq", "--require-hashes", "--no-deps")


class VenvError(Exception):
    """What is missing and what to do, in one line."""


def main() -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Make .venv from pinned requirements.")
    parser.add_argument("name", choices=("deploy", "test"), help="which requirements/<name>.txt")
    parser.add_argument("--path", type=pathlib.Path, default=CHECKOUT / ".venv", help="where (default: .venv of the checkout)")
    arguments = parser.parse_args()
    try:
        ensure(arguments.path.resolve(), CHECKOUT / "requirements" / f"{arguments.name}.txt")
    except VenvError as error:
        print(f"make venv: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake venv: interrupted; the same command goes on.", file=sys.stderr)
        return 130
    return 0


def ensure(venv: pathlib.Path, requirements: pathlib.Path) -> None:
    """Make the environment, or bring it up to the requirements, unless its stamp says that it has them."""
    if sys.version_info < OLDEST:
        raise VenvError(f"Python {OLDEST[0]}.{OLDEST[1]} or newer is needed, this is {sys.version.split()[0]} ({sys.executable}).")
    stamp = venv / f".installed-{requirements.stem}"
    if stamp.is_file() and works(venv) and stamp.read_text() == fingerprint(venv, requirements):
        return
    start = time.monotonic()
    if not works(venv):
        create(venv)
    stamp.unlink(missing_ok=True)
    print(f"Installing requirements/{requirements.name} into {venv.name} …", flush=True)
    done = subprocess.run([str(python(venv)), *PIP, "-r", str(requirements)], check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise VenvError(f"pip could not install {requirements.name}; its message is above. It needs a package index (pip config list shows yours).")
    stamp.write_text(fingerprint(venv, requirements))
    print(f"… done in {time.monotonic() - start:.0f} s.", flush=True)


def create(venv: pathlib.Path) -> None:
    """A new, empty environment of the running interpreter."""
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise VenvError(f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: apt-get install {package}")
    if venv.exists() and not (venv / "pyvenv.cfg").is_file() and any(venv.iterdir()):
        raise VenvError(f"{venv} is there and is no virtual environment. Move it away.")
    shutil.rmtree(venv, ignore_errors=True)
    # sys._base_executable: an environment made from within another one would break with it
    base = getattr(sys, "_base_executable", None) or sys.executable
    done = subprocess.run([base, "-m", "venv", str(venv)], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise VenvError(f"{base} -m venv {venv} failed: {(done.stderr or done.stdout).strip()}")


def works(venv: pathlib.Path) -> bool:
    """Whether it is an environment whose interpreter is still there, at the place where it was made."""
    config = venv / "pyvenv.cfg"
    if not (config.is_file() and python(venv).exists()):
        return False
    pip = venv / "bin" / "pip"
    return pip.is_file() and str(python(venv)) in pip.read_text(errors="replace")[:4096]


def python(venv: pathlib.Path) -> pathlib.Path:
    """Its interpreter."""
    return venv / "bin" / "python"


def fingerprint(venv: pathlib.Path, requirements: pathlib.Path) -> str:
    """What the stamp holds: changes with the place, the interpreter and the requirements."""
    parts = (str(venv), (venv / "pyvenv.cfg").read_text(), requirements.read_text())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
