import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NumberStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NUMBER_STATUS_UNSPECIFIED: _ClassVar[NumberStatus]
    NUMBER_STATUS_INVALID: _ClassVar[NumberStatus]
    NUMBER_STATUS_UNALLOCATED: _ClassVar[NumberStatus]
    NUMBER_STATUS_INACTIVE: _ClassVar[NumberStatus]
    NUMBER_STATUS_ACTIVE: _ClassVar[NumberStatus]
    NUMBER_STATUS_UNKNOWN: _ClassVar[NumberStatus]
    NUMBER_STATUS_NOT_MOBILE: _ClassVar[NumberStatus]
NUMBER_STATUS_UNSPECIFIED: NumberStatus
NUMBER_STATUS_INVALID: NumberStatus
NUMBER_STATUS_UNALLOCATED: NumberStatus
NUMBER_STATUS_INACTIVE: NumberStatus
NUMBER_STATUS_ACTIVE: NumberStatus
NUMBER_STATUS_UNKNOWN: NumberStatus
NUMBER_STATUS_NOT_MOBILE: NumberStatus

class Operator(_message.Message):
    __slots__ = ("operator_id", "display_name", "tax_id", "data_version", "data_time", "synthetic")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    TAX_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    display_name: str
    tax_id: str
    data_version: int
    data_time: _timestamp_pb2.Timestamp
    synthetic: bool
    def __init__(self, operator_id: _Optional[int] = ..., display_name: _Optional[str] = ..., tax_id: _Optional[str] = ..., data_version: _Optional[int] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., synthetic: bool = ...) -> None: ...
