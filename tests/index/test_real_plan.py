"""Index against oracle on the regulator's own plan, with a synthetic population, on more than two million numbers.

The oracle is a bisection over the plan's rows and membership in the very sets that were given to the store.
"""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from numcheck.active import ActiveSet
from numcheck.active.synthetic import synthetic_sets
from numcheck.index import Index
from numcheck.plan import NumberingPlan, Range, bundled_source, read_registry
from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import Store
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.index.world import (
    ACTIVE,
    INACTIVE,
    INVALID,
    OUTSIDE,
    PAGE,
    RUSSIAN_NUMBERS,
    UNALLOCATED,
    UNKNOWN,
    beside,
)

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
YESTERDAY = NOW - timedelta(days=1)
ACTIVE_COUNT = 3_000_000
BLOCK = 100


@dataclass(frozen=True)
class Oracle:
    """What is true of a number. Holders without data and with stale data are told by their keys."""

    plan: NumberingPlan
    firsts: list[int]
    tax_ids: Mapping[str, str | None]
    active: Mapping[str, ActiveSet]
    stale: frozenset[str]

    def holder(self, number: int) -> str | None:
        i = bisect_right(self.firsts, number) - 1
        return self.plan.ranges[i].holder_key if i >= 0 and number <= self.plan.ranges[i].last else None

    def answer(self, number: int) -> tuple[int, str | None]:
        holder = self.holder(number)
        if holder is None:
            return (UNALLOCATED if RUSSIAN_NUMBERS[0] <= number <= RUSSIAN_NUMBERS[1] else INVALID), None
        if holder not in self.active or holder in self.stale:
            return UNKNOWN, self.tax_ids[holder]
        return (ACTIVE if number in self.active[holder] else INACTIVE), self.tax_ids[holder]


@dataclass(frozen=True)
class Real:
    """The plan, what is true of it, and the index of a node."""

    plan: NumberingPlan
    oracle: Oracle
    index: Index

    def disagreements(self, numbers: Iterable[int]) -> list[int]:
        """The numbers of which the index says something else than the oracle. None may be asked in vain."""
        asked, found = list(numbers), []
        assert asked
        tax_ids = {0: None, **{one.operator_id: one.tax_id for one in self.index.operators.values()}}
        for start in range(0, len(asked), 65_536):
            part = asked[start : start + 65_536]
            body = CheckNumbersRequest(numbers=part).SerializeToString()
            response = CheckNumbersResponse.FromString(
                self.index.table.check_numbers(body, numbers_per_call_max=65_536)
            )
            for number, status, operator_id in zip(part, response.statuses, response.operator_ids, strict=True):
                if (status, tax_ids[operator_id]) != self.oracle.answer(number):
                    found.append(number)
        return found


def mobile_ranges(store: Store) -> dict[int, list[tuple[int, int]]]:
    held = defaultdict(list)
    for one in store.ranges():
        held[one.operator_id].append((one.first, one.last))
    return held


def populate(store: Store, holders: Mapping[int, str]) -> tuple[dict[str, ActiveSet], frozenset[str]]:
    """Give the operators their synthetic numbers: every tenth supplies none, every seventh supplied them long ago."""
    active, stale = {}, set()
    sets = synthetic_sets(mobile_ranges(store), number_count=ACTIVE_COUNT, seed=7)
    for place, (operator_id, active_set) in enumerate(sets):
        if place % 10 == 9:
            continue
        moment = YESTERDAY - timedelta(days=30) if place % 7 == 6 else NOW
        store.sets.replace_active_set(operator_id, active_set, data_time=moment, now=NOW, synthetic=True)
        active[holders[operator_id]] = active_set
        if moment < YESTERDAY:
            stale.add(holders[operator_id])
    return active, frozenset(stale)


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Real:
    data_dir = tmp_path_factory.mktemp("data")
    plan = read_registry([bundled_source()]).plan
    tax_ids = {key: holder.tax_id for key, holder in plan.holders.items()}
    keys = {tax_id: key for key, tax_id in tax_ids.items()}
    with Store(data_dir) as store:
        store.import_plan(plan, source="bundled", now=NOW)
        holders = {one.operator_id: keys[one.tax_id] for one in store.operators()}
        active, stale = populate(store, holders)
        index, _ = open_or_rebuild(store, data_dir, fresh_since=YESTERDAY)
    oracle = Oracle(plan, [one.first for one in plan.ranges], tax_ids, active, stale)
    return Real(plan, oracle, index)


def shared(ranges: Iterable[Range], size: int) -> list[int]:
    """The blocks of a size that several holders share, by their first numbers."""
    holders = defaultdict(set)
    for one in ranges:
        for block in {one.first // size, one.last // size}:
            holders[block].add(one.holder_key)
    return sorted(block * size for block, held in holders.items() if len(held) > 1)


def test_every_status_occurs_in_the_real_plan(real):
    """What makes the comparisons below worth something."""
    sample = [number for one in real.plan.ranges for number in (one.first, one.last, one.last + 1)]
    assert {real.oracle.answer(number)[0] for number in [*sample, *OUTSIDE]} == {
        INVALID,
        UNALLOCATED,
        INACTIVE,
        ACTIVE,
        UNKNOWN,
    }
    assert real.oracle.stale
    assert len(real.oracle.active) < len(real.plan.holders)


def test_index_agrees_around_the_ends_of_every_range(real):
    ends = beside(end for one in real.plan.ranges for end in (one.first, one.last))
    assert len(ends) > 60_000
    assert real.disagreements(sorted(ends)) == []


def test_index_agrees_on_every_number_of_the_shared_hundreds(real):
    blocks = shared(real.plan.ranges, BLOCK)
    assert len(blocks) == 31
    assert real.disagreements(number for block in blocks for number in range(block - 1, block + BLOCK + 1)) == []


def test_index_agrees_on_the_shared_pages(real):
    """Around the ends of each, and on every thirteenth number within."""
    pages = shared(real.plan.ranges, PAGE)
    assert len(pages) == 609
    assert real.disagreements(sorted(beside(end for page in pages for end in (page, page + PAGE - 1)))) == []
    assert (
        real.disagreements(number for page in pages for number in range(page + page // PAGE % 13, page + PAGE, 13))
        == []
    )


@pytest.mark.parametrize("seed", range(4))
def test_index_agrees_on_random_numbers_of_the_mobile_codes(real, seed):
    chance = random.Random(seed)
    assert real.disagreements(chance.randrange(79000000000, 80000000000) for _ in range(300_000)) == []


def test_index_agrees_on_active_numbers(real):
    """Half a million in service, of every operator, and both neighbours of some."""
    active = [number for one in real.oracle.active.values() for number in islice(one, 0, None, 6)]
    assert len(active) > 400_000
    assert real.disagreements(active) == []
    assert real.disagreements(sorted(beside(active[::20]))) == []


def test_index_agrees_on_numbers_outside(real):
    chance = random.Random(5)
    wrong_lengths = [chance.randrange(10**digits) for digits in range(1, 20) for _ in range(500)]
    elsewhere = [chance.randrange(70000000000, 79000000000) for _ in range(20_000)]
    anything = [chance.getrandbits(64) for _ in range(20_000)]
    assert real.disagreements([*OUTSIDE, *wrong_lengths, *elsewhere, *anything]) == []


def test_facts_name_the_region_and_the_holder_of_the_plans_row(real):
    for held in real.plan.ranges[::50]:
        for number in (held.first, held.last):
            facts = real.index.facts(number)
            assert (facts.region, facts.range_holder.tax_id) == (held.region, real.oracle.tax_ids[held.holder_key])
