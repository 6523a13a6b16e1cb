"""An active set against a Python set, step by step; its digest against one computed from what the docs say of it."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pyroaring import BitMap

from numcheck.active import ActiveSet, chunk_digest
from numcheck.active.active_set import set_digest
from numcheck.errors import BadActiveSet
from tests.active.sets import active_set_of

CHUNK = 10_000_000
NUMBER_MAX = 10**15 - 1
EDGES = [0, 1, CHUNK - 1, CHUNK, 79160000000, 79169999999, 79170000000, 79999999999, NUMBER_MAX - 1, NUMBER_MAX]

numbers = st.sampled_from(EDGES) | st.integers(79159999900, 79160000100) | st.integers(0, NUMBER_MAX)
number_lists = st.lists(numbers, max_size=30)


def digest_by_the_docs(members) -> bytes:
    """SHA-256 over each chunk in order: its number as 8 bytes big-endian, then the SHA-256 of its bits."""
    digest = hashlib.sha256()
    for chunk in sorted({number // CHUNK for number in members}):
        bits = sum(1 << number % CHUNK for number in members if number // CHUNK == chunk)
        digest.update(chunk.to_bytes(8, "big") + hashlib.sha256(bits.to_bytes(CHUNK // 8, "little")).digest())
    return digest.digest()


class BesideASet(RuleBasedStateMachine):
    """An active set and a Python set, changed alike."""

    def __init__(self):
        super().__init__()
        self.active, self.plain = ActiveSet(), set()

    @initialize(members=number_lists)
    def start(self, members):
        self.active, self.plain = active_set_of(members), set(members)

    @rule(first=numbers, size=st.sampled_from([1, 2, 100, 3_000]))
    def add_range(self, first, size):
        last = min(first + size - 1, NUMBER_MAX)
        self.active.add_range(first, last)
        self.plain.update(range(first, last + 1))

    @rule(asked=number_lists)
    def ask(self, asked):
        near = {number + step for number in asked for step in (-1, 0, 1)}
        assert {number for number in near if number in self.active} == near & self.plain

    @rule()
    def take_apart(self):
        chunks = list(self.active.chunks())
        assert [chunk for chunk, _ in chunks] == sorted({number // CHUNK for number in self.plain})
        assert all(bitmap for _, bitmap in chunks)
        assert ActiveSet(dict(chunks)) == self.active

    @invariant()
    def holds_the_same(self):
        assert len(self.active) == len(self.plain)
        assert list(self.active) == sorted(self.plain)
        assert self.active == active_set_of(self.plain)


TestBesideASet = BesideASet.TestCase
TestBesideASet.settings = settings(max_examples=40, stateful_step_count=8)


@settings(max_examples=50)
@given(members=st.lists(numbers, max_size=8))
def test_digest_is_the_one_of_the_docs(members):
    active_set = active_set_of(members)
    assert active_set.digest() == digest_by_the_docs(set(members))
    assert set_digest((chunk, chunk_digest(bitmap)) for chunk, bitmap in active_set.chunks()) == active_set.digest()


def test_digest_of_an_empty_set_is_that_of_no_bytes():
    assert ActiveSet().digest() == hashlib.sha256(b"").digest()


def test_digest_does_not_depend_on_the_order_of_chunks():
    digests = [(7917, b"a" * 32), (7916, b"b" * 32), (7999, b"c" * 32)]
    assert set_digest(digests) == set_digest(reversed(digests))


def test_digest_differs_when_one_number_moves_to_the_same_place_of_another_chunk():
    assert active_set_of([79160000005]).digest() != active_set_of([79170000005]).digest()


def test_digest_is_the_same_when_the_bitmap_is_packed_otherwise():
    packed = BitMap(range(5_000))
    packed.run_optimize()
    assert chunk_digest(packed) == chunk_digest(BitMap(list(range(5_000))))


def test_range_reaches_over_chunks():
    active_set = ActiveSet()
    active_set.add_range(79159999999, 79180000000)
    assert len(active_set) == 20_000_002
    assert [(chunk, len(bitmap)) for chunk, bitmap in active_set.chunks()] == [
        (7915, 1),
        (7916, CHUNK),
        (7917, CHUNK),
        (7918, 1),
    ]


@pytest.mark.parametrize("number", [-1, NUMBER_MAX + 1, 2**64])
def test_number_is_refused_when_none_can_be_so_long(number):
    with pytest.raises(BadActiveSet) as refused:
        active_set_of([79160000000, number])
    assert "79160000000" not in str(refused.value)


@pytest.mark.parametrize(("first", "last"), [(-1, 5), (5, 4), (0, NUMBER_MAX + 1), (NUMBER_MAX + 1, NUMBER_MAX + 2)])
def test_range_is_refused_when_it_cannot_be_and_the_set_stays(first, last):
    active_set = active_set_of([4, 5])
    with pytest.raises(BadActiveSet):
        active_set.add_range(first, last)
    assert list(active_set) == [4, 5]


@pytest.mark.parametrize("chunk", [-1, (NUMBER_MAX + 1) // CHUNK, 2**40])
def test_chunk_is_refused_when_none_can_have_that_number(chunk):
    with pytest.raises(BadActiveSet):
        ActiveSet({chunk: BitMap([1])})


def test_chunk_is_refused_when_a_place_is_past_its_end():
    assert list(ActiveSet({0: BitMap([CHUNK - 1])})) == [CHUNK - 1]
    with pytest.raises(BadActiveSet):
        ActiveSet({0: BitMap([CHUNK])})


def test_empty_chunks_are_no_chunks():
    assert ActiveSet({7916: BitMap(), 7917: BitMap([1])}) == active_set_of([79170000001])
    assert list(ActiveSet({7916: BitMap()}).chunks()) == []


def test_no_number_is_in_the_set_when_it_is_negative_or_too_long():
    active_set = ActiveSet()
    active_set.add_range(0, 100)
    assert -1 not in active_set
    assert NUMBER_MAX + 1 not in active_set
