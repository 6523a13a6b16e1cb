import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NumberAnswer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NUMBER_ANSWER_UNSPECIFIED: _ClassVar[NumberAnswer]
    NUMBER_ANSWER_ACTIVE: _ClassVar[NumberAnswer]
    NUMBER_ANSWER_INACTIVE: _ClassVar[NumberAnswer]
    NUMBER_ANSWER_UNKNOWN: _ClassVar[NumberAnswer]
NUMBER_ANSWER_UNSPECIFIED: NumberAnswer
NUMBER_ANSWER_ACTIVE: NumberAnswer
NUMBER_ANSWER_INACTIVE: NumberAnswer
NUMBER_ANSWER_UNKNOWN: NumberAnswer

class ConfirmNumberRequest(_message.Message):
    __slots__ = ("number", "question_id")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    QUESTION_ID_FIELD_NUMBER: _ClassVar[int]
    number: int
    question_id: str
    def __init__(self, number: _Optional[int] = ..., question_id: _Optional[str] = ...) -> None: ...

class ConfirmNumberResponse(_message.Message):
    __slots__ = ("answer", "data_time")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    DATA_TIME_FIELD_NUMBER: _ClassVar[int]
    answer: NumberAnswer
    data_time: _timestamp_pb2.Timestamp
    def __init__(self, answer: _Optional[_Union[NumberAnswer, str]] = ..., data_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
