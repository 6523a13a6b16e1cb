"""The API's messages as JSON has them: every field under its own name, so that no command forgets one."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

Read = Callable[[Any], Any]


def message_fields(message: Message) -> dict[str, Any]:
    """Return every field by name: moments in ISO 8601, UTC; enum values without prefix; None for what is unset."""
    return {name: read(message) for name, read in _readers(message.DESCRIPTOR)}


@cache
def _readers(descriptor: Descriptor) -> list[tuple[str, Read]]:
    return [(field.name, _reader(field)) for field in descriptor.fields]


def _reader(field: FieldDescriptor) -> Read:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return lambda message: dict(sorted(getattr(message, name).items()))  # as gRPC keeps them in no order
    one = _value_reader(field)
    if field.is_repeated:
        return lambda message: [one(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    return lambda message: one(getattr(message, name))


def _value_reader(field: FieldDescriptor) -> Read:
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        return _moment
    if field.message_type is not None:
        return message_fields
    if field.enum_type is not None:
        return enum_words(field.enum_type).get
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.hex
    return lambda value: value


def _moment(stamp: Any) -> str:
    """Return a timestamp in ISO 8601, to the microsecond: in a third of the time that ToDatetime takes."""
    return datetime.fromtimestamp(stamp.seconds, UTC).replace(microsecond=stamp.nanos // 1_000).isoformat()


def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """Return the names of an enum's values without the prefix that they share; unspecified has none."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {number: value.name.removeprefix(prefix) for number, value in enum.values_by_number.items() if number}
