from numcheck.v1 import number_pb2 as _number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecycledStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECYCLED_STATUS_UNSPECIFIED: _ClassVar[RecycledStatus]
    RECYCLED_STATUS_NO: _ClassVar[RecycledStatus]
    RECYCLED_STATUS_YES: _ClassVar[RecycledStatus]
    RECYCLED_STATUS_UNKNOWN: _ClassVar[RecycledStatus]
RECYCLED_STATUS_UNSPECIFIED: RecycledStatus
RECYCLED_STATUS_NO: RecycledStatus
RECYCLED_STATUS_YES: RecycledStatus
RECYCLED_STATUS_UNKNOWN: RecycledStatus

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

class CheckRecycledRequest(_message.Message):
    __slots__ = ("numbers", "since_unix_s")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    SINCE_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    since_unix_s: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, numbers: _Optional[_Iterable[int]] = ..., since_unix_s: _Optional[_Iterable[int]] = ...) -> None: ...

class CheckRecycledResponse(_message.Message):
    __slots__ = ("statuses", "record_since_unix_s", "index_version")
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    RECORD_SINCE_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    statuses: _containers.RepeatedScalarFieldContainer[RecycledStatus]
    record_since_unix_s: int
    index_version: int
    def __init__(self, statuses: _Optional[_Iterable[_Union[RecycledStatus, str]]] = ..., record_since_unix_s: _Optional[int] = ..., index_version: _Optional[int] = ...) -> None: ...
