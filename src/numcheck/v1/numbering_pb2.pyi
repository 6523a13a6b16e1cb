import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PushMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUSH_MODE_UNSPECIFIED: _ClassVar[PushMode]
    PUSH_MODE_SNAPSHOT: _ClassVar[PushMode]
    PUSH_MODE_DELTA: _ClassVar[PushMode]

class PushState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUSH_STATE_UNSPECIFIED: _ClassVar[PushState]
    PUSH_STATE_APPLIED: _ClassVar[PushState]
    PUSH_STATE_HELD: _ClassVar[PushState]
PUSH_MODE_UNSPECIFIED: PushMode
PUSH_MODE_SNAPSHOT: PushMode
PUSH_MODE_DELTA: PushMode
PUSH_STATE_UNSPECIFIED: PushState
PUSH_STATE_APPLIED: PushState
PUSH_STATE_HELD: PushState

class PushHeader(_message.Message):
    __slots__ = ("operator_id", "mode", "base_version", "push_id", "data_time", "skip_not_served")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    SKIP_NOT_SERVED_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    mode: PushMode
    base_version: int
    push_id: str
    data_time: _timestamp_pb2.Timestamp
    skip_not_served: bool
    def __init__(self, operator_id: _Optional[int] = ..., mode: _Optional[_Union[PushMode, str]] = ..., base_version: _Optional[int] = ..., push_id: _Optional[str] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., skip_not_served: bool = ...) -> None: ...

class NumberRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class PushActiveNumbersRequest(_message.Message):
    __slots__ = ("header", "add", "remove", "add_ranges", "remove_ranges")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    ADD_RANGES_FIELD_NUMBER: _ClassVar[int]
    REMOVE_RANGES_FIELD_NUMBER: _ClassVar[int]
    header: PushHeader
    add: _containers.RepeatedScalarFieldContainer[int]
    remove: _containers.RepeatedScalarFieldContainer[int]
    add_ranges: _containers.RepeatedCompositeFieldContainer[NumberRange]
    remove_ranges: _containers.RepeatedCompositeFieldContainer[NumberRange]
    def __init__(self, header: _Optional[_Union[PushHeader, _Mapping]] = ..., add: _Optional[_Iterable[int]] = ..., remove: _Optional[_Iterable[int]] = ..., add_ranges: _Optional[_Iterable[_Union[NumberRange, _Mapping]]] = ..., remove_ranges: _Optional[_Iterable[_Union[NumberRange, _Mapping]]] = ...) -> None: ...

class RefusedNumber(_message.Message):
    __slots__ = ("number", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    reason: str
    def __init__(self, number: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class PushActiveNumbersResponse(_message.Message):
    __slots__ = ("state", "version", "index_version", "added_count", "already_added_count", "removed_count", "already_removed_count", "number_count", "refused_count", "refused", "confirmation_token")
    STATE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    state: PushState
    version: int
    index_version: int
    added_count: int
    already_added_count: int
    removed_count: int
    already_removed_count: int
    number_count: int
    refused_count: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedNumber]
    confirmation_token: str
    def __init__(self, state: _Optional[_Union[PushState, str]] = ..., version: _Optional[int] = ..., index_version: _Optional[int] = ..., added_count: _Optional[int] = ..., already_added_count: _Optional[int] = ..., removed_count: _Optional[int] = ..., already_removed_count: _Optional[int] = ..., number_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedNumber, _Mapping]]] = ..., confirmation_token: _Optional[str] = ...) -> None: ...

class ConfirmPushRequest(_message.Message):
    __slots__ = ("operator_id", "confirmation_token")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    confirmation_token: str
    def __init__(self, operator_id: _Optional[int] = ..., confirmation_token: _Optional[str] = ...) -> None: ...

class ConfirmPushResponse(_message.Message):
    __slots__ = ("push",)
    PUSH_FIELD_NUMBER: _ClassVar[int]
    push: PushActiveNumbersResponse
    def __init__(self, push: _Optional[_Union[PushActiveNumbersResponse, _Mapping]] = ...) -> None: ...

class GetOperatorStateRequest(_message.Message):
    __slots__ = ("operator_id",)
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    def __init__(self, operator_id: _Optional[int] = ...) -> None: ...

class GetOperatorStateResponse(_message.Message):
    __slots__ = ("operator_id", "version", "number_count", "data_time", "digest")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    version: int
    number_count: int
    data_time: _timestamp_pb2.Timestamp
    digest: bytes
    def __init__(self, operator_id: _Optional[int] = ..., version: _Optional[int] = ..., number_count: _Optional[int] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., digest: _Optional[bytes] = ...) -> None: ...
