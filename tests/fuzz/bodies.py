"""Bodies that a CheckNumbersRequest might have, from a source of chance: a seed's, or Hypothesis's."""

from collections.abc import Callable
from random import Random

from numcheck.v1.check_pb2 import CheckNumbersRequest
from tests.fuzz.judge import WORLD
from tests.fuzz.wire import (
    FIELD_NUMBER_MAX,
    FIXED32,
    FIXED64,
    GROUP_END,
    GROUP_START,
    LENGTH,
    NUMBERS,
    UNKNOWN,
    VARINT,
    fixed32,
    fixed64,
    group,
    integer,
    length_delimited,
    nested,
    packed,
    tag,
    varint,
)
from tests.index.world import telling_numbers

TELLING = telling_numbers(WORLD)
FIELD_NUMBERS = (0, 1, 1, 2, 2, 3, 3, 4, 5, 15, 16, 2047, 2048, 2**28, FIELD_NUMBER_MAX, FIELD_NUMBER_MAX + 1)
INTEGERS = (0, 1, 2, 127, 128, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 2, 2**64 - 1, 2**64, 2**64 + 5, 2**70 - 1, 2**71)
TELLING_BYTES = (0x00, 0x01, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x10, 0x18, 0x7F, 0x80, 0xFF)

Chance = Random
Piece = Callable[[Chance], bytes]


def number(chance: Chance) -> int:
    """Mostly a number whose answer differs from its neighbours'."""
    return chance.choice(TELLING) if chance.random() < 0.9 else chance.getrandbits(64)


def numbers(chance: Chance, count_max: int = 6) -> list[int]:
    """A short list of numbers."""
    return [number(chance) for _ in range(chance.randrange(count_max + 1))]


def some_integer(chance: Chance) -> int:
    """Mostly a value around which readers differ, up to 71 bits."""
    return chance.choice(INTEGERS) if chance.random() < 0.7 else chance.getrandbits(64)


def canonical(chance: Chance) -> bytes:
    """A request as the official runtime writes it."""
    request = CheckNumbersRequest(numbers=numbers(chance, 20))
    request.request_id = some_integer(chance) % 2**64
    request.min_index_version = some_integer(chance) % 2**64
    return request.SerializeToString()


def packed_list(chance: Chance) -> bytes:
    return packed(*numbers(chance), size=chance.randrange(8))


def cut_list(chance: Chance) -> bytes:
    """A packed list whose length is seldom a multiple of eight."""
    return length_delimited(NUMBERS, chance.randbytes(chance.randrange(20)))


def unpacked(chance: Chance) -> bytes:
    return b"".join(fixed64(NUMBERS, one) for one in numbers(chance, 3))


def scalar(chance: Chance) -> bytes:
    """One of the two integers, or an unknown one, in as many bytes as chance has it."""
    return integer(chance.choice((2, 2, 3, 3, 4)), some_integer(chance), chance.choice((0, 0, 5, 9, 10, 11)))


def any_field(chance: Chance) -> bytes:
    """A field of any number, known or not, and of any wire type: often the wrong one for it."""
    field_number, size = chance.choice(FIELD_NUMBERS), chance.choice((0, 0, 0, 2, 5, 6))
    wire_type = chance.choice((VARINT, FIXED64, LENGTH, GROUP_START, GROUP_END, FIXED32, 6, 7))
    return tag(field_number, wire_type, size) + value(chance, field_number, wire_type)


def value(chance: Chance, field_number: int, wire_type: int) -> bytes:
    """What may follow a tag."""
    if wire_type == VARINT:
        return varint(some_integer(chance))
    if wire_type == LENGTH:
        return length_delimited(1, chance.randbytes(8 * chance.randrange(3)), chance.randrange(7))[1:]
    if wire_type == GROUP_START:
        return some_fields(chance) + tag(field_number, GROUP_END)
    return b"" if wire_type == GROUP_END else bytes({FIXED64: 8, FIXED32: 4}.get(wire_type, 0))


def some_fields(chance: Chance) -> bytes:
    simple = (packed_list, cut_list, unpacked, scalar)
    return b"".join(chance.choice(simple)(chance) for _ in range(chance.randrange(3)))


def some_group(chance: Chance) -> bytes:
    """A group within groups, with the right end or another's."""
    outer, inner = chance.choice(FIELD_NUMBERS[1:-1]), chance.choice(FIELD_NUMBERS[1:-1])
    body = group(
        outer, some_fields(chance), nested(chance.randrange(4), inner, some_fields(chance)), fixed32(UNKNOWN, 7)
    )
    return body if chance.random() < 0.8 else body[: -len(tag(outer, GROUP_END))] + tag(inner, GROUP_END)


def deep_group(chance: Chance) -> bytes:
    """Groups about as deep as the official runtime allows."""
    return nested(chance.choice((98, 99, 100, 101, 150)), chance.choice((1, 4, 16)), some_fields(chance))


def impossible_length(chance: Chance) -> bytes:
    """A length beyond the end, or beyond what any message can have."""
    length = chance.choice((9, 16, 1_000, 2**31 - 8, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**35 - 1, 2**63, 2**64 - 1))
    return tag(chance.choice((1, 2, 4)), LENGTH) + varint(length) + chance.randbytes(8)


PIECES: tuple[Piece, ...] = (
    *[packed_list, unpacked, scalar] * 4,
    *[any_field, some_group] * 2,
    cut_list,
    deep_group,
    impossible_length,
)


def assembled(chance: Chance) -> bytes:
    """A body put together by hand: split lists, packed and not, scalars again and again, unknown fields, groups."""
    return b"".join(chance.choice(PIECES)(chance) for _ in range(chance.randrange(6)))


def flip(chance: Chance, body: bytes) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1 << chance.randrange(8)]) + body[place + 1 :]


def replace(chance: Chance, body: bytes) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + bytes([chance.choice(TELLING_BYTES)]) + body[place + 1 :]


def insert(chance: Chance, body: bytes) -> bytes:
    place = chance.randrange(len(body) + 1)
    return body[:place] + chance.choice((chance.randbytes(1), b"\x80", bytes(8), scalar(chance))) + body[place:]


def delete(chance: Chance, body: bytes) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + body[place + chance.choice((1, 1, 2, 8)) :]


def cut(chance: Chance, body: bytes) -> bytes:
    return body[: chance.randrange(len(body))]


def repeat(chance: Chance, body: bytes) -> bytes:
    place = chance.randrange(len(body))
    return body + body[place : place + chance.randrange(1, 20)]


EDITS = (flip, flip, replace, insert, delete, cut, repeat)


def mutated(chance: Chance, body: bytes) -> bytes:
    """The body after a few edits; the more of them, the rarer."""
    while body and chance.random() > 0.4:  # Hypothesis's least draw, 0, ends it
        body = chance.choice(EDITS)(chance, body)
    return body


def any_body(chance: Chance) -> bytes:
    """A body, sound or not."""
    return mutated(chance, chance.choice((canonical, assembled))(chance))
