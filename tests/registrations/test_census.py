"""The census of registrations, read in pages and in as many parts as its bound asks for, beside a plain dictionary."""

from collections import defaultdict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS
from numcheck.registrations import census
from numcheck.registrations.census import Census
from numcheck.store import Cause, WithdrawnChunk

CHUNKS = range(7_900, 7_904)


class Row(NamedTuple):
    """A registration: as much of it as a census looks at."""

    registration_id: bytes
    number: int | None


class Kept:
    """Registrations, by ascending ids, and the vault that opens them."""

    def __init__(self, numbers: list[int | None]) -> None:
        self.rows = [Row(place.to_bytes(16), number) for place, number in enumerate(numbers, 1)]
        self.reads = 0

    def every_number(self, _states: Any, *, after: bytes, count_max: int) -> list[Row]:
        self.reads += 1
        return [row for row in self.rows if row.registration_id > after][:count_max]

    def numbers(self, rows: list[Row]) -> list[int | None]:
        return [row.number for row in rows]


def taken(chunk: int, *, revision: int = 1) -> WithdrawnChunk:
    return WithdrawnChunk(revision, Cause.PLAN, chunk, 0, BitMap(range(0, 10, 2)))


def read(kept: Kept, chunk: int) -> Census:
    one = Census(taken(chunk))
    while not (one.is_whole or one.is_too_long):
        one.read_on(kept, kept)  # type: ignore[arg-type]
    return one


numbers = st.builds(lambda chunk, place: chunk * CHUNK_NUMBERS + place, st.sampled_from(CHUNKS), st.integers(0, 9))


@given(numbers=st.lists(st.none() | numbers, max_size=40), entries_max=st.integers(0, 20), page_size=st.integers(1, 9))
def test_every_registration_is_told_once_in_however_many_parts(
    numbers: list[int | None], entries_max: int, page_size: int
) -> None:
    """A damaged row, whose number is not known, is left out; each part has at least one chunk."""
    expected = defaultdict(set)
    for place, number in enumerate(numbers, 1):
        if number is not None and number % 2 == 0:
            expected[number // CHUNK_NUMBERS].add((number % CHUNK_NUMBERS, place.to_bytes(16)))
    kept, one, parts = Kept(numbers), None, 0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(census, "ENTRIES_MAX", entries_max)
        patched.setattr(census, "PAGE_SIZE", page_size)
        for chunk in CHUNKS:
            if one is None or not one.is_for(taken(chunk)):
                one, parts = read(kept, chunk), parts + 1
            assert one.on(chunk, taken(chunk).places) == sorted(expected[chunk])
    held = {number // CHUNK_NUMBERS for number in numbers if number is not None}
    assert parts <= max(len(held), 1)
    if len([number for number in numbers if number is not None]) <= entries_max:
        assert parts == 1


def test_a_later_change_asks_for_another_census() -> None:
    """Users who registered since the older one may be on its numbers."""
    one = read(Kept([]), CHUNKS[0])
    assert one.is_for(taken(CHUNKS[1]))
    assert not one.is_for(taken(CHUNKS[0], revision=2))


def test_too_many_registrations_are_not_read_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "REGISTRATIONS_MAX", 10)
    monkeypatch.setattr(census, "PAGE_SIZE", 4)
    kept = Kept([CHUNKS[0] * CHUNK_NUMBERS] * 100)
    one = read(kept, CHUNKS[0])
    assert one.is_too_long
    assert kept.reads == 3
    assert one.is_for(taken(CHUNKS[1], revision=2))
