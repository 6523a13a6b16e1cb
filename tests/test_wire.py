"""Messages read as plain values are what the official runtime makes of the same bytes, and it reads what is written."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from numcheck._wire import NO_MOMENT, Layout
from numcheck.api.wire import reader_of
from numcheck.errors import MalformedMessage
from numcheck.v1 import registration_pb2 as pb

# Between them they have a field of every kind.
TYPES = [pb.RegisterRequest, pb.ImportRegistrationsRequest, pb.ListRegistrationsResponse, pb.WatchRegistrationsResponse]
SECONDS_MIN, SECONDS_MAX = -62_135_596_800, 253_402_300_799  # of a Timestamp, by its definition
INTEGERS = {
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_STRING: st.text(max_size=200),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=200),
}


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@st.composite
def messages(draw: Callable[..., Any], message_type: type[Message], moments: st.SearchStrategy[Timestamp]) -> Message:
    """Messages of a type, with any of its fields."""
    made = message_type()
    for field in message_type.DESCRIPTOR.fields:
        if is_map(field):
            getattr(made, field.name).update(
                draw(st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
            )
        elif field.message_type is not None:
            of_type = getattr(pb, field.message_type.name, Timestamp)
            one = moments if of_type is Timestamp else messages(of_type, moments)
            if field.is_repeated:
                getattr(made, field.name).extend(draw(st.lists(one, max_size=2)))
            elif draw(st.booleans()):
                getattr(made, field.name).CopyFrom(draw(one))
        elif field.is_repeated:
            getattr(made, field.name).extend(draw(st.lists(INTEGERS[field.type], max_size=3)))
        elif draw(st.booleans()):
            setattr(made, field.name, draw(INTEGERS[field.type]))
    return made


def values_of(made: Message, kind: type[list[Any] | tuple[Any, ...]] = list) -> Any:
    """The values of a message, by reflection, and those of the messages within."""

    def value_of(field: FieldDescriptor) -> Any:
        value = getattr(made, field.name)
        if is_map(field):
            return dict(value)
        if field.message_type is None:
            return list(value) if field.is_repeated else value
        if field.is_repeated:
            return [values_of(one, kind) for one in value]
        if not made.HasField(field.name):
            return None
        return moment_us(value) if isinstance(value, Timestamp) else values_of(value, kind)

    return kind(map(value_of, fields_of(made.DESCRIPTOR)))


def fields_of(descriptor: Descriptor) -> list[FieldDescriptor]:
    return sorted(descriptor.fields, key=lambda field: field.number)


def moment_us(stamp: Timestamp) -> int:
    is_one = SECONDS_MIN <= stamp.seconds <= SECONDS_MAX and 0 <= stamp.nanos < 10**9
    return stamp.seconds * 10**6 + stamp.nanos // 1_000 if is_one else NO_MOMENT


def read_whole(descriptor: Descriptor, values: list[Any] | None, read: Callable[[Descriptor], Any]) -> Any:
    """Read the repeated messages within as well, of which the bytes are given; None if one of them is not read."""
    if values is None:
        return None
    whole = list(values)
    for place, field in enumerate(fields_of(descriptor)):
        if field.message_type is None or is_map(field) or values[place] is None or isinstance(values[place], int):
            continue
        within = (
            [read_whole(field.message_type, one, read) for one in map(read(field.message_type), values[place])]
            if (field.is_repeated)
            else read_whole(field.message_type, values[place], read)
        )
        if within is None or None in (within if field.is_repeated else ()):
            return None
        whole[place] = within
    return whole


def read_at_once(message_type: type[Message], content: bytes) -> Any:
    """What the layouts make of a message, without protobuf."""
    return read_whole(
        message_type.DESCRIPTOR, layout_of(message_type.DESCRIPTOR).read(content), lambda one: layout_of(one).read
    )


def read_anyhow(message_type: type[Message], content: bytes) -> Any:
    """What the readers make of it, which ask protobuf where it is unusual; MalformedMessage."""
    return read_whole(message_type.DESCRIPTOR, reader(message_type.DESCRIPTOR)(content), reader)


@cache
def layout_of(descriptor: Descriptor) -> Layout:
    return Layout(descriptor)


@cache
def reader(descriptor: Descriptor) -> Callable[[bytes], list[Any]]:
    return reader_of(getattr(pb, descriptor.name))


ANY_STAMPS = st.builds(Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1))
STAMPS = st.builds(Timestamp, seconds=st.integers(SECONDS_MIN, SECONDS_MAX), nanos=st.integers(0, 10**9 - 1))
WRITTEN_STAMPS = st.builds(
    Timestamp, seconds=st.integers(SECONDS_MIN, SECONDS_MAX), nanos=st.integers(1, 999_999).map(lambda us: 1_000 * us)
)


@given(st.sampled_from(TYPES), st.data())
def test_what_the_runtime_writes_is_read_at_once(message_type, data):
    made = data.draw(messages(message_type, ANY_STAMPS | STAMPS))
    assert read_at_once(message_type, made.SerializeToString()) == values_of(made)


@given(st.sampled_from(TYPES), st.data())
def test_the_runtime_reads_what_is_written(message_type, data):
    made = data.draw(messages(message_type, WRITTEN_STAMPS))
    assert message_type.FromString(layout_of(message_type.DESCRIPTOR).write(values_of(made, tuple))) == made


@st.composite
def bent(draw: Callable[..., Any], message_type: type[Message]) -> bytes:
    """Messages with bytes of them changed, left out, put in or repeated."""
    content = b"".join(
        one.SerializeToString() for one in draw(st.lists(messages(message_type, ANY_STAMPS), max_size=2))
    )
    for _ in range(draw(st.integers(0, 3))):
        at, size = draw(st.integers(0, len(content))), draw(st.integers(0, 4))
        put = draw(
            st.binary(max_size=4) | st.sampled_from([b"\x80\x00", b"\xff" * 9 + b"\x01", b"\x7a\x01a", b"\x0a\x00"])
        )
        content = content[:at] + put + content[at + size :]
    return content


@given(st.sampled_from(TYPES), st.data())
def test_any_bytes_are_read_as_the_runtime_reads_them(message_type, data):
    """Also where they are written in a way in which it never writes."""
    content = data.draw(st.binary(max_size=60) | bent(message_type))
    try:
        expected = values_of(message_type.FromString(content))
    except DecodeError:
        assert read_at_once(message_type, content) is None
        with pytest.raises(MalformedMessage):
            read_anyhow(message_type, content)
    else:
        assert read_anyhow(message_type, content) == expected
        assert read_at_once(message_type, content) in (None, expected)


TEXT_TWICE = b"\x0a\x01a\x0a\x01b"  # the last counts


# Written as protobuf's specification says, and read by each implementation of it; never written so by one.
@pytest.mark.parametrize(
    "content",
    [
        TEXT_TWICE,
        b"\x0a\x81\x00a",  # a size in more bytes than it needs
        b"\x72\x01?\x0a\x01a",  # an unknown field
        b"\x40\xff\xff\xff\xff\xff\x01",  # an enum of more bits than it has
        b"\x32\x03\x0a\x01a\x32\x02\x10\x01",  # a message in two parts
        b"\x22\x00",  # an entry without key and value
        b"\x22\x06\x12\x01v\x0a\x01k",  # an entry's value before its key
        b"\x32\x07\x10\xff\xff\xff\xff\xff\x01",  # a port of more bits than it has
    ],
)
def test_unusual_message_is_read_as_the_runtime_reads_it(content):
    assert layout_of(pb.RegisterRequest.DESCRIPTOR).read(content) is None or content == TEXT_TWICE
    assert read_anyhow(pb.RegisterRequest, content) == values_of(pb.RegisterRequest.FromString(content))


@pytest.mark.parametrize("nanos", [b"\x85\x80\x80\x80\x10", b"\xff\xff\xff\xff\x0f"])  # more than 32 bits; all 32
def test_nanoseconds_of_more_bits_are_read_as_the_runtime_reads_them(nanos):
    row = b"\x32" + bytes([1 + len(nanos)]) + b"\x10" + nanos
    assert read_anyhow(pb.ImportedRegistration, row) == values_of(pb.ImportedRegistration.FromString(row))


def test_message_within_may_be_given_as_its_bytes():
    registration = pb.Registration(service="messenger", user_id="u1", evidence=[pb.Evidence(live=True), pb.Evidence()])
    written = layout_of(pb.ListRegistrationsResponse.DESCRIPTOR).write(([registration.SerializeToString()], "next", []))
    assert pb.ListRegistrationsResponse.FromString(written).registrations == [registration]
    values = (*values_of(registration, tuple)[:-1], [one.SerializeToString() for one in registration.evidence])
    written = layout_of(pb.ListRegistrationsResponse.DESCRIPTOR).write(([values], "", []))
    assert pb.ListRegistrationsResponse.FromString(written).registrations == [registration]


@pytest.mark.parametrize(
    "values",
    [
        ([], ""),
        ("", "", ""),
        ([], 1, []),
        ([], "", [b"a"]),
        ([["a"]], "", []),
        (["a"], "", []),
        [[], "", []],
        ([()], "", []),
    ],
)
def test_values_of_other_types_or_another_count_are_refused(values):
    with pytest.raises(TypeError):
        layout_of(pb.ListRegistrationsResponse.DESCRIPTOR).write(values)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_integer_that_its_field_cannot_hold_is_refused(number):
    with pytest.raises(OverflowError):
        Layout(pb.SummarizeRegistrationsResponse.DESCRIPTOR).write(([], number))


@pytest.mark.parametrize("message_type", [pb.CompleteVerificationRequest, pb.ListRegistrationsRequest])
def test_type_with_alternatives_or_packed_numbers_has_no_layout(message_type):
    with pytest.raises(ValueError, match="field"):
        Layout(message_type.DESCRIPTOR)
