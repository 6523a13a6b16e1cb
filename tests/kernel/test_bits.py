"""A chunk's bitset against Python's own integers, which have bits without an end."""

import math
from array import array

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyroaring import BitMap

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, copy_range, members_of, set_at_random, set_bitmap, set_members

LAST = CHUNK_NUMBERS - 1
EDGES = [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, LAST - 64, LAST - 63, LAST - 8, LAST - 7, LAST - 1, LAST]

places = st.sampled_from(EDGES) | st.integers(0, LAST)
near_places = st.integers(0, 300) | st.integers(LAST - 300, LAST)
ends = st.tuples(near_places | places, near_places | places).map(sorted)


def bitset_of(members) -> bytearray:
    return bytearray(sum(1 << member for member in set(members)).to_bytes(BITSET_SIZE, "little"))


def as_integer(bitset) -> int:
    return int.from_bytes(bitset, "little")


def mask(first: int, last: int) -> int:
    return ((1 << (last - first + 1)) - 1) << first


def splitmix64(seed: int, step: int) -> int:
    """The step-th output of splitmix64, as its authors publish it, in integers without an end."""
    z = (seed + step * 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_chunk_has_as_many_bits_as_numbers():
    assert (CHUNK_NUMBERS, BITSET_SIZE) == (10_000_000, 1_250_000)


@given(old=st.lists(places), new=st.lists(places))
def test_members_are_added_to_what_is_set(old, new):
    bitset = bitset_of(old)
    set_members(bitset, array("I", new))
    assert bitset == bitset_of(old + new)


@given(members=st.lists(places))
def test_members_come_back_ascending_and_once(members):
    assert members_of(bitset_of(members)) == array("I", sorted(set(members)))


def test_every_member_comes_back_when_the_chunk_is_full():
    assert members_of(b"\xff" * BITSET_SIZE) == array("I", range(CHUNK_NUMBERS))


@pytest.mark.parametrize("member", [CHUNK_NUMBERS, CHUNK_NUMBERS + 7, 2**32 - 1])
def test_member_is_refused_when_it_is_past_the_chunk(member):
    bitset = bytearray(BITSET_SIZE)
    with pytest.raises(ValueError, match="1 members are outside of the chunk"):
        set_members(bitset, array("I", [5, member]))
    assert as_integer(bitset) in (0, 1 << 5)


@given(target=st.lists(near_places), source=st.lists(near_places), ends=ends)
def test_range_is_copied_and_nothing_around_it(target, source, ends):
    first, last = ends
    copied = bitset_of(target)
    copy_range(copied, bitset_of(source), first, last)
    wanted = as_integer(bitset_of(target)) | as_integer(bitset_of(source)) & mask(first, last)
    assert as_integer(copied) == wanted


@given(ends=ends)
def test_range_of_a_full_chunk_is_copied_to_its_ends(ends):
    copied = bytearray(BITSET_SIZE)
    copy_range(copied, b"\xff" * BITSET_SIZE, *ends)
    assert as_integer(copied) == mask(*ends)


@pytest.mark.parametrize(("first", "last"), [(1, 0), (0, CHUNK_NUMBERS), (CHUNK_NUMBERS, CHUNK_NUMBERS)])
def test_range_is_refused_when_it_is_not_inside_of_the_chunk(first, last):
    bitset = bytearray(BITSET_SIZE)
    with pytest.raises(ValueError, match="not inside of the chunk"):
        copy_range(bitset, b"\xff" * BITSET_SIZE, first, last)
    with pytest.raises(ValueError, match="not inside of the chunk"):
        set_at_random(bitset, first, last, 1, 1.0)
    assert not any(bitset)


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (0, -1), (0, 2**32), (2**32, 2**32)])
def test_range_is_refused_when_its_ends_are_no_places(first, last):
    bitset = bytearray(BITSET_SIZE)
    with pytest.raises(OverflowError):
        copy_range(bitset, bitset, first, last)
    with pytest.raises(OverflowError):
        set_at_random(bitset, first, last, 1, 1.0)


@given(
    ends=st.tuples(st.integers(0, LAST - 2_000), st.integers(0, 1_999)).map(lambda pair: (pair[0], sum(pair))),
    seed=st.integers(0, 2**64 - 1),
    share=st.floats(0, 1),
)
def test_places_are_drawn_by_splitmix64_of_seed_and_place(ends, seed, share):
    first, last = ends
    bitset = bytearray(BITSET_SIZE)
    drawn = set_at_random(bitset, first, last, seed, share)
    wanted = [place for place in range(first, last + 1) if splitmix64(seed, place + 1) >> 32 < int(share * 2**32)]
    assert (drawn, list(members_of(bitset))) == (len(wanted), wanted)


def test_a_third_is_drawn_when_a_third_is_asked_for():
    assert set_at_random(bytearray(BITSET_SIZE), 0, LAST, 1, 1 / 3) == pytest.approx(CHUNK_NUMBERS / 3, rel=0.001)


def test_drawn_places_are_added_to_what_is_set():
    bitset = bytearray(BITSET_SIZE)
    copy_range(bitset, b"\xff" * BITSET_SIZE, 0, 99)
    assert set_at_random(bitset, 50, 149, 1, 1.0) == 100
    assert as_integer(bitset) == mask(0, 149)


@pytest.mark.parametrize("share", [-0.001, 1.001, math.nan, math.inf])
def test_share_is_refused_when_it_is_none(share):
    with pytest.raises(ValueError, match="the share is not one"):
        set_at_random(bytearray(BITSET_SIZE), 0, 9, 1, share)


@pytest.mark.parametrize("size", [0, BITSET_SIZE - 1, BITSET_SIZE + 1])
def test_bitset_is_refused_when_it_has_not_a_chunks_size(size):
    wrong, right = bytearray(size), bytearray(BITSET_SIZE)
    calls = [
        lambda: set_members(wrong, array("I")),
        lambda: members_of(wrong),
        lambda: copy_range(wrong, right, 0, 1),
        lambda: copy_range(right, wrong, 0, 1),
        lambda: set_at_random(wrong, 0, 1, 1, 1.0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="a chunk's bitset has 1,250,000 bytes"):
            call()


def test_bitset_is_refused_when_it_cannot_be_written():
    frozen = bytes(BITSET_SIZE)
    for call in (lambda: set_members(frozen, array("I", [1])), lambda: copy_range(frozen, frozen, 0, 1)):
        with pytest.raises((BufferError, ValueError)):
            call()


def runs_of(places: list[tuple[int, int]]) -> BitMap:
    return BitMap.union(
        BitMap(), *(BitMap(range(first, min(first + length, CHUNK_NUMBERS))) for first, length in places)
    )


@given(
    scattered=st.sets(st.integers(0, CHUNK_NUMBERS - 1), max_size=50),
    runs=st.lists(st.tuples(st.integers(0, CHUNK_NUMBERS - 1), st.integers(1, 200_000)), max_size=6),
    gaps=st.sets(st.integers(0, CHUNK_NUMBERS - 1), max_size=50),
    every=st.sampled_from([0, 2, 3, 17]),
    optimize=st.booleans(),
)
@example(scattered=set(), runs=[], gaps=set(), every=0, optimize=True)
@example(scattered={CHUNK_NUMBERS - 1}, runs=[(0, CHUNK_NUMBERS)], gaps=set(), every=0, optimize=True)
def test_a_serialised_bitmap_sets_its_members(
    scattered: set[int], runs: list[tuple[int, int]], gaps: set[int], every: int, optimize: bool
) -> None:
    """Arrays, words of bits and runs, in any mixture, beside what pyroaring itself says its members are."""
    places = runs_of(runs) | BitMap(scattered)
    if every:
        places |= BitMap(range(0, 300_000, every))
    places -= BitMap(gaps)
    if optimize:
        places.run_optimize()
    bitset = bytearray(BITSET_SIZE)
    bitset[7] = 0x10
    set_bitmap(bitset, places.serialize())
    assert members_of(bitset) == (places | BitMap([60])).to_array()


def test_what_is_no_bitmap_of_a_chunk_is_refused_at_every_length() -> None:
    places = BitMap(range(70_000, 90_000)) | BitMap(range(0, 60_000, 3)) | BitMap([131_072, 9_999_999])
    for one in (places, places.copy()):
        serialized = one.serialize()
        for size in range(len(serialized)):
            if size < 64 or size > len(serialized) - 64 or size % 97 == 0:
                with pytest.raises(ValueError, match="no serialised bitmap"):
                    set_bitmap(bytearray(BITSET_SIZE), serialized[:size])
        with pytest.raises(ValueError, match="no serialised bitmap"):
            set_bitmap(bytearray(BITSET_SIZE), serialized + b"\0")
        one.run_optimize()
    for outside in (
        BitMap([CHUNK_NUMBERS]),
        BitMap([2**32 - 1]),
        BitMap(range(CHUNK_NUMBERS - 9, CHUNK_NUMBERS + 9_000)),
    ):
        for _ in range(2):
            with pytest.raises(ValueError, match="no serialised bitmap"):
                set_bitmap(bytearray(BITSET_SIZE), outside.serialize())
            outside.run_optimize()


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_damaged_bitmaps_set_nothing_outside(garbage: bytes, place: int, value: int) -> None:
    """Whatever comes: ValueError, or places of the chunk."""
    sound = bytearray((BitMap(range(0, 90, 2)) | BitMap(range(200_000, 200_050))).serialize())
    sound[place % len(sound)] = value
    for one in (garbage, bytes(sound)):
        try:
            set_bitmap(bytearray(BITSET_SIZE), one)
        except ValueError:
            continue
