"""The API's messages as JSON has them: every field under its own name, so that no command forgets one."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, lru_cache
from operator import attrgetter
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
        return lambda message: [_value(one, value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: _value(one, getattr(message, name)) if message.HasField(name) else None
    if one is None:
        return attrgetter(name)
    return lambda message: one(getattr(message, name))


def _value(one: Read | None, value: Any) -> Any:
    return value if one is None else one(value)


def _value_reader(field: FieldDescriptor) -> Read | None:
    """Return what makes a field's value what JSON has of it; None if it is that already."""
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        return _moment
    if field.message_type is not None:
        return message_fields
    if field.enum_type is not None:
        return enum_words(field.enum_type).get
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes.hex
    return None


def _moment(stamp: Any) -> str:
    """Return a timestamp in ISO 8601, to the microsecond, as `isoformat` does in ten times the time."""
    us = stamp.nanos // 1_000
    return f"{_second(stamp.seconds)}.{us:06}+00:00" if us else f"{_second(stamp.seconds)}+00:00"


@lru_cache(65_536)
def _second(since_1970_s: int) -> str:
    """Return a second without its zone: those of neighbours in a list are often the same."""
    return datetime.fromtimestamp(since_1970_s, UTC).isoformat()[:19]


def enum_words(enum: EnumDescriptor) -> dict[int, str]:
    """Return the names of an enum's values without the prefix that they share; unspecified has none."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {number: value.name.removeprefix(prefix) for number, value in enum.values_by_number.items() if number}
