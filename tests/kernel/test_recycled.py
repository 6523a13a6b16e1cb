"""Layers of the record against plain dictionaries, damaged layers, and requests against the official runtime."""

import random
from array import array
from bisect import bisect_left

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numcheck._fast import Table
from numcheck._recycled import NEVER, ChunkWriter, Layer, Record, foot_of
from numcheck.errors import BadMoments, IndexDamaged, MalformedMessage, TooManyNumbers
from numcheck.v1 import check_pb2

CHUNK, PAGE = 10_000_000, 10_000
FIRST = 7916 * CHUNK
NO, YES, UNKNOWN = 1, 2, 3

PLACES = st.sets(
    st.one_of(
        st.integers(0, 3 * CHUNK - 1), st.integers(0, 60), st.sampled_from([0, PAGE - 1, PAGE, CHUNK - 1, CHUNK])
    ),
    max_size=30,
)
WITHDRAWN = st.dictionaries(st.integers(-(2**40), 2**40), PLACES, max_size=6)


def layer_of(withdrawn, code_size=2, folded=(), moments=None):
    """A layer of numbers by moment, on top of others."""
    moments = sorted({*withdrawn, *(one for layer in folded for one in layer.moments)}) if moments is None else moments
    writer, pieces, blocks, count = ChunkWriter(), [], [], 0
    chunks = {number // CHUNK for numbers in withdrawn.values() for number in numbers}
    for chunk in sorted(chunks.union(*(layer.chunks for layer in folded))):
        for moment, numbers in withdrawn.items():
            here = array("I", [number % CHUNK for number in numbers if number // CHUNK == chunk])
            writer.add(here, bisect_left(moments, moment) + 1)
        for layer in folded:
            writer.overlay(layer, chunk, array("H", [0, *(bisect_left(moments, one) + 1 for one in layer.moments)]))
        block, number_count = writer.lay_out(code_size)
        if number_count:
            pieces.append(block)
            blocks.append((chunk, len(block)))
            count += number_count
    return b"".join([*pieces, foot_of(moments, blocks, code_size, count)])


def newest(*withdrawn):
    """The newest moment of each number."""
    found = {}
    for one in withdrawn:
        for moment, numbers in one.items():
            for number in numbers:
                found[number] = max(moment, found.get(number, moment))
    return found


def numbers_at(places_by_moment):
    return {moment: {FIRST + place for place in places} for moment, places in places_by_moment.items()}


def beside(numbers):
    return {near for number in numbers for near in (number - 1, number, number + 1, number + PAGE)}


@given(WITHDRAWN, st.sampled_from([1, 2]))
def test_layer_has_the_newest_moment_of_each_number_and_of_no_other(places, code_size):
    withdrawn = numbers_at(places)
    layer, expected = Layer(layer_of(withdrawn, code_size)), newest(withdrawn)
    assert {number: layer.moment(number) for number in expected} == expected
    assert layer.number_count == len(expected)
    for number in beside(expected) - set(expected) | {0, 2**64 - 1, FIRST - CHUNK}:
        assert layer.moment(number) is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 666, 667, 3_000, 9_999, 10_000]), st.sampled_from([1, 2]))
@example(0, 10_000, 1)
def test_page_has_the_same_numbers_in_whatever_form_it_takes_least_room(seed, count, code_size):
    drawn = random.Random(seed)
    numbers = drawn.sample(range(FIRST + 3 * PAGE, FIRST + 4 * PAGE), count)
    withdrawn = {moment: set(numbers[moment::3]) for moment in range(3)} | {9: set(numbers[:1])}
    same = {5: set(numbers)}
    for one in (withdrawn, same):
        layer, expected = Layer(layer_of(one, code_size)), newest(one)
        assert {number: layer.moment(number) for number in range(FIRST + 3 * PAGE - 1, FIRST + 4 * PAGE + 1)} == {
            number: expected.get(number) for number in range(FIRST + 3 * PAGE - 1, FIRST + 4 * PAGE + 1)
        }


@given(st.lists(WITHDRAWN, min_size=1, max_size=3), st.sampled_from([1, 2]))
def test_folded_layers_have_what_each_of_them_had(some, code_size):
    withdrawn = [numbers_at(one) for one in some]
    folded = Layer(layer_of(withdrawn[0], code_size, [Layer(layer_of(one, 1)) for one in withdrawn[1:]]))
    expected = newest(*withdrawn)
    assert {number: folded.moment(number) for number in expected} == expected
    assert folded.number_count == len(expected)


def test_codes_that_are_translated_to_none_are_dropped():
    old = Layer(layer_of({1: {FIRST}, 2: {FIRST + 1}}))
    writer = ChunkWriter()
    writer.overlay(old, 7916, array("H", [0, 0, 1]))
    block, count = writer.lay_out(1)
    layer = Layer(block + foot_of([2], [(7916, len(block))], 1, count))
    assert (layer.moment(FIRST), layer.moment(FIRST + 1)) == (None, 2)
    with pytest.raises(ValueError, match="translation"):
        writer.overlay(old, 7916, array("H", [0, 0]))
    with pytest.raises(ValueError, match="outside"):
        writer.add(array("I", [CHUNK]), 1)


DAMAGED = {3: {FIRST, FIRST + 1, FIRST + 5}, 5: {FIRST + 3 * PAGE + place for place in range(0, 1_400, 2)}}


def test_damaged_layer_is_refused_or_stays_inside_of_its_bytes():
    """Every bit of a layer with pages of two forms; a sanitized build sees a read outside of it."""
    whole = layer_of(DAMAGED, 1)
    refused = 0
    for place in [*range(400), *range(1_700, len(whole))]:
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            try:
                layer = Layer(bytes(damaged))
            except IndexDamaged:
                refused += 1
                continue
            for number in (FIRST, FIRST + 1, FIRST + 3 * PAGE + 1_398, FIRST + 9 * CHUNK):
                assert layer.moment(number) in (None, *layer.moments)
    assert refused > 2_000


def test_layer_is_refused_when_it_is_cut():
    whole = layer_of(DAMAGED, 2)
    for size in range(0, len(whole), 7):
        with pytest.raises(IndexDamaged):
            Layer(whole[:size])


# --- requests


def record_of(*layers, since=0):
    """A record over a table of one class, number 2, whose record is whole from `since` on."""
    entries = bytes(8) * 1_000
    table = Table(
        directory=entries[:4] + b"\x02\x00" + entries[6:],
        classes=bytes.fromhex(
            "00000000 0202 01 00 0000000000000000"
            "00000000 0101 01 00 0000000000000000"
            "01000000 0304 01 00 0100000000000000"
        ),
        extents=[],
        spans=[(FIRST, 0, 1_000)],
        spaces=[(FIRST, 0, 1_000)],
        index_version=1,
    )
    record = Record(layers=layers, ranges=b"", of_range=b"", since=since)
    bounds = array("q", [NEVER, NEVER, since]), bytes([False, True, False])
    return lambda request, count_max=65_536: record.check(request, table, *bounds, numbers_per_call_max=count_max)


def varint(value):
    data = b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


FIXED = st.one_of(
    st.sampled_from([FIRST, FIRST + 1, FIRST + 2, FIRST + PAGE]), st.integers(0, 2**64 - 1), st.integers(0, 10)
).map(lambda value: value.to_bytes(8, "little"))
PIECES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from([1, 2]), st.lists(FIXED, max_size=4)).map(
            lambda one: varint(one[0] << 3 | 2) + varint(8 * len(one[1])) + b"".join(one[1])
        ),
        st.tuples(st.sampled_from([1, 2]), FIXED).map(lambda one: varint(one[0] << 3 | 1) + one[1]),
        st.sampled_from(
            [b"\x18\x05", b"\x7a\x03abc", b"\x23\x08\x01\x24", b"\x08\x05", b"\x0a\x03abc", b"\x0d\0\0\0\0"]
        ),
        st.binary(max_size=6),
    ),
    max_size=6,
)


@settings(max_examples=400)
@given(PIECES, st.integers(0, 3))
def test_request_is_read_as_the_official_runtime_reads_it(pieces, cut):
    body = b"".join(pieces)
    body = body[: len(body) - cut]
    withdrawn = {4: {FIRST}, 9: {FIRST + 1}}
    check = record_of(Layer(layer_of(withdrawn)), since=2)
    try:
        request = check_pb2.CheckRecycledRequest.FromString(body)
    except DecodeError:
        with pytest.raises(MalformedMessage):
            check(body)
        return
    if len(request.since_unix_s) not in (1, len(request.numbers)):
        with pytest.raises(BadMoments):
            check(body)
        return
    moments = list(request.since_unix_s)
    moments = moments * len(request.numbers) if len(moments) == 1 else moments
    assert list(check(body)) == [
        expected(newest(withdrawn), number, moment) for number, moment in zip(request.numbers, moments, strict=False)
    ]


def expected(moments, number, since):
    if number in moments and moments[number] >= since and FIRST <= number < FIRST + CHUNK:
        return YES
    return NO if FIRST <= number < FIRST + PAGE and since >= 2 else UNKNOWN


def test_request_is_refused_when_it_has_too_many_numbers():
    """And not one fewer: the two counts are told."""
    check = record_of()
    request = check_pb2.CheckRecycledRequest(numbers=[FIRST] * 5, since_unix_s=[0] * 5).SerializeToString()
    assert len(check(request, 5)) == 5
    with pytest.raises(TooManyNumbers, match="5 numbers in one request; at most 4"):
        check(request, 4)


@pytest.mark.parametrize(("number_count", "moment_count"), [(0, 2), (2, 0), (2, 3), (3, 2)])
def test_request_is_refused_when_moments_are_neither_one_nor_one_each(number_count, moment_count):
    request = check_pb2.CheckRecycledRequest(numbers=[FIRST] * number_count, since_unix_s=[0] * moment_count)
    with pytest.raises(BadMoments, match=f"{moment_count} moments for {number_count} numbers"):
        record_of()(request.SerializeToString())


@pytest.mark.parametrize("moment_count", [0, 1])
def test_no_numbers_get_no_answers(moment_count):
    assert record_of()(check_pb2.CheckRecycledRequest(since_unix_s=[5] * moment_count).SerializeToString()) == b""
