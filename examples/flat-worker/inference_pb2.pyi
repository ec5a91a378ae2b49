# ruff: noqa
# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import (
    ClassVar as _ClassVar,
    Iterable as _Iterable,
    Mapping as _Mapping,
    Optional as _Optional,
    Union as _Union,
)

DESCRIPTOR: _descriptor.FileDescriptor

class InferRequest(_message.Message):
    __slots__ = ("features",)
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    features: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, features: _Optional[_Iterable[float]] = ...) -> None: ...

class InferResponse(_message.Message):
    __slots__ = ("label", "probabilities", "trained_epochs", "index", "origin")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    TRAINED_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    label: str
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    trained_epochs: int
    index: int
    origin: Origin
    def __init__(
        self,
        label: _Optional[str] = ...,
        probabilities: _Optional[_Iterable[float]] = ...,
        trained_epochs: _Optional[int] = ...,
        index: _Optional[int] = ...,
        origin: _Optional[_Union[Origin, _Mapping]] = ...,
    ) -> None: ...

class InferStreamRequest(_message.Message):
    __slots__ = ("inputs", "repeat", "interval_ms")
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    REPEAT_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    inputs: _containers.RepeatedCompositeFieldContainer[InferRequest]
    repeat: int
    interval_ms: int
    def __init__(
        self,
        inputs: _Optional[_Iterable[_Union[InferRequest, _Mapping]]] = ...,
        repeat: _Optional[int] = ...,
        interval_ms: _Optional[int] = ...,
    ) -> None: ...

class TrainRequest(_message.Message):
    __slots__ = ("epochs", "learning_rate", "report_every")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    REPORT_EVERY_FIELD_NUMBER: _ClassVar[int]
    epochs: int
    learning_rate: float
    report_every: int
    def __init__(
        self, epochs: _Optional[int] = ..., learning_rate: _Optional[float] = ..., report_every: _Optional[int] = ...
    ) -> None: ...

class TrainProgress(_message.Message):
    __slots__ = ("epoch", "epochs", "loss", "accuracy", "saved", "origin")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    saved: bool
    origin: Origin
    def __init__(
        self,
        epoch: _Optional[int] = ...,
        epochs: _Optional[int] = ...,
        loss: _Optional[float] = ...,
        accuracy: _Optional[float] = ...,
        saved: bool = ...,
        origin: _Optional[_Union[Origin, _Mapping]] = ...,
    ) -> None: ...

class Origin(_message.Message):
    __slots__ = ("generation", "instance", "release", "pid", "code_version")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    generation: str
    instance: str
    release: str
    pid: int
    code_version: str
    def __init__(
        self,
        generation: _Optional[str] = ...,
        instance: _Optional[str] = ...,
        release: _Optional[str] = ...,
        pid: _Optional[int] = ...,
        code_version: _Optional[str] = ...,
    ) -> None: ...
