import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from numcheck.v1 import number_pb2 as _number_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegistrationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REGISTRATION_STATE_UNSPECIFIED: _ClassVar[RegistrationState]
    REGISTRATION_STATE_PENDING: _ClassVar[RegistrationState]
    REGISTRATION_STATE_VERIFIED: _ClassVar[RegistrationState]
    REGISTRATION_STATE_REJECTED: _ClassVar[RegistrationState]
    REGISTRATION_STATE_OVERDUE: _ClassVar[RegistrationState]
    REGISTRATION_STATE_REVOKED: _ClassVar[RegistrationState]
    REGISTRATION_STATE_DELETED: _ClassVar[RegistrationState]

class VerificationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFICATION_METHOD_UNSPECIFIED: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_OPERATOR: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_CODE: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_INBOUND: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_ATTESTED: _ClassVar[VerificationMethod]
    VERIFICATION_METHOD_FLASH_CALL: _ClassVar[VerificationMethod]

class VerificationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFICATION_STATE_UNSPECIFIED: _ClassVar[VerificationState]
    VERIFICATION_STATE_WAITING: _ClassVar[VerificationState]
    VERIFICATION_STATE_CONFIRMED: _ClassVar[VerificationState]
    VERIFICATION_STATE_DENIED: _ClassVar[VerificationState]
    VERIFICATION_STATE_ENDED: _ClassVar[VerificationState]

class CodeChannel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODE_CHANNEL_UNSPECIFIED: _ClassVar[CodeChannel]
    CODE_CHANNEL_SMS: _ClassVar[CodeChannel]
    CODE_CHANNEL_CALL: _ClassVar[CodeChannel]

class RegistrationEventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REGISTRATION_EVENT_KIND_UNSPECIFIED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_REGISTERED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_STARTED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_CONFIRMED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_DENIED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_FAILED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_REFRESHED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_DUE: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_OVERDUE: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_WITHDRAWN: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_DELETED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_PROVED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_CHANGE_STARTED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_CHANGE_DENIED: _ClassVar[RegistrationEventKind]
    REGISTRATION_EVENT_KIND_CHANGED: _ClassVar[RegistrationEventKind]
REGISTRATION_STATE_UNSPECIFIED: RegistrationState
REGISTRATION_STATE_PENDING: RegistrationState
REGISTRATION_STATE_VERIFIED: RegistrationState
REGISTRATION_STATE_REJECTED: RegistrationState
REGISTRATION_STATE_OVERDUE: RegistrationState
REGISTRATION_STATE_REVOKED: RegistrationState
REGISTRATION_STATE_DELETED: RegistrationState
VERIFICATION_METHOD_UNSPECIFIED: VerificationMethod
VERIFICATION_METHOD_OPERATOR: VerificationMethod
VERIFICATION_METHOD_CODE: VerificationMethod
VERIFICATION_METHOD_INBOUND: VerificationMethod
VERIFICATION_METHOD_ATTESTED: VerificationMethod
VERIFICATION_METHOD_FLASH_CALL: VerificationMethod
VERIFICATION_STATE_UNSPECIFIED: VerificationState
VERIFICATION_STATE_WAITING: VerificationState
VERIFICATION_STATE_CONFIRMED: VerificationState
VERIFICATION_STATE_DENIED: VerificationState
VERIFICATION_STATE_ENDED: VerificationState
CODE_CHANNEL_UNSPECIFIED: CodeChannel
CODE_CHANNEL_SMS: CodeChannel
CODE_CHANNEL_CALL: CodeChannel
REGISTRATION_EVENT_KIND_UNSPECIFIED: RegistrationEventKind
REGISTRATION_EVENT_KIND_REGISTERED: RegistrationEventKind
REGISTRATION_EVENT_KIND_STARTED: RegistrationEventKind
REGISTRATION_EVENT_KIND_CONFIRMED: RegistrationEventKind
REGISTRATION_EVENT_KIND_DENIED: RegistrationEventKind
REGISTRATION_EVENT_KIND_FAILED: RegistrationEventKind
REGISTRATION_EVENT_KIND_REFRESHED: RegistrationEventKind
REGISTRATION_EVENT_KIND_DUE: RegistrationEventKind
REGISTRATION_EVENT_KIND_OVERDUE: RegistrationEventKind
REGISTRATION_EVENT_KIND_WITHDRAWN: RegistrationEventKind
REGISTRATION_EVENT_KIND_DELETED: RegistrationEventKind
REGISTRATION_EVENT_KIND_PROVED: RegistrationEventKind
REGISTRATION_EVENT_KIND_CHANGE_STARTED: RegistrationEventKind
REGISTRATION_EVENT_KIND_CHANGE_DENIED: RegistrationEventKind
REGISTRATION_EVENT_KIND_CHANGED: RegistrationEventKind

class NetworkAddress(_message.Message):
    __slots__ = ("address", "port")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("method", "verified_at", "operator_id", "data_version", "data_time", "index_version", "answer", "authority", "assertion_id", "act_time", "synthetic", "live", "asked_at", "imported")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_ID_FIELD_NUMBER: _ClassVar[int]
    DATA_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ASSERTION_ID_FIELD_NUMBER: _ClassVar[int]
    ACT_TIME_FIELD_NUMBER: _ClassVar[int]
    SYNTHETIC_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_FIELD_NUMBER: _ClassVar[int]
    method: VerificationMethod
    verified_at: _timestamp_pb2.Timestamp
    operator_id: int
    data_version: int
    data_time: _timestamp_pb2.Timestamp
    index_version: int
    answer: _number_pb2.NumberStatus
    authority: str
    assertion_id: str
    act_time: _timestamp_pb2.Timestamp
    synthetic: bool
    live: bool
    asked_at: _timestamp_pb2.Timestamp
    imported: bool
    def __init__(self, method: _Optional[_Union[VerificationMethod, str]] = ..., verified_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., operator_id: _Optional[int] = ..., data_version: _Optional[int] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., index_version: _Optional[int] = ..., answer: _Optional[_Union[_number_pb2.NumberStatus, str]] = ..., authority: _Optional[str] = ..., assertion_id: _Optional[str] = ..., act_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., synthetic: bool = ..., live: bool = ..., asked_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., imported: bool = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("service", "user_id", "registration_id", "number", "identifier", "network_address", "registration_data", "state", "registered_at", "refreshed_at", "due_at", "evidence")
    class IdentifierEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RegistrationDataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_DATA_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_AT_FIELD_NUMBER: _ClassVar[int]
    DUE_AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    service: str
    user_id: str
    registration_id: str
    number: int
    identifier: _containers.ScalarMap[str, str]
    network_address: NetworkAddress
    registration_data: _containers.ScalarMap[str, str]
    state: RegistrationState
    registered_at: _timestamp_pb2.Timestamp
    refreshed_at: _timestamp_pb2.Timestamp
    due_at: _timestamp_pb2.Timestamp
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    def __init__(self, service: _Optional[str] = ..., user_id: _Optional[str] = ..., registration_id: _Optional[str] = ..., number: _Optional[int] = ..., identifier: _Optional[_Mapping[str, str]] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., registration_data: _Optional[_Mapping[str, str]] = ..., state: _Optional[_Union[RegistrationState, str]] = ..., registered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refreshed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ...) -> None: ...

class Verification(_message.Message):
    __slots__ = ("verification_id", "method", "state", "expires_at", "next_code_at", "inbound_word", "code_channel_name")
    VERIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    NEXT_CODE_AT_FIELD_NUMBER: _ClassVar[int]
    INBOUND_WORD_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    verification_id: str
    method: VerificationMethod
    state: VerificationState
    expires_at: _timestamp_pb2.Timestamp
    next_code_at: _timestamp_pb2.Timestamp
    inbound_word: str
    code_channel_name: str
    def __init__(self, verification_id: _Optional[str] = ..., method: _Optional[_Union[VerificationMethod, str]] = ..., state: _Optional[_Union[VerificationState, str]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_code_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., inbound_word: _Optional[str] = ..., code_channel_name: _Optional[str] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("service", "request_id", "user_id", "identifier", "number", "network_address", "registration_data", "code_channel", "code_channel_name", "language")
    class IdentifierEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RegistrationDataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_DATA_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    service: str
    request_id: str
    user_id: str
    identifier: _containers.ScalarMap[str, str]
    number: str
    network_address: NetworkAddress
    registration_data: _containers.ScalarMap[str, str]
    code_channel: CodeChannel
    code_channel_name: str
    language: str
    def __init__(self, service: _Optional[str] = ..., request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., identifier: _Optional[_Mapping[str, str]] = ..., number: _Optional[str] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., registration_data: _Optional[_Mapping[str, str]] = ..., code_channel: _Optional[_Union[CodeChannel, str]] = ..., code_channel_name: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("registration", "verification", "verification_problem")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    verification: Verification
    verification_problem: str
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., verification_problem: _Optional[str] = ...) -> None: ...

class ChangeNumberRequest(_message.Message):
    __slots__ = ("service", "request_id", "user_id", "number", "network_address", "code_channel", "code_channel_name", "language")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    service: str
    request_id: str
    user_id: str
    number: str
    network_address: NetworkAddress
    code_channel: CodeChannel
    code_channel_name: str
    language: str
    def __init__(self, service: _Optional[str] = ..., request_id: _Optional[str] = ..., user_id: _Optional[str] = ..., number: _Optional[str] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., code_channel: _Optional[_Union[CodeChannel, str]] = ..., code_channel_name: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class ChangeNumberResponse(_message.Message):
    __slots__ = ("registration", "verification", "verification_problem")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    verification: Verification
    verification_problem: str
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., verification_problem: _Optional[str] = ...) -> None: ...

class GetRegistrationRequest(_message.Message):
    __slots__ = ("service", "user_id")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    service: str
    user_id: str
    def __init__(self, service: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class GetRegistrationResponse(_message.Message):
    __slots__ = ("registration",)
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ...) -> None: ...

class ListRegistrationsRequest(_message.Message):
    __slots__ = ("service", "page_size", "page_token", "states", "number", "due_before", "registered_after")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DUE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AFTER_FIELD_NUMBER: _ClassVar[int]
    service: str
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[RegistrationState]
    number: str
    due_before: _timestamp_pb2.Timestamp
    registered_after: _timestamp_pb2.Timestamp
    def __init__(self, service: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[RegistrationState, str]]] = ..., number: _Optional[str] = ..., due_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., registered_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListRegistrationsResponse(_message.Message):
    __slots__ = ("registrations", "next_page_token", "damaged_registration_ids")
    REGISTRATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_REGISTRATION_IDS_FIELD_NUMBER: _ClassVar[int]
    registrations: _containers.RepeatedCompositeFieldContainer[Registration]
    next_page_token: str
    damaged_registration_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, registrations: _Optional[_Iterable[_Union[Registration, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., damaged_registration_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteRegistrationRequest(_message.Message):
    __slots__ = ("service", "user_id")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    service: str
    user_id: str
    def __init__(self, service: _Optional[str] = ..., user_id: _Optional[str] = ...) -> None: ...

class DeleteRegistrationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RefreshRegistrationRequest(_message.Message):
    __slots__ = ("service", "user_id", "registration_data", "network_address", "code_channel", "request_id", "code_channel_name", "language")
    class RegistrationDataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_DATA_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    service: str
    user_id: str
    registration_data: _containers.ScalarMap[str, str]
    network_address: NetworkAddress
    code_channel: CodeChannel
    request_id: str
    code_channel_name: str
    language: str
    def __init__(self, service: _Optional[str] = ..., user_id: _Optional[str] = ..., registration_data: _Optional[_Mapping[str, str]] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., code_channel: _Optional[_Union[CodeChannel, str]] = ..., request_id: _Optional[str] = ..., code_channel_name: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class RefreshRegistrationResponse(_message.Message):
    __slots__ = ("registration", "verification", "verification_problem")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    verification: Verification
    verification_problem: str
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., verification_problem: _Optional[str] = ...) -> None: ...

class StartVerificationRequest(_message.Message):
    __slots__ = ("service", "user_id", "method", "code_channel", "network_address", "request_id", "code_channel_name", "language")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_CHANNEL_NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    service: str
    user_id: str
    method: VerificationMethod
    code_channel: CodeChannel
    network_address: NetworkAddress
    request_id: str
    code_channel_name: str
    language: str
    def __init__(self, service: _Optional[str] = ..., user_id: _Optional[str] = ..., method: _Optional[_Union[VerificationMethod, str]] = ..., code_channel: _Optional[_Union[CodeChannel, str]] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., request_id: _Optional[str] = ..., code_channel_name: _Optional[str] = ..., language: _Optional[str] = ...) -> None: ...

class StartVerificationResponse(_message.Message):
    __slots__ = ("registration", "verification", "verification_problem")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    verification: Verification
    verification_problem: str
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., verification_problem: _Optional[str] = ...) -> None: ...

class InboundAct(_message.Message):
    __slots__ = ("from_number", "text", "received_at")
    FROM_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_FIELD_NUMBER: _ClassVar[int]
    from_number: str
    text: str
    received_at: _timestamp_pb2.Timestamp
    def __init__(self, from_number: _Optional[str] = ..., text: _Optional[str] = ..., received_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttestedAct(_message.Message):
    __slots__ = ("authority", "assertion_id", "attested_at")
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ASSERTION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTESTED_AT_FIELD_NUMBER: _ClassVar[int]
    authority: str
    assertion_id: str
    attested_at: _timestamp_pb2.Timestamp
    def __init__(self, authority: _Optional[str] = ..., assertion_id: _Optional[str] = ..., attested_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CompleteVerificationRequest(_message.Message):
    __slots__ = ("service", "verification_id", "code", "inbound_act", "attested_act")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    INBOUND_ACT_FIELD_NUMBER: _ClassVar[int]
    ATTESTED_ACT_FIELD_NUMBER: _ClassVar[int]
    service: str
    verification_id: str
    code: str
    inbound_act: InboundAct
    attested_act: AttestedAct
    def __init__(self, service: _Optional[str] = ..., verification_id: _Optional[str] = ..., code: _Optional[str] = ..., inbound_act: _Optional[_Union[InboundAct, _Mapping]] = ..., attested_act: _Optional[_Union[AttestedAct, _Mapping]] = ...) -> None: ...

class CompleteVerificationResponse(_message.Message):
    __slots__ = ("registration", "verification", "verification_problem")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_FIELD_NUMBER: _ClassVar[int]
    VERIFICATION_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    verification: Verification
    verification_problem: str
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., verification: _Optional[_Union[Verification, _Mapping]] = ..., verification_problem: _Optional[str] = ...) -> None: ...

class ImportHeader(_message.Message):
    __slots__ = ("service", "import_id", "send_codes")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    IMPORT_ID_FIELD_NUMBER: _ClassVar[int]
    SEND_CODES_FIELD_NUMBER: _ClassVar[int]
    service: str
    import_id: str
    send_codes: bool
    def __init__(self, service: _Optional[str] = ..., import_id: _Optional[str] = ..., send_codes: bool = ...) -> None: ...

class ImportedRegistration(_message.Message):
    __slots__ = ("user_id", "identifier", "number", "network_address", "registration_data", "registered_at", "refreshed_at", "possession_proved_at")
    class IdentifierEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class RegistrationDataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTIFIER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NETWORK_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_DATA_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_AT_FIELD_NUMBER: _ClassVar[int]
    POSSESSION_PROVED_AT_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    identifier: _containers.ScalarMap[str, str]
    number: str
    network_address: NetworkAddress
    registration_data: _containers.ScalarMap[str, str]
    registered_at: _timestamp_pb2.Timestamp
    refreshed_at: _timestamp_pb2.Timestamp
    possession_proved_at: _timestamp_pb2.Timestamp
    def __init__(self, user_id: _Optional[str] = ..., identifier: _Optional[_Mapping[str, str]] = ..., number: _Optional[str] = ..., network_address: _Optional[_Union[NetworkAddress, _Mapping]] = ..., registration_data: _Optional[_Mapping[str, str]] = ..., registered_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., refreshed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., possession_proved_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ImportRegistrationsRequest(_message.Message):
    __slots__ = ("header", "rows")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    header: ImportHeader
    rows: _containers.RepeatedCompositeFieldContainer[ImportedRegistration]
    def __init__(self, header: _Optional[_Union[ImportHeader, _Mapping]] = ..., rows: _Optional[_Iterable[_Union[ImportedRegistration, _Mapping]]] = ...) -> None: ...

class ImportRegistrationsResponse(_message.Message):
    __slots__ = ("row_count", "made_count", "already_count", "refused_count", "refused")
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    MADE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    row_count: int
    made_count: int
    already_count: int
    refused_count: int
    refused: _containers.RepeatedCompositeFieldContainer[RefusedRow]
    def __init__(self, row_count: _Optional[int] = ..., made_count: _Optional[int] = ..., already_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[RefusedRow, _Mapping]]] = ...) -> None: ...

class RefusedRow(_message.Message):
    __slots__ = ("row", "reason", "field")
    ROW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    row: int
    reason: str
    field: str
    def __init__(self, row: _Optional[int] = ..., reason: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...

class SummarizeRegistrationsRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class SummarizeRegistrationsResponse(_message.Message):
    __slots__ = ("states", "due_soon_count")
    STATES_FIELD_NUMBER: _ClassVar[int]
    DUE_SOON_COUNT_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedCompositeFieldContainer[StateCount]
    due_soon_count: int
    def __init__(self, states: _Optional[_Iterable[_Union[StateCount, _Mapping]]] = ..., due_soon_count: _Optional[int] = ...) -> None: ...

class StateCount(_message.Message):
    __slots__ = ("state", "registration_count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_COUNT_FIELD_NUMBER: _ClassVar[int]
    state: RegistrationState
    registration_count: int
    def __init__(self, state: _Optional[_Union[RegistrationState, str]] = ..., registration_count: _Optional[int] = ...) -> None: ...

class ReverifyRegistrationsRequest(_message.Message):
    __slots__ = ("service", "due_before", "resume_token")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    DUE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    service: str
    due_before: _timestamp_pb2.Timestamp
    resume_token: str
    def __init__(self, service: _Optional[str] = ..., due_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class ReverifyRegistrationsResponse(_message.Message):
    __slots__ = ("checked_count", "confirmed_count", "revoked_count", "unanswered_count", "total_count", "resume_token")
    CHECKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    checked_count: int
    confirmed_count: int
    revoked_count: int
    unanswered_count: int
    total_count: int
    resume_token: str
    def __init__(self, checked_count: _Optional[int] = ..., confirmed_count: _Optional[int] = ..., revoked_count: _Optional[int] = ..., unanswered_count: _Optional[int] = ..., total_count: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchRegistrationsRequest(_message.Message):
    __slots__ = ("service", "resume_token")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    service: str
    resume_token: str
    def __init__(self, service: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class EventHead(_message.Message):
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

class RegistrationEvent(_message.Message):
    __slots__ = ("sequence", "event_time", "kind", "registration_id", "user_id", "state", "hash", "cause", "index_version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    event_time: _timestamp_pb2.Timestamp
    kind: RegistrationEventKind
    registration_id: str
    user_id: str
    state: RegistrationState
    hash: bytes
    cause: str
    index_version: int
    def __init__(self, sequence: _Optional[int] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[RegistrationEventKind, str]] = ..., registration_id: _Optional[str] = ..., user_id: _Optional[str] = ..., state: _Optional[_Union[RegistrationState, str]] = ..., hash: _Optional[bytes] = ..., cause: _Optional[str] = ..., index_version: _Optional[int] = ...) -> None: ...

class WatchRegistrationsResponse(_message.Message):
    __slots__ = ("event", "resume_token", "head")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    event: RegistrationEvent
    resume_token: str
    head: EventHead
    def __init__(self, event: _Optional[_Union[RegistrationEvent, _Mapping]] = ..., resume_token: _Optional[str] = ..., head: _Optional[_Union[EventHead, _Mapping]] = ...) -> None: ...
