# Copyright (c) 2026, EW AI
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The committed protobuf code says what the proto file says, and both example workers have the same."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import types
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from worker import inference_pb2 as pb2
from worker import inference_pb2_grpc as pb2_grpc

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
WORKER = EXAMPLES / "worker"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorProto:
    """The proto file as the installed grpcio-tools, whatever its version is, understands it."""
    out = tmp_path_factory.mktemp("compiled") / "set"
    argv = [sys.executable, "-m", "grpc_tools.protoc", f"-I{WORKER}", f"--descriptor_set_out={out}", "worker/inference.proto"]
    subprocess.run(argv, check=True)
    found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]
    for message in found.message_type:
        for field in message.field:
            # protoc leaves it in descriptor sets and out of the code that it generates; it follows from the name
            field.ClearField("json_name")
    return found


@pytest.fixture(scope="module")
def generate() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("example_generate", WORKER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_messages_are_those_of_the_proto_file(compiled: descriptor_pb2.FileDescriptorProto) -> None:
    assert descriptor_pb2.FileDescriptorProto.FromString(pb2.DESCRIPTOR.serialized_pb) == compiled


def message_of(from_string: object) -> str:
    """The full name of the message that a deserializer makes (serializers do not tell theirs)."""
    (name,) = [name for name in pb2.DESCRIPTOR.message_types_by_name if from_string == getattr(pb2, name).FromString]
    return f".ew.ai.v1.{name}"


class Recorder:
    """A channel and a server that only note what the generated code asks of them: calls by path."""

    def __init__(self) -> None:
        self.called: dict[str, tuple[str, bool]] = {}
        self.handlers: list[grpc.GenericRpcHandler] = []

    def unary_unary(self, path: str, request_serializer: object, response_deserializer: object) -> None:
        self.called[path] = (message_of(response_deserializer), False)

    def unary_stream(self, path: str, request_serializer: object, response_deserializer: object) -> None:
        self.called[path] = (message_of(response_deserializer), True)

    def add_generic_rpc_handlers(self, handlers: tuple[grpc.GenericRpcHandler, ...]) -> None:
        self.handlers += handlers


def test_calls_are_those_of_the_proto_file(compiled: descriptor_pb2.FileDescriptorProto) -> None:
    (service,) = compiled.service
    wanted = {f"/ew.ai.v1.{service.name}/{method.name}": method for method in service.method}
    seen = Recorder()
    pb2_grpc.InferenceServiceStub(seen)  # type: ignore[no-untyped-call]
    assert seen.called == {path: (method.output_type, method.server_streaming) for path, method in wanted.items()}

    pb2_grpc.add_InferenceServiceServicer_to_server(pb2_grpc.InferenceServiceServicer(), seen)  # type: ignore[no-untyped-call]
    (handlers,) = seen.handlers
    for path, method in wanted.items():
        handler = handlers.service(types.SimpleNamespace(method=path))
        assert handler is not None, path
        assert (message_of(handler.request_deserializer), handler.response_streaming) == (method.input_type, method.server_streaming)


def test_type_stubs_name_every_field(compiled: descriptor_pb2.FileDescriptorProto) -> None:
    text = (WORKER / "worker" / "inference_pb2.pyi").read_text("utf-8")
    for message in compiled.message_type:
        body = re.search(rf"^class {message.name}\(.*?(?=^class |\Z)", text, re.DOTALL | re.MULTILINE)
        assert body is not None, message.name
        for field in message.field:
            assert re.search(rf"^    {field.name}: ", body[0], re.MULTILINE), f"{message.name}.{field.name}"


@pytest.mark.parametrize("name", ["inference.proto", "inference_pb2.py", "inference_pb2.pyi", "inference_pb2_grpc.py"])
def test_the_flat_worker_has_the_same_files(name: str) -> None:
    assert (EXAMPLES / "flat-worker" / name).read_bytes() == (WORKER / "worker" / name).read_bytes()


def test_a_long_literal_is_wrapped_and_stays_the_same(generate: types.ModuleType) -> None:
    value = bytes(range(256))
    wrapped = generate.wrap(repr(value))
    assert eval(f"({wrapped})") == value
    assert max(map(len, wrapped.splitlines())) < 110


def test_other_tools_are_refused_by_name(generate: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "TOOLS", {"grpcio-tools": "0.0.1", "no-such-tool": "2"})
    assert re.fullmatch(r"grpcio-tools 0\.0\.1 is needed, found \d\S+; no-such-tool 2 is needed, found none", generate.wrong_tools())


def test_the_code_version_is_one_line() -> None:
    (line,) = (WORKER / "worker" / "version.py").read_text("utf-8").splitlines()
    assert re.match(r'CODE_VERSION = "\S+"', line)
