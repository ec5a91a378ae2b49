# Copyright (c) 2026, EW AI
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Make ``inference_pb2*.py`` and ``.pyi`` from ``inference.proto``, for this worker and for the flat one.

    uv run --no-project --python 3.11 --with grpcio-tools==1.62.3 --with ruff==0.17.6 python generate.py [--check]

grpcio-tools 1.62.3 on purpose: code of later ones refuses every protobuf and grpcio older than themselves, and protobuf
refuses code of a major version long past. What 1.62.3 writes runs with protobuf 4.25 to 7 and grpcio 1.62 and later.
The output is then laid out like the rest of the project, so that its style checks need no exception.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

TOOLS = {"grpcio-tools": "1.62.3", "ruff": "0.17.6"}
HERE = Path(__file__).resolve().parent
PROTO = "worker/inference.proto"
FLAT = HERE.parent / "flat-worker"
NAMES = ("inference_pb2.py", "inference_pb2.pyi", "inference_pb2_grpc.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that differ")
    args = parser.parse_args()
    wrong = wrong_tools()
    if wrong:
        print(f"error: {wrong}; run it as the first lines of {Path(__file__).name} say", file=sys.stderr)
        return 2
    different = [path for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in different:
        print(f"{'differs' if args.check else 'written'}: {path.relative_to(HERE.parent)}")
    if args.check:
        return 1 if different else 0
    for path, text in generated().items():
        path.write_text(text, "utf-8")
    return 0


def wrong_tools() -> str:
    """What is missing or of another version than `TOOLS`; empty where all is right."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return "; ".join(f"{name} {TOOLS[name]} is needed, found {found[name]}" for name in TOOLS if found[name] != TOOLS[name])


def generated() -> dict[Path, str]:
    """Each file to write and its text."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        flags = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "pyi")]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}", *flags, PROTO], check=True)
        texts = {name: tidy((out / "worker" / name).read_text("utf-8"), name) for name in NAMES}
    proto = (HERE / PROTO).read_text("utf-8")
    return {
        **{HERE / "worker" / name: text for name, text in texts.items()},
        **{FLAT / name: text for name, text in texts.items()},
        FLAT / "inference.proto": proto,
    }


def tidy(text: str, name: str) -> str:
    """The same code, at most 120 wide, indented by four; type checkers and linters are told to pass it by."""
    text = re.sub(r"AddSerializedFile\((b'.*')\)", lambda match: f"AddSerializedFile({wrap(match[1])})", text)
    text = text.replace("_USE_C_DESCRIPTORS == False", "_USE_C_DESCRIPTORS is False")
    head = "# ruff: noqa\n# mypy: ignore-errors\n"
    ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", f"--stdin-filename={name}", "-"]
    return head + subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout


def wrap(literal: str, size: int = 24) -> str:
    """A bytes literal as several, joined by juxtaposition, each of `size` bytes."""
    value: bytes = ast.literal_eval(literal)
    return "\n".join(repr(value[start : start + size]) for start in range(0, len(value), size))


if __name__ == "__main__":
    sys.exit(main())
