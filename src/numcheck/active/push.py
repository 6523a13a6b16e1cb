"""A push: what an operator says of its active set. Rules only: what may be taken, what it changes, what is held back.

Invariants: `PushContent` holds served numbers only, so its memory is bounded by what the operator serves, however much
is sent; a number is in what is added or in what is removed, never in both.
"""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS, ChunkSplitter
from numcheck.active.active_set import NUMBER_MAX, ActiveSet
from numcheck.errors import BadPush, NotServed

EXAMPLES_MAX = 100
HELD_REMOVED_MAX = 1_000_000  # R14: a push that removes more than this, or
HELD_REMOVED_SHARE = 10  # more than one in so many, waits for a confirmation

Changes = dict[int, tuple[BitMap, BitMap]]
"""What becomes active and what ceases to be, by chunk: places that do change, and no empty chunk."""


@dataclass(frozen=True, slots=True)
class PushHeader:
    """What a push is about. `push_id` is None if the caller gave none: then it cannot be repeated safely."""

    operator_id: int
    snapshot: bool
    base_version: int
    push_id: str | None
    data_time: datetime
    skip_not_served: bool = False


@dataclass(frozen=True, slots=True)
class PushCounts:
    """What a push changes, and what it says that is so already."""

    added: int
    already_added: int
    removed: int
    already_removed: int
    number_count: int
    refused: int = 0
    refused_examples: tuple[int, ...] = ()


@dataclass(slots=True)
class PushContent:
    """The numbers of a push as they come in, by chunk."""

    served: Mapping[int, BitMap]
    adds: dict[int, BitMap] = field(default_factory=dict)
    removes: dict[int, BitMap] = field(default_factory=dict)
    refused_count: int = 0
    refused_examples: list[int] = field(default_factory=list)
    _splitter: ChunkSplitter = field(init=False)
    _served_chunks: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._splitter, self._served_chunks = ChunkSplitter(self.served), sorted(self.served)

    def add(self, numbers: "array[int]") -> None:
        """Take numbers (array of unsigned 64-bit integers) that are in service."""
        self._take(self.adds, numbers)

    def remove(self, numbers: "array[int]") -> None:
        """Take numbers that are not in service."""
        self._take(self.removes, numbers)

    def add_range(self, first: int, last: int) -> None:
        """Take consecutive numbers that are in service; BadPush if they cannot be a range."""
        self._take_range("add_ranges", self.adds, first, last)

    def remove_range(self, first: int, last: int) -> None:
        """Take consecutive numbers that are not in service; BadPush if they cannot be a range."""
        self._take_range("remove_ranges", self.removes, first, last)

    def check(self, header: PushHeader) -> None:
        """Raise BadPush or NotServed if the push, now whole, cannot be taken."""
        if self.refused_count and not header.skip_not_served:
            raise NotServed(self.refused_count, self.refused_examples)
        if header.snapshot and self.removes:
            raise BadPush("remove", "a SNAPSHOT holds what is in service and removes nothing")
        if header.snapshot and not self.adds:
            raise BadPush("add", "a SNAPSHOT with no number would empty the set; remove numbers with a DELTA instead")
        if any(self.adds[chunk] & self.removes[chunk] for chunk in self.adds.keys() & self.removes.keys()):
            raise BadPush("remove", "a number is both added and removed")

    def _take(self, target: dict[int, BitMap], numbers: "array[int]") -> None:
        split, rest = self._splitter.split(numbers)
        for number in rest:
            self._refuse(number)
        for chunk, places in split.items():
            taken = BitMap(places)
            strangers = taken - self.served[chunk]
            if strangers:
                self._refuse_sent(chunk, places, strangers)
                taken -= strangers
            _merge(target, chunk, taken)

    def _refuse_sent(self, chunk: int, places: "array[int]", strangers: BitMap) -> None:
        for place in places:
            if place in strangers:
                self._refuse(chunk * CHUNK_NUMBERS + place)

    def _refuse(self, number: int) -> None:
        self.refused_count += 1
        if len(self.refused_examples) < EXAMPLES_MAX:
            self.refused_examples.append(number)

    def _take_range(self, name: str, target: dict[int, BitMap], first: int, last: int) -> None:
        if not 0 <= first <= last <= NUMBER_MAX:
            raise BadPush(name, "a range ends before it starts, or holds a number of more than 15 digits")
        taken_count, next_number = 0, first
        start = bisect_left(self._served_chunks, first // CHUNK_NUMBERS)
        for chunk in self._served_chunks[start:]:
            base = chunk * CHUNK_NUMBERS
            if base > last:
                break
            wanted = BitMap(range(max(first - base, 0), min(last - base, CHUNK_NUMBERS - 1) + 1))
            self._name_examples(next_number, base + wanted.min())
            self._name_each(chunk, wanted - self.served[chunk])
            next_number = base + wanted.max() + 1
            taken = wanted & self.served[chunk]
            taken_count += len(taken)
            _merge(target, chunk, taken)
        self._name_examples(next_number, last + 1)
        self.refused_count += last - first + 1 - taken_count

    def _name_examples(self, first: int, end: int) -> None:
        room = EXAMPLES_MAX - len(self.refused_examples)
        self.refused_examples.extend(range(first, min(end, first + room)))

    def _name_each(self, chunk: int, strangers: BitMap) -> None:
        room = EXAMPLES_MAX - len(self.refused_examples)
        self.refused_examples.extend(chunk * CHUNK_NUMBERS + place for place in strangers[:room])


def _merge(target: dict[int, BitMap], chunk: int, taken: BitMap) -> None:
    if chunk in target:
        target[chunk] |= taken
    elif taken:
        target[chunk] = taken


def served_by(ranges: Iterable[tuple[int, int]]) -> dict[int, BitMap]:
    """The numbers of ranges, first and last inclusive, by chunk: what an operator may push."""
    served = ActiveSet()
    for first, last in ranges:
        served.add_range(first, last)
    return dict(served.chunks())


def find_changes(
    header: PushHeader, content: PushContent, held_count: int, chunks: Iterable[int], held: Callable[[int], BitMap]
) -> tuple[Changes, PushCounts]:
    """What a push changes in the set that it is for, of `held_count` numbers in `chunks`; `held` gives a chunk's."""
    changes: Changes = {}
    added = removed = wanted_adds = wanted_removes = 0
    for chunk in sorted({*content.adds, *content.removes, *(chunks if header.snapshot else ())}):
        now = held(chunk)
        adds = content.adds.get(chunk, BitMap())
        removes = now - adds if header.snapshot else content.removes.get(chunk, BitMap())
        wanted_adds, wanted_removes = wanted_adds + len(adds), wanted_removes + len(removes)
        change = adds - now, removes & now
        added, removed = added + len(change[0]), removed + len(change[1])
        if change[0] or change[1]:
            changes[chunk] = change
    counts = PushCounts(
        added=added,
        already_added=wanted_adds - added,
        removed=removed,
        already_removed=wanted_removes - removed,
        number_count=held_count + added - removed,
        refused=content.refused_count,
        refused_examples=tuple(content.refused_examples),
    )
    return changes, counts


def needs_confirmation(removed: int, held_count: int) -> bool:
    """Whether a push removes so much of a set that it waits for its operator's confirmation (R14)."""
    return removed > HELD_REMOVED_MAX or HELD_REMOVED_SHARE * removed > held_count
