from numcheck.v1 import number_pb2 as _number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CheckNumberRequest(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: str
    def __init__(self, number: _Optional[str] = ...) -> None: ...

class CheckNumberResponse(_message.Message):
    __slots__ = ("status", "number", "serving_operator", "range_holder", "ported", "region", "index_version")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SERVING_OPERATOR_FIELD_NUMBER: _ClassVar[int]
    RANGE_HOLDER_FIELD_NUMBER: _ClassVar[int]
    PORTED_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    status: _number_pb2.NumberStatus
    number: int
    serving_operator: _number_pb2.Operator
    range_holder: _number_pb2.Operator
    ported: bool
    region: str
    index_version: int
    def __init__(self, status: _Optional[_Union[_number_pb2.NumberStatus, str]] = ..., number: _Optional[int] = ..., serving_operator: _Optional[_Union[_number_pb2.Operator, _Mapping]] = ..., range_holder: _Optional[_Union[_number_pb2.Operator, _Mapping]] = ..., ported: bool = ..., region: _Optional[str] = ..., index_version: _Optional[int] = ...) -> None: ...

class CheckNumbersRequest(_message.Message):
    __slots__ = ("numbers", "request_id", "min_index_version")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    request_id: int
    min_index_version: int
    def __init__(self, numbers: _Optional[_Iterable[int]] = ..., request_id: _Optional[int] = ..., min_index_version: _Optional[int] = ...) -> None: ...

class CheckNumbersResponse(_message.Message):
    __slots__ = ("statuses", "operator_ids", "index_version", "request_id")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_IDS_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[_number_pb2.NumberStatus]
    operator_ids: _containers.RepeatedScalarFieldContainer[int]
    index_version: int
    request_id: int
    def __init__(self, statuses: _Optional[_Iterable[_Union[_number_pb2.NumberStatus, str]]] = ..., operator_ids: _Optional[_Iterable[int]] = ..., index_version: _Optional[int] = ..., request_id: _Optional[int] = ...) -> None: ...

class ListOperatorsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOperatorsResponse(_message.Message):
    __slots__ = ("operators", "installation_id")
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_ID_FIELD_NUMBER: _ClassVar[int]
    operators: _containers.RepeatedCompositeFieldContainer[_number_pb2.Operator]
    installation_id: str
    def __init__(self, operators: _Optional[_Iterable[_Union[_number_pb2.Operator, _Mapping]]] = ..., installation_id: _Optional[str] = ...) -> None: ...
