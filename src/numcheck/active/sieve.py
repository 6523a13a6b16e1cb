"""Sorts pushed numbers by chunk and keeps those that may be taken.

Invariant: what is kept lies in the mask and what else may be taken, so memory is bounded by those, however much is
sent; and a range that has been taken costs next to nothing the next time.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS, ChunkSplitter

EXAMPLES_MAX = 100
COUNT_MAX = 2**64 - 1  # what an answer has room for: a count that would be higher stays there

Chunks = dict[int, BitMap]
Slots = Callable[[int], BitMap]


@dataclass(slots=True)
class Refused:
    """The numbers that were not taken: how many, each as often as it was sent, the first of them, and the field of the
    push that the very first stood in."""

    count: int = 0
    examples: list[int] = field(default_factory=list)
    field_name: str = ""

    @contextmanager
    def told_of(self, field_name: str) -> Iterator[None]:
        """Have what is refused in the block be told as of that field."""
        before = self.count
        yield
        if self.count and not before:
            self.field_name = field_name

    def add(self, number: int) -> None:
        """Refuse a number."""
        self.raise_by(1)
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(number)

    def raise_by(self, count: int) -> None:
        """Count numbers that are named already, or need not be."""
        self.count = min(self.count + count, COUNT_MAX)

    def name_gap(self, first: int, end: int) -> None:
        """Name successive numbers, the end excluded, as far as there is room."""
        self.examples.extend(range(first, min(end, first + self._room)))

    def name_places(self, chunk: int, places: BitMap) -> None:
        """Name places of a chunk, as far as there is room."""
        self.examples.extend(chunk * CHUNK_NUMBERS + place for place in places[: self._room])

    @property
    def full(self) -> bool:
        """True if there is room for no more names."""
        return not self._room

    @property
    def _room(self) -> int:
        return EXAMPLES_MAX - len(self.examples)


class Sieve:
    """Takes numbers that are in the mask, by chunk; the others are refused.

    `also` gives what else of a chunk may be taken. It is asked only about chunks with numbers outside of the mask, once
    each.
    """

    def __init__(self, mask: Mapping[int, BitMap], refused: Refused, also: Slots | None = None) -> None:
        self._mask, self._chunks, self._splitter = mask, sorted(mask), ChunkSplitter(mask)
        self._refused, self._also = refused, also
        self._wide: Chunks = {}

    def take(self, target: Chunks, numbers: "array[int]") -> None:
        """Add numbers (array of unsigned 64-bit integers) to `target`."""
        split, rest = self._splitter.split(numbers)
        for number in rest:
            self._refused.add(number)
        for chunk, places in split.items():
            taken = BitMap(places)
            strangers = taken - self._mask[chunk]
            if strangers:
                strangers -= self._may_be_taken(chunk)
                self._refuse_sent(chunk, places, strangers)
                taken -= strangers
            merge(target, chunk, taken)

    def take_range(self, target: Chunks, first: int, last: int) -> None:
        """Add every number from `first` to `last`, both inclusive."""
        taken_count, next_number = 0, first
        start = bisect_left(self._chunks, first // CHUNK_NUMBERS)
        for chunk in self._chunks[start:]:
            base = chunk * CHUNK_NUMBERS
            if base > last:
                break
            begin, end = max(first - base, 0), min(last - base, CHUNK_NUMBERS - 1) + 1
            self._refused.name_gap(next_number, base + begin)
            next_number = base + end
            taken_count += self._take_places(target, chunk, begin, end)
        self._refused.name_gap(next_number, last + 1)
        self._refused.raise_by(last - first + 1 - taken_count)

    def _take_places(self, target: Chunks, chunk: int, begin: int, end: int) -> int:
        """Add the places from `begin` to before `end` that may be taken; return how many there are."""
        mask = self._mask[chunk]
        count = mask.range_cardinality(begin, end)
        if count < end - begin and self._also is not None:
            mask = self._may_be_taken(chunk)
            count = mask.range_cardinality(begin, end)
        if count < end - begin and not self._refused.full:
            self._refused.name_places(chunk, BitMap(range(begin, end)) - mask)
        # A stream may hold the same wide range thousands of times: only what is new is worth the work.
        if chunk not in target or target[chunk].range_cardinality(begin, end) < count:
            whole = BitMap(range(begin, end))
            merge(target, chunk, whole if count == end - begin else mask & whole)
        return count

    def _may_be_taken(self, chunk: int) -> BitMap:
        if self._also is None:
            return self._mask[chunk]
        if chunk not in self._wide:
            self._wide[chunk] = self._mask[chunk] | self._also(chunk)
        return self._wide[chunk]

    def _refuse_sent(self, chunk: int, places: "array[int]", strangers: BitMap) -> None:
        if strangers:
            for place in places:
                if place in strangers:
                    self._refused.add(chunk * CHUNK_NUMBERS + place)


def merge(target: Chunks, chunk: int, taken: BitMap) -> None:
    """Add places to a chunk; one without any is not made."""
    if chunk in target:
        target[chunk] |= taken
    elif taken:
        target[chunk] = taken
