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
    __slots__ = ("operator_id", "mode", "base_version", "push_id", "data_time", "skip_not_served", "allow_older")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    SKIP_NOT_SERVED_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OLDER_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    mode: PushMode
    base_version: int
    push_id: str
    data_time: _timestamp_pb2.Timestamp
    skip_not_served: bool
    allow_older: bool
    def __init__(self, operator_id: _Optional[int] = ..., mode: _Optional[_Union[PushMode, str]] = ..., base_version: _Optional[int] = ..., push_id: _Optional[str] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., skip_not_served: bool = ..., allow_older: bool = ...) -> None: ...

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
    __slots__ = ("state", "version", "index_version", "added_count", "already_added_count", "removed_count", "already_removed_count", "number_count", "refused_count", "refused", "confirmation_token", "recycled_count", "first_push_time", "head_version")
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
    RECYCLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_PUSH_TIME_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
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
    recycled_count: int
    first_push_time: _timestamp_pb2.Timestamp
    head_version: int
    def __init__(self, state: _Optional[_Union[PushState, str]] = ..., version: _Optional[int] = ..., index_version: _Optional[int] = ..., added_count: _Optional[int] = ..., already_added_count: _Optional[int] = ..., removed_count: _Optional[int] = ..., already_removed_count: _Optional[int] = ..., number_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedNumber, _Mapping]]] = ..., confirmation_token: _Optional[str] = ..., recycled_count: _Optional[int] = ..., first_push_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., head_version: _Optional[int] = ...) -> None: ...

class ListHeldPushesRequest(_message.Message):
    __slots__ = ("operator_id",)
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    def __init__(self, operator_id: _Optional[int] = ...) -> None: ...

class ListHeldPushesResponse(_message.Message):
    __slots__ = ("held_pushes",)
    HELD_PUSHES_FIELD_NUMBER: _ClassVar[int]
    held_pushes: _containers.RepeatedCompositeFieldContainer[HeldPush]
    def __init__(self, held_pushes: _Optional[_Iterable[_Union[HeldPush, _Mapping]]] = ...) -> None: ...

class HeldPush(_message.Message):
    __slots__ = ("operator_id", "push_id", "mode", "data_time", "expire_time", "push")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    PUSH_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    push_id: str
    mode: PushMode
    data_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    push: PushActiveNumbersResponse
    def __init__(self, operator_id: _Optional[int] = ..., push_id: _Optional[str] = ..., mode: _Optional[_Union[PushMode, str]] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., push: _Optional[_Union[PushActiveNumbersResponse, _Mapping]] = ...) -> None: ...

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

class RejectHeldPushRequest(_message.Message):
    __slots__ = ("operator_id", "confirmation_token")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    CONFIRMATION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    confirmation_token: str
    def __init__(self, operator_id: _Optional[int] = ..., confirmation_token: _Optional[str] = ...) -> None: ...

class RejectHeldPushResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetOperatorStateRequest(_message.Message):
    __slots__ = ("operator_id", "without_digest")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    without_digest: bool
    def __init__(self, operator_id: _Optional[int] = ..., without_digest: bool = ...) -> None: ...

class GetOperatorStateResponse(_message.Message):
    __slots__ = ("operator_id", "version", "number_count", "data_time", "digest", "sequences")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    version: int
    number_count: int
    data_time: _timestamp_pb2.Timestamp
    digest: bytes
    sequences: _containers.RepeatedCompositeFieldContainer[PortingsSequence]
    def __init__(self, operator_id: _Optional[int] = ..., version: _Optional[int] = ..., number_count: _Optional[int] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., digest: _Optional[bytes] = ..., sequences: _Optional[_Iterable[_Union[PortingsSequence, _Mapping]]] = ...) -> None: ...

class PortingsHeader(_message.Message):
    __slots__ = ("mode", "base_version", "push_id", "data_time", "skip_not_portable", "force", "allow_older", "sequence")
    MODE_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PUSH_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    SKIP_NOT_PORTABLE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OLDER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    mode: PushMode
    base_version: int
    push_id: str
    data_time: _timestamp_pb2.Timestamp
    skip_not_portable: bool
    force: bool
    allow_older: bool
    sequence: PortingsSequence
    def __init__(self, mode: _Optional[_Union[PushMode, str]] = ..., base_version: _Optional[int] = ..., push_id: _Optional[str] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., skip_not_portable: bool = ..., force: bool = ..., allow_older: bool = ..., sequence: _Optional[_Union[PortingsSequence, _Mapping]] = ...) -> None: ...

class PortingsSequence(_message.Message):
    __slots__ = ("series", "position")
    SERIES_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    series: str
    position: int
    def __init__(self, series: _Optional[str] = ..., position: _Optional[int] = ...) -> None: ...

class PortedNumbers(_message.Message):
    __slots__ = ("operator_id", "numbers")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    numbers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, operator_id: _Optional[int] = ..., numbers: _Optional[_Iterable[int]] = ...) -> None: ...

class PushPortingsRequest(_message.Message):
    __slots__ = ("header", "ported", "returned")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PORTED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    header: PortingsHeader
    ported: _containers.RepeatedCompositeFieldContainer[PortedNumbers]
    returned: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, header: _Optional[_Union[PortingsHeader, _Mapping]] = ..., ported: _Optional[_Iterable[_Union[PortedNumbers, _Mapping]]] = ..., returned: _Optional[_Iterable[int]] = ...) -> None: ...

class PushPortingsResponse(_message.Message):
    __slots__ = ("version", "index_version", "added_count", "already_added_count", "removed_count", "already_removed_count", "number_count", "refused_count", "refused", "first_push_time", "head_version", "previous_sequence")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FIRST_PUSH_TIME_FIELD_NUMBER: _ClassVar[int]
    HEAD_VERSION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    index_version: int
    added_count: int
    already_added_count: int
    removed_count: int
    already_removed_count: int
    number_count: int
    refused_count: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedNumber]
    first_push_time: _timestamp_pb2.Timestamp
    head_version: int
    previous_sequence: int
    def __init__(self, version: _Optional[int] = ..., index_version: _Optional[int] = ..., added_count: _Optional[int] = ..., already_added_count: _Optional[int] = ..., removed_count: _Optional[int] = ..., already_removed_count: _Optional[int] = ..., number_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedNumber, _Mapping]]] = ..., first_push_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., head_version: _Optional[int] = ..., previous_sequence: _Optional[int] = ...) -> None: ...

class PlanHeader(_message.Message):
    __slots__ = ("calling_code", "source", "series", "force", "data_time", "allow_older")
    CALLING_CODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OLDER_FIELD_NUMBER: _ClassVar[int]
    calling_code: int
    source: str
    series: _containers.RepeatedScalarFieldContainer[str]
    force: bool
    data_time: _timestamp_pb2.Timestamp
    allow_older: bool
    def __init__(self, calling_code: _Optional[int] = ..., source: _Optional[str] = ..., series: _Optional[_Iterable[str]] = ..., force: bool = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., allow_older: bool = ...) -> None: ...

class PlanRow(_message.Message):
    __slots__ = ("first", "last", "operator_name", "tax_id", "region")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_NAME_FIELD_NUMBER: _ClassVar[int]
    TAX_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    operator_name: str
    tax_id: str
    region: str
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ..., operator_name: _Optional[str] = ..., tax_id: _Optional[str] = ..., region: _Optional[str] = ...) -> None: ...

class ImportNumberingPlanRequest(_message.Message):
    __slots__ = ("header", "rows")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    header: PlanHeader
    rows: _containers.RepeatedCompositeFieldContainer[PlanRow]
    def __init__(self, header: _Optional[_Union[PlanHeader, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[PlanRow, _Mapping]]] = ...) -> None: ...

class ImportNumberingPlanResponse(_message.Message):
    __slots__ = ("index_version", "range_count", "number_count", "added_count", "removed_count", "moved_count", "lost", "renamed")
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    RANGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REMOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    MOVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RENAMED_FIELD_NUMBER: _ClassVar[int]
    index_version: int
    range_count: int
    number_count: int
    added_count: int
    removed_count: int
    moved_count: int
    lost: _containers.RepeatedCompositeFieldContainer[LostNumbers]
    renamed: _containers.RepeatedCompositeFieldContainer[RenamedOperator]
    def __init__(self, index_version: _Optional[int] = ..., range_count: _Optional[int] = ..., number_count: _Optional[int] = ..., added_count: _Optional[int] = ..., removed_count: _Optional[int] = ..., moved_count: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[LostNumbers, _Mapping]]] = ..., renamed: _Optional[_Iterable[_Union[RenamedOperator, _Mapping]]] = ...) -> None: ...

class RenamedOperator(_message.Message):
    __slots__ = ("operator_id", "old_name", "new_name", "number_count")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    OLD_NAME_FIELD_NUMBER: _ClassVar[int]
    NEW_NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    old_name: str
    new_name: str
    number_count: int
    def __init__(self, operator_id: _Optional[int] = ..., old_name: _Optional[str] = ..., new_name: _Optional[str] = ..., number_count: _Optional[int] = ...) -> None: ...

class LostNumbers(_message.Message):
    __slots__ = ("operator_id", "number_count")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    number_count: int
    def __init__(self, operator_id: _Optional[int] = ..., number_count: _Optional[int] = ...) -> None: ...

class WatchIndexRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchIndexResponse(_message.Message):
    __slots__ = ("index_version",)
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    index_version: int
    def __init__(self, index_version: _Optional[int] = ...) -> None: ...

class WatchIdentificationsRequest(_message.Message):
    __slots__ = ("operator_id", "resume_token")
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    operator_id: int
    resume_token: str
    def __init__(self, operator_id: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchIdentificationsResponse(_message.Message):
    __slots__ = ("identification", "resume_token")
    IDENTIFICATION_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    identification: Identification
    resume_token: str
    def __init__(self, identification: _Optional[_Union[Identification, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class Identification(_message.Message):
    __slots__ = ("number", "service", "user_code", "ended", "event_time")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_CODE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    number: int
    service: str
    user_code: str
    ended: bool
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., service: _Optional[str] = ..., user_code: _Optional[str] = ..., ended: bool = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
