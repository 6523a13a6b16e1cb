"""The API's messages as JSON has them: every field under its own name, so that no command forgets one."""

from collections.abc import Callable
from datetime import UTC
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Read = Callable[[Any], Any]


def message_fields(message: Message) -> dict[str, Any]:
    """Return every field by name: moments in ISO 8601, UTC; enum values without their prefix; None for what is unset."""
    return {name: read(message) for name, read in _readers(message.DESCRIPTOR)}


@cache
def _readers(descriptor: Descriptor) -> list[tuple[str, Read]]:
    return [(field.name, _reader(field)) for field in descriptor.fields]


def _reader(field: FieldDescriptor) -> Read:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return lambda message: dict(getattr(message, name))
    one = _value_reader(field)
    if field.is_repeated:
        return lambda message: [one(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    return lambda message: one(getattr(message, name))


def _value_reader(field: FieldDescriptor) -> Read:
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        return lambda value: value.ToDatetime(tzinfo=UTC).isoformat()
    if field.message_type is not None:
        return message_fields
    if field.enum_type is not None:
        return enum_words(field).get
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.hex
    return lambda value: value


def enum_words(field: FieldDescriptor) -> dict[int, str]:
    """Return what the values of a field's enum are called, without the prefix that they share; unspecified has no word.
    """
    values = field.enum_type.values_by_number
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return {number: value.name.removeprefix(prefix) for number, value in values.items() if number}
