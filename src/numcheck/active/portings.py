"""Portings: which numbers another operator serves than the one that holds their range. Rules of a push of them.

Invariant: `PortingsContent` holds numbers of mobile ranges only, for operators that there are, so its memory is bounded
by the plan.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import permutations
from typing import NamedTuple

from pyroaring import BitMap

from numcheck.active.push import NO_BASIS, Basis, Change
from numcheck.active.sieve import Chunks, Refused, Sieve, merge
from numcheck.errors import BadPush, NotPortable, UnknownOperator

TAKEN_SHARE = 10  # a push that ends or moves on more than one in so many is refused unless it is forced


class PortingsSequence(NamedTuple):
    """A place in a numbered series of pushes, such as the clearing house's increments."""

    series: str
    number: int


@dataclass(frozen=True, slots=True)
class PortingsHeader:
    """The header of a push of portings. `push_id` is None if the caller gave none."""

    snapshot: bool
    base_version: int
    push_id: str | None
    data_time: datetime
    skip_not_portable: bool = False
    force: bool = False
    allow_older: bool = False
    sequence: PortingsSequence | None = None


@dataclass(slots=True)
class PortingsContent:
    """The numbers of a push of portings as they come in. `mobile` has the places of the mobile ranges, by chunk, and
    `home(operator_id, chunk)` those of an operator's own, as the plan of `basis` has them; `operator_ids` are all that
    there are."""

    mobile: Mapping[int, BitMap]
    home: Callable[[int, int], BitMap]
    operator_ids: Collection[int]
    basis: Basis = NO_BASIS
    ported: dict[int, Chunks] = field(default_factory=dict)
    returned: Chunks = field(default_factory=dict)
    refused: Refused = field(default_factory=Refused)
    _sieve: Sieve = field(init=False)

    def __post_init__(self) -> None:
        self._sieve = Sieve(self.mobile, self.refused)

    def port(self, operator_id: int, numbers: "array[int]") -> None:
        """Take numbers (array of unsigned 64-bit integers) that the operator serves now; UnknownOperator if there is
        none such."""
        if operator_id not in self.operator_ids:
            raise UnknownOperator(f"there is no operator {operator_id}")
        with self.refused.told_of("ported"):
            self._sieve.take(self.ported.setdefault(operator_id, {}), numbers)

    def give_back(self, numbers: "array[int]") -> None:
        """Take numbers that their range's holder serves again."""
        with self.refused.told_of("returned"):
            self._sieve.take(self.returned, numbers)

    def check(self, header: PortingsHeader) -> None:
        """Raise BadPush or NotPortable if the push, now whole, cannot be taken."""
        if self.refused.count and not header.skip_not_portable:
            raise NotPortable(self.refused.count, self.refused.examples, self.refused.field_name)
        if header.snapshot and self.returned:
            raise BadPush("returned", "a SNAPSHOT holds what is ported and returns nothing")
        if header.snapshot and not any(self.ported.values()):
            raise BadPush("ported", "a SNAPSHOT with no number would end every porting; return numbers with a DELTA")
        self._settle(snapshot=header.snapshot)
        for chunk in self.chunks():
            self._check_chunk(chunk)

    def _settle(self, *, snapshot: bool) -> None:
        """Take a number that is ported to the holder of its range as one that has returned."""
        for operator_id, chunks in self.ported.items():
            for chunk, places in chunks.items():
                at_home = places & self.home(operator_id, chunk)
                chunks[chunk] = places - at_home
                if not snapshot:
                    merge(self.returned, chunk, at_home)

    def _check_chunk(self, chunk: int) -> None:
        seen = self.returned.get(chunk, BitMap())
        for chunks in self.ported.values():
            places = chunks.get(chunk, BitMap())
            if places & seen:
                raise BadPush("ported", "a number is ported to two operators, or both ported and returned")
            seen = seen | places

    def chunks(self) -> list[int]:
        """Return the chunks that the push speaks of, ascending."""
        return sorted({*self.returned, *(chunk for chunks in self.ported.values() for chunk in chunks)})

    def changes(self, chunk: int, held: Mapping[int, BitMap], *, snapshot: bool) -> dict[int, Change]:
        """Return what the push changes in a chunk, by recipient; `held` has what is ported to each now."""
        wanted = {operator_id: chunks[chunk] for operator_id, chunks in self.ported.items() if chunk in chunks}
        spoken_of = BitMap.union(self.returned.get(chunk, BitMap()), *wanted.values())
        changes = {}
        for operator_id in {*held, *wanted}:
            now, then = held.get(operator_id, BitMap()), wanted.get(operator_id, BitMap())
            changes[operator_id] = Change(then - now, (now if snapshot else now & spoken_of) - then)
        return {operator_id: change for operator_id, change in changes.items() if change}


def takes_too_much(taken: int, number_count: int) -> bool:
    """Tell if a push that takes so many of so many portings from their operators has to be forced."""
    return taken * TAKEN_SHARE > number_count


def moved_on(changes: Iterable[Mapping[int, Change]]) -> Counter[tuple[int, int]]:
    """Return how many numbers go from a recipient to another, of what changes by recipient in each chunk."""
    moved: Counter[tuple[int, int]] = Counter()
    for found in changes:
        for (old, lost), (new, gained) in permutations(found.items(), 2):
            moved[old, new] += len(lost.removed & gained.added)
    return +moved
