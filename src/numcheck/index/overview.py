"""The whole index at a glance: the class and the active numbers of each page, and who is allotted what."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from numcheck._bits import CHUNK_NUMBERS, CHUNK_PAGES, LaidOut
from numcheck.index.format import range_columns
from numcheck.index.reader import Index

ENTRY_WORDS = 4  # of 16 bits: an entry's third is its page's class
CLASS_WORD = 2


class Overview(NamedTuple):
    """Columns of 16-bit integers, a value for each page of the chunks in order: the class of most of its numbers, and
    how many numbers are active."""

    chunks: list[int]
    classes: bytes
    active_counts: bytes


class IndexedRange(NamedTuple):
    """A row of the range table; first and last are inclusive."""

    first: int
    last: int
    operator_id: int
    region: str


def overview_of(index: Index) -> Overview:
    """Return the overview of all chunks that have a range."""
    directory = index.files.directory
    counts = memoryview(LaidOut(directory, index.files.extents).active_counts()).cast("B")
    classes = memoryview(directory.cast("H")[CLASS_WORD::ENTRY_WORDS].tobytes())
    allotted = {first // CHUNK_NUMBERS for first in range_columns(index.ranges)[0]}
    size = 2 * CHUNK_PAGES
    places = {chunk: slice(place * size, (place + 1) * size) for place, chunk in enumerate(_chunks(index))}
    chunks = sorted(places.keys() & allotted)
    return Overview(
        chunks,
        b"".join(classes[places[chunk]] for chunk in chunks),
        b"".join(counts[places[chunk]] for chunk in chunks),
    )


def allotted_counts(index: Index) -> Counter[int]:
    """Return how many numbers are allotted to each operator."""
    firsts, lasts, operators, _ = range_columns(index.ranges)
    totals: Counter[int] = Counter()
    for first, last, operator_id in zip(firsts, lasts, operators, strict=True):
        totals[operator_id] += last - first + 1
    return totals


def ranges_between(index: Index, first: int, last: int) -> Iterator[IndexedRange]:
    """Yield the ranges that have a number between two, both inclusive, ascending."""
    firsts, lasts, operators, regions = range_columns(index.ranges)
    for i in range(bisect_left(lasts, first), bisect_right(firsts, last)):
        yield IndexedRange(firsts[i], lasts[i], operators[i], index.regions[regions[i]])


def _chunks(index: Index) -> Iterator[int]:
    """Yield the chunks of the directory, in its order."""
    for first, last in index.files.manifest["spans"]:
        yield from range(first, last + 1)
