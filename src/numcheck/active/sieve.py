"""Sorts pushed numbers by chunk and keeps those that may be taken.

Invariant: what is kept lies in the mask, so memory is bounded by the mask, however much is sent.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS, ChunkSplitter

EXAMPLES_MAX = 100

Chunks = dict[int, BitMap]


class Sieve:
    """Takes numbers that are in the mask, by chunk; counts the others, and keeps the first of them as examples."""

    def __init__(self, mask: Mapping[int, BitMap]) -> None:
        self._mask, self._mask_chunks, self._splitter = mask, sorted(mask), ChunkSplitter(mask)
        self.refused_count = 0
        self.refused_examples: list[int] = []

    def take(
        self, target: Chunks, numbers: "array[int]", *, also: Callable[[int], BitMap] = lambda _chunk: BitMap()
    ) -> None:
        """Add numbers (array of unsigned 64-bit integers) to `target`. `also` gives what else of a chunk may be taken;
        it is asked only about chunks with numbers outside of the mask."""
        split, rest = self._splitter.split(numbers)
        for number in rest:
            self._refuse(number)
        for chunk, places in split.items():
            taken = BitMap(places)
            strangers = taken - self._mask[chunk]
            if strangers:
                strangers -= also(chunk)
                self._refuse_sent(chunk, places, strangers)
                taken -= strangers
            merge(target, chunk, taken)

    def take_range(self, target: Chunks, first: int, last: int) -> None:
        """Add every number from `first` to `last`, both inclusive."""
        taken_count, next_number = 0, first
        start = bisect_left(self._mask_chunks, first // CHUNK_NUMBERS)
        for chunk in self._mask_chunks[start:]:
            base = chunk * CHUNK_NUMBERS
            if base > last:
                break
            wanted = BitMap(range(max(first - base, 0), min(last - base, CHUNK_NUMBERS - 1) + 1))
            self._name_gap(next_number, base + wanted.min())
            self._name_each(chunk, wanted - self._mask[chunk])
            next_number = base + wanted.max() + 1
            taken = wanted & self._mask[chunk]
            taken_count += len(taken)
            merge(target, chunk, taken)
        self._name_gap(next_number, last + 1)
        self.refused_count += last - first + 1 - taken_count

    def _refuse_sent(self, chunk: int, places: "array[int]", strangers: BitMap) -> None:
        if strangers:
            for place in places:
                if place in strangers:
                    self._refuse(chunk * CHUNK_NUMBERS + place)

    def _refuse(self, number: int) -> None:
        self.refused_count += 1
        if len(self.refused_examples) < EXAMPLES_MAX:
            self.refused_examples.append(number)

    def _name_gap(self, first: int, end: int) -> None:
        room = EXAMPLES_MAX - len(self.refused_examples)
        self.refused_examples.extend(range(first, min(end, first + room)))

    def _name_each(self, chunk: int, strangers: BitMap) -> None:
        room = EXAMPLES_MAX - len(self.refused_examples)
        self.refused_examples.extend(chunk * CHUNK_NUMBERS + place for place in strangers[:room])


def merge(target: Chunks, chunk: int, taken: BitMap) -> None:
    """Add places to a chunk; one without any is not made."""
    if chunk in target:
        target[chunk] |= taken
    elif taken:
        target[chunk] = taken
