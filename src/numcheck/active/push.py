"""A push: what an operator says of its active set. Rules only: what may be taken, what it changes, what is held back.

Invariant: `PushContent` holds served numbers and numbers that the set held already, so its memory is bounded by what
the operator serves and has.
"""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pyroaring import AbstractBitMap, BitMap, FrozenBitMap

from numcheck.active.active_set import NUMBER_MAX
from numcheck.active.sieve import Chunks, Refused, Sieve
from numcheck.errors import BadPush, NotServed

REMOVED_MAX = 1_000_000  # numbers that a push removes unconfirmed (R14)


@dataclass(frozen=True, slots=True)
class PushHeader:
    """The header of a push. `push_id` is None if the caller gave none: then the push cannot be repeated safely."""

    operator_id: int
    snapshot: bool
    base_version: int
    push_id: str | None
    data_time: datetime
    skip_not_served: bool = False
    allow_older: bool = False


@dataclass(frozen=True, slots=True)
class PushCounts:
    """The changes of a push, and the counts of numbers that were so already."""

    added: int = 0
    already_added: int = 0
    removed: int = 0
    already_removed: int = 0
    recycled: int = 0
    number_count: int = 0
    previous_sequence: int = 0  # of portings: the highest number of their series that was applied before
    refused: int = 0
    refused_examples: tuple[int, ...] = ()


class Basis(NamedTuple):
    """The basis of who serves a number: a state of the plan, and of the portings. They are committed as others push.

    `point` is the newest revision of the store then, and what tells that from others of its number: the
    numbers alone come again in a store that has lost some of its history.
    """

    plan_revision: int = 0
    portings_version: int = 0
    point: tuple[int, bytes] | None = None

    def judges_as(self, other: "Basis") -> bool:
        """Tell if it is the same state as another's, both of one history."""
        return self[:2] == other[:2]


NO_BASIS = Basis()  # before any plan or porting


class Change(NamedTuple):
    """The change of a set in a chunk: places added, and places removed.

    Slots `recycled` went out of service and are back: the set has them, and their former subscribers do not.
    """

    added: BitMap
    removed: BitMap
    recycled: AbstractBitMap = FrozenBitMap()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.recycled)

    def apply(self, held: BitMap) -> BitMap:
        """Return the set afterwards."""
        return (held - self.removed) | self.added


@dataclass(slots=True)
class PushContent:
    """The numbers of a push as they come in, by chunk. `held` gives what the set holds of a chunk; `basis` is what
    `served` was read from, or what it has been read from since."""

    served: Mapping[int, BitMap]
    held: Callable[[int], BitMap]
    basis: Basis = NO_BASIS
    adds: Chunks = field(default_factory=dict)
    removes: Chunks = field(default_factory=dict)
    refused: Refused = field(default_factory=Refused)
    _adding: Sieve = field(init=False)
    _removing: Sieve = field(init=False)

    def __post_init__(self) -> None:
        self._adding = Sieve(self.served, self.refused)
        # A number that went to another operator may still be in the set: it goes.
        self._removing = Sieve(self.served, self.refused, also=self.held)

    def add(self, numbers: "array[int]") -> None:
        """Take numbers (array of unsigned 64-bit integers) that are in service."""
        with self.refused.told_of("add"):
            self._adding.take(self.adds, numbers)

    def remove(self, numbers: "array[int]") -> None:
        """Take numbers that are not in service: such as the operator serves, or as the set holds still."""
        with self.refused.told_of("remove"):
            self._removing.take(self.removes, numbers)

    def add_range(self, first: int, last: int) -> None:
        """Take consecutive numbers that are in service; BadPush if they cannot be a range."""
        _check_range("add_ranges", first, last)
        with self.refused.told_of("add_ranges"):
            self._adding.take_range(self.adds, first, last)

    def remove_range(self, first: int, last: int) -> None:
        """Take consecutive numbers that are not in service, as `remove` does; BadPush if they cannot be a range."""
        _check_range("remove_ranges", first, last)
        with self.refused.told_of("remove_ranges"):
            self._removing.take_range(self.removes, first, last)

    def check(self, header: PushHeader) -> None:
        """Raise BadPush or NotServed if the push, now whole, cannot be taken."""
        if self.refused.count and not header.skip_not_served:
            raise NotServed(self.refused.count, self.refused.examples, self.refused.field_name)
        if header.snapshot and self.removes:
            raise BadPush("remove", "a SNAPSHOT holds what is in service and removes nothing")
        if header.snapshot and not self.adds and self.refused.count:
            raise BadPush("add", "the operator serves none of the numbers: a SNAPSHOT without them would empty the set")
        if header.snapshot and not self.adds:
            raise BadPush("add", "a SNAPSHOT with no number would empty the set; remove numbers with a DELTA instead")
        if not (header.snapshot or header.base_version or self.adds):
            # It would make an empty set where none is: every number out of service, instead of unknown.
            raise BadPush("add", "the operator has supplied nothing yet, and a DELTA that adds nothing supplies none")

    def wanted(self, chunk: int) -> Change:
        """Return what the push says of a chunk."""
        return Change(self.adds.get(chunk, BitMap()), self.removes.get(chunk, BitMap()))


def _check_range(field_name: str, first: int, last: int) -> None:
    if not 0 <= first <= last <= NUMBER_MAX:
        raise BadPush(field_name, "a range ends before it starts, or holds a number of more than 15 digits")


def change_of(wanted: Change, held: BitMap, *, snapshot: bool) -> Change:
    """Return the change that a push makes in a chunk. A number that a delta both removes and adds is recycled."""
    removed = held if snapshot else wanted.removed & held
    return Change(wanted.added - held, removed - wanted.added, wanted.added & wanted.removed)


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """Bounds within which an installation takes a push without asking its operator again (R14)."""

    removed_percent_max: int = 10  # of a set; as the setting has it

    def holds(self, removed: int, number_count: int) -> bool:
        """Return True if a push removes so much of a set that it waits for its operator's confirmation."""
        return removed > REMOVED_MAX or 100 * removed > self.removed_percent_max * number_count
