import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from numcheck.v1 import caller_pb2 as _caller_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchEditionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchEditionsResponse(_message.Message):
    __slots__ = ("edition", "signature", "public_key")
    EDITION_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    edition: bytes
    signature: bytes
    public_key: bytes
    def __init__(self, edition: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., public_key: _Optional[bytes] = ...) -> None: ...

class Edition(_message.Message):
    __slots__ = ("installation_id", "index_version", "signed_at", "current_at", "files")
    INSTALLATION_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_VERSION_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_AT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    installation_id: str
    index_version: int
    signed_at: _timestamp_pb2.Timestamp
    current_at: _timestamp_pb2.Timestamp
    files: _containers.RepeatedCompositeFieldContainer[EditionFile]
    def __init__(self, installation_id: _Optional[str] = ..., index_version: _Optional[int] = ..., signed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., current_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., files: _Optional[_Iterable[_Union[EditionFile, _Mapping]]] = ...) -> None: ...

class EditionFile(_message.Message):
    __slots__ = ("name", "size", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    size: int
    sha256: bytes
    def __init__(self, name: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class PublishedCallers(_message.Message):
    __slots__ = ("callers", "agreements", "tag_key", "revision")
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    AGREEMENTS_FIELD_NUMBER: _ClassVar[int]
    TAG_KEY_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    callers: _containers.RepeatedCompositeFieldContainer[PublishedCaller]
    agreements: _containers.RepeatedCompositeFieldContainer[_caller_pb2.Agreement]
    tag_key: bytes
    revision: int
    def __init__(self, callers: _Optional[_Iterable[_Union[PublishedCaller, _Mapping]]] = ..., agreements: _Optional[_Iterable[_Union[_caller_pb2.Agreement, _Mapping]]] = ..., tag_key: _Optional[bytes] = ..., revision: _Optional[int] = ...) -> None: ...

class PublishedCaller(_message.Message):
    __slots__ = ("caller", "token_tag")
    CALLER_FIELD_NUMBER: _ClassVar[int]
    TOKEN_TAG_FIELD_NUMBER: _ClassVar[int]
    caller: _caller_pb2.Caller
    token_tag: bytes
    def __init__(self, caller: _Optional[_Union[_caller_pb2.Caller, _Mapping]] = ..., token_tag: _Optional[bytes] = ...) -> None: ...

class FetchFileRequest(_message.Message):
    __slots__ = ("sha256", "offset")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    offset: int
    def __init__(self, sha256: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class FetchFileResponse(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...
