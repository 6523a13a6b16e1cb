"""A chunk's bitset against Python's own integers, which have bits without an end."""

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck._bits import BITSET_SIZE, CHUNK_NUMBERS, copy_range, members_of, set_at_random, set_members

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
