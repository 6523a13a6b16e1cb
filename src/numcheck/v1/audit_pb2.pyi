import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RowKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_KIND_UNSPECIFIED: _ClassVar[RowKind]
    ROW_KIND_REGISTRATION: _ClassVar[RowKind]
    ROW_KIND_VERIFICATION: _ClassVar[RowKind]
    ROW_KIND_CONFIRMATION: _ClassVar[RowKind]
ROW_KIND_UNSPECIFIED: RowKind
ROW_KIND_REGISTRATION: RowKind
ROW_KIND_VERIFICATION: RowKind
ROW_KIND_CONFIRMATION: RowKind

class GetHeadRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHeadResponse(_message.Message):
    __slots__ = ("head",)
    HEAD_FIELD_NUMBER: _ClassVar[int]
    head: ChainHead
    def __init__(self, head: _Optional[_Union[ChainHead, _Mapping]] = ...) -> None: ...

class ChainHead(_message.Message):
    __slots__ = ("sequence", "hash", "signed_at", "signature", "public_key")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    hash: bytes
    signed_at: _timestamp_pb2.Timestamp
    signature: bytes
    public_key: bytes
    def __init__(self, sequence: _Optional[int] = ..., hash: _Optional[bytes] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., signature: _Optional[bytes] = ..., public_key: _Optional[bytes] = ...) -> None: ...

class ExportEventsRequest(_message.Message):
    __slots__ = ("after_sequence",)
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    after_sequence: int
    def __init__(self, after_sequence: _Optional[int] = ...) -> None: ...

class ExportEventsResponse(_message.Message):
    __slots__ = ("events", "head")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[ChainEvent]
    head: ChainHead
    def __init__(self, events: _Optional[_Iterable[_Union[ChainEvent, _Mapping]]] = ..., head: _Optional[_Union[ChainHead, _Mapping]] = ...) -> None: ...

class ChainEvent(_message.Message):
    __slots__ = ("sequence", "event_time", "service", "registration_id", "kind", "state", "details", "hash")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    event_time: _timestamp_pb2.Timestamp
    service: str
    registration_id: bytes
    kind: str
    state: int
    details: str
    hash: bytes
    def __init__(self, sequence: _Optional[int] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., service: _Optional[str] = ..., registration_id: _Optional[bytes] = ..., kind: _Optional[str] = ..., state: _Optional[int] = ..., details: _Optional[str] = ..., hash: _Optional[bytes] = ...) -> None: ...

class ListRowDigestsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRowDigestsResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RowDigest]
    def __init__(self, rows: _Optional[_Iterable[_Union[RowDigest, _Mapping]]] = ...) -> None: ...

class RowDigest(_message.Message):
    __slots__ = ("kind", "row_id", "mac", "whole")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROW_ID_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    kind: RowKind
    row_id: bytes
    mac: bytes
    whole: bool
    def __init__(self, kind: _Optional[_Union[RowKind, str]] = ..., row_id: _Optional[bytes] = ..., mac: _Optional[bytes] = ..., whole: bool = ...) -> None: ...
