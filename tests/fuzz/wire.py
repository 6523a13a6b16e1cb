"""Protobuf's wire format, written by hand: also what no library would write."""

VARINT, FIXED64, LENGTH, GROUP_START, GROUP_END, FIXED32 = range(6)
NUMBERS, REQUEST_ID, MIN_INDEX_VERSION, UNKNOWN = 1, 2, 3, 4
FIELD_NUMBER_MAX = 2**29 - 1


def varint(value: int, size: int = 0) -> bytes:
    """A varint of any value, 64 bits or more, padded to `size` bytes."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    groups += [0] * (size - len(groups))
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def tag(number: int, wire_type: int, size: int = 0) -> bytes:
    """A field's tag, padded to `size` bytes."""
    return varint(number << 3 | wire_type, size)


def integer(number: int, value: int, size: int = 0) -> bytes:
    """A varint field."""
    return tag(number, VARINT) + varint(value, size)


def fixed64(number: int, value: int) -> bytes:
    """A fixed64 field."""
    return tag(number, FIXED64) + value.to_bytes(8, "little")


def fixed32(number: int, value: int) -> bytes:
    """A fixed32 field."""
    return tag(number, FIXED32) + value.to_bytes(4, "little")


def length_delimited(number: int, payload: bytes, size: int = 0) -> bytes:
    """A length-delimited field, its length padded to `size` bytes."""
    return tag(number, LENGTH) + varint(len(payload), size) + payload


def packed(*numbers: int, size: int = 0) -> bytes:
    """A packed list of numbers."""
    return length_delimited(NUMBERS, b"".join(number.to_bytes(8, "little") for number in numbers), size)


def group(number: int, *fields: bytes) -> bytes:
    """A group of fields."""
    return tag(number, GROUP_START) + b"".join(fields) + tag(number, GROUP_END)


def nested(depth: int, number: int = UNKNOWN, inside: bytes = b"") -> bytes:
    """Groups in groups."""
    return tag(number, GROUP_START) * depth + inside + tag(number, GROUP_END) * depth
