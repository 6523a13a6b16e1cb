"""An invented plan with active sets, and what is true of any number in it, found the plain way."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyroaring import BitMap

from numcheck.active import AllottedRange, ChunkMembers, Operator
from numcheck.index import IndexSource
from numcheck.v1 import number_pb2

CHUNK = 10_000_000
PAGE = 10_000
RUSSIAN_NUMBERS = (70000000000, 79999999999)
DATA_TIME = datetime(2026, 8, 19, 12, 0, tzinfo=UTC)

INVALID = number_pb2.NUMBER_STATUS_INVALID
UNALLOCATED = number_pb2.NUMBER_STATUS_UNALLOCATED
INACTIVE = number_pb2.NUMBER_STATUS_INACTIVE
ACTIVE = number_pb2.NUMBER_STATUS_ACTIVE
UNKNOWN = number_pb2.NUMBER_STATUS_UNKNOWN
NOT_MOBILE = number_pb2.NUMBER_STATUS_NOT_MOBILE


def operator(operator_id: int, *, supplied: bool = True, data_time: datetime = DATA_TIME) -> Operator:
    """An operator that has supplied data, or none."""
    head = (1, data_time) if supplied else (0, None)
    return Operator(operator_id, f"Operator {operator_id}", f"{operator_id:010d}", *head)


@dataclass(frozen=True)
class World:
    """Ranges, ascending and disjoint, their operators, and the numbers that each operator has."""

    ranges: Sequence[AllottedRange]
    operators: Mapping[int, Operator]
    active: Mapping[int, Collection[int]]
    ported: Mapping[int, Collection[int]] = field(default_factory=dict)
    spaces: Sequence[tuple[int, int]] = (RUSSIAN_NUMBERS,)
    _firsts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_firsts", [held.first for held in self.ranges])

    def holder(self, number: int) -> AllottedRange | None:
        """The range that holds a number."""
        i = bisect_right(self._firsts, number) - 1
        return self.ranges[i] if i >= 0 and number <= self.ranges[i].last else None

    def answer(self, number: int, *, fresh_since: datetime | None = None) -> tuple[int, int]:
        """The status and the operator id that a number must get."""
        held = self.holder(number)
        if held is None:
            possible = any(first <= number <= last for first, last in self.spaces)
            return (UNALLOCATED if possible else INVALID), 0
        if not held.mobile:
            return NOT_MOBILE, held.operator_id
        recipients = [operator_id for operator_id, numbers in self.ported.items() if number in numbers]
        serving = recipients[0] if recipients else held.operator_id
        return self._status(serving, number, fresh_since), serving

    def _status(self, operator_id: int, number: int, fresh_since: datetime | None) -> int:
        data_time = self.operators[operator_id].data_time
        if data_time is None or (fresh_since is not None and data_time < fresh_since):
            return UNKNOWN
        return ACTIVE if number in self.active.get(operator_id, ()) else INACTIVE

    def source(self, index_version: int = 1) -> IndexSource:
        """The same, as the builder takes it."""
        return IndexSource(index_version, self.spaces, self.ranges, list(self.operators.values()), self.members)

    def members(self, chunk: int, _parts: Collection[int] | None = None) -> ChunkMembers:
        """What was pushed of a chunk."""

        def of(sets: Mapping[int, Collection[int]]) -> dict[int, BitMap]:
            return {
                operator_id: BitMap(number % CHUNK for number in numbers if number // CHUNK == chunk)
                for operator_id, numbers in sets.items()
            }

        return ChunkMembers(of(self.active), of(self.ported))


def beside(numbers: Iterable[int]) -> set[int]:
    """The numbers with both neighbours of each, as far as they fit into 64 bits."""
    return {near for number in numbers for near in (number - 1, number, number + 1) if 0 <= near < 2**64}


OUTSIDE = tuple(
    sorted(
        beside({0, 112, 7916123456, 79161234567 * 10, 10**15, 2**32, 2**63, 2**64 - 1, *RUSSIAN_NUMBERS})
        | {14155550100, 380441234567, 7 * 10**9, 8 * 10**9, 9161234567, 2**64 - 79161234567}
    )
)
"""Numbers of the wrong length, of another country, or of none."""


def small_world() -> World:
    """A world with a page of every kind, every status, and operator ids of one to five bytes on the wire."""
    mobile, fixed = 79160000000, 74950000000
    ranges = [
        AllottedRange(fixed, fixed + 6_999_999, 16_383, False, "Москва"),
        # Nothing active, several operators: runs.
        AllottedRange(mobile + 100, mobile + 199, 1, True, "Тверь"),
        AllottedRange(mobile + 200, mobile + 200, 127, True, "Тверь"),
        AllottedRange(mobile + 202, mobile + 299, 128, True, "Тверь"),
        # Several operators, some active: mixed.
        AllottedRange(mobile + PAGE, mobile + PAGE + 4_999, 16_384, True, "Псков"),
        AllottedRange(mobile + PAGE + 5_000, mobile + PAGE + 5_099, 2_097_152, True, "Псков"),
        AllottedRange(mobile + PAGE + 5_100, mobile + PAGE + 9_998, 2**32 - 1, True, "Тверь"),
        AllottedRange(mobile + PAGE + 9_999, mobile + PAGE + 9_999, 1, True, ""),
        # One operator: some active, all active, none active, no data.
        AllottedRange(mobile + 2 * PAGE, mobile + 5 * PAGE - 1, 1, True, "Псков"),
        AllottedRange(mobile + 5 * PAGE, mobile + 6 * PAGE - 1, 300, True, "Псков"),
    ]
    operators = {one: operator(one, supplied=one != 300) for one in (1, 127, 128, 300, 16_383, 16_384, 2_097_152)}
    active = {
        1: frozenset([*range(mobile + 2 * PAGE, mobile + 3 * PAGE, 3), *range(mobile + 3 * PAGE, mobile + 4 * PAGE)]),
        300: frozenset(range(mobile + 5 * PAGE, mobile + 5 * PAGE + 10)),
        16_383: frozenset(range(fixed, fixed + 10)),
        16_384: frozenset(range(mobile + PAGE, mobile + PAGE + 5_200, 2)),
        2_097_152: frozenset(range(mobile + PAGE + 5_000, mobile + PAGE + 5_100, 7)),
        2**32 - 1: frozenset({mobile + PAGE + 5_100, mobile + PAGE + 9_998}),
    }
    return World(ranges, {**operators, 2**32 - 1: operator(2**32 - 1)}, active)


def telling_numbers(world: World) -> list[int]:
    """Numbers that tell a wrong answer apart: around every boundary of the ranges, pages and sets, and outside."""
    ends = {end for held in world.ranges for end in (held.first, held.last)}
    pages = {end // PAGE * PAGE + step for end in ends for step in (0, PAGE - 1)}
    some_active = {number for held in world.active.values() for number in sorted(held)[:40]}
    return sorted(beside(ends | pages | some_active) | set(OUTSIDE))
