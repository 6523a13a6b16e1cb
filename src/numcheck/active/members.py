"""Serving operators and active numbers of a chunk: here pushed data meets the plan.

An operator serves a number that is ported to it, or that lies in its own range and is not ported away. Its data
about any other number does not count.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS


class AllottedRange(NamedTuple):
    """A contiguous allocation of numbers to one operator; first and last are inclusive."""

    first: int
    last: int
    operator_id: int
    mobile: bool
    region: str


@dataclass(frozen=True, slots=True)
class ChunkMembers:
    """Pushed data of a chunk, as places: each operator's active numbers, and the numbers ported to each."""

    active: Mapping[int, BitMap] = field(default_factory=dict)
    ported: Mapping[int, BitMap] = field(default_factory=dict)


def home(ranges: Sequence[tuple[int, int]], chunk: int) -> BitMap:
    """Return the places of a chunk that ranges cover, each given by its first and last number."""
    base, places = chunk * CHUNK_NUMBERS, BitMap()
    for first, last in ranges:
        start, end = max(first - base, 0), min(last - base, CHUNK_NUMBERS - 1) + 1
        if start < end:
            places.add_range(start, end)
    return places


def served(at_home: BitMap, ported: Mapping[int, BitMap], operator_id: int) -> BitMap:
    """Return the places that an operator serves, of a chunk in which `at_home` are its own ranges'."""
    if not ported:
        return at_home
    away = BitMap.union(*(places for recipient, places in ported.items() if recipient != operator_id), BitMap())
    return (at_home - away) | ported.get(operator_id, BitMap())


class Move(NamedTuple):
    """Successive numbers, first and last inclusive, and whose they were and are; None: allotted to nobody."""

    first: int
    last: int
    old_operator_id: int | None
    new_operator_id: int | None


def moves(old: Sequence[AllottedRange], new: Sequence[AllottedRange]) -> Iterator[Move]:
    """Yield what another plan changes, ascending: numbers that are allotted now, no more, or to another operator. Each
    plan's ranges ascend and are disjoint."""
    ends = sorted({end for held in (*old, *new) for end in (held.first, held.last + 1)})
    holders = zip(_holders_at(old, ends), _holders_at(new, ends), strict=True)
    for (first, end), (was, now) in zip(pairwise(ends), holders, strict=False):
        if was != now:
            yield Move(first, end - 1, was, now)


def _holders_at(ranges: Sequence[AllottedRange], numbers: Sequence[int]) -> Iterator[int | None]:
    """Yield the holder of each of the numbers, which ascend."""
    at = 0
    for number in numbers:
        while at < len(ranges) and ranges[at].last < number:
            at += 1
        yield ranges[at].operator_id if at < len(ranges) and ranges[at].first <= number else None


class ServedNumbers(Mapping[int, BitMap]):
    """The places that an operator serves, by chunk; each chunk is looked at when it is first asked for.

    The chunks are those of its ranges and `others`, in which there may be numbers that are ported to it.
    """

    def __init__(
        self,
        operator_id: int,
        ranges: Sequence[tuple[int, int]],
        ported: Callable[[int], Mapping[int, BitMap]],
        others: Collection[int] = (),
    ) -> None:
        self._operator_id, self._ported, self._known = operator_id, ported, dict[int, BitMap]()
        self._ranges: dict[int, list[tuple[int, int]]] = {chunk: [] for chunk in others}
        for first, last in ranges:
            for chunk in range(first // CHUNK_NUMBERS, last // CHUNK_NUMBERS + 1):
                self._ranges.setdefault(chunk, []).append((first, last))

    def __getitem__(self, chunk: int) -> BitMap:
        if chunk not in self._known:
            at_home = home(self._ranges[chunk], chunk)
            self._known[chunk] = served(at_home, self._ported(chunk), self._operator_id)
        return self._known[chunk]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)
