"""A synthetic population: exact, fair, the same again, and with every kind of block."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numcheck.active import ActiveSet
from numcheck.active.synthetic import synthetic_sets
from numcheck.plan import bundled_source, read_registry

Ranges = Mapping[int, Sequence[tuple[int, int]]]

BLOCK = 10_000
FIRST = 79160000000
SMALL: Ranges = {
    1: [(FIRST, FIRST + 49_999), (FIRST + 60_000, FIRST + 60_000)],
    2: [(FIRST + 50_000, FIRST + 59_999)],
    3: [(FIRST + 60_001, FIRST + 60_007), (79990000000, 79990000002)],
    4: [],
}
SIZES = {1: 50_001, 2: 10_000, 3: 10, 4: 0}
TOTAL = sum(SIZES.values())


def sets_of(ranges: Ranges, number_count: int, seed: int = 1) -> dict[int, ActiveSet]:
    return dict(synthetic_sets(ranges, number_count=number_count, seed=seed))


def shares(sizes: Mapping[int, int], number_count: int) -> dict[int, int]:
    """The method of the largest remainder (Hare quota), with fractions; the smaller id first of equal remainders."""
    quotas = {key: Fraction(number_count * size, sum(sizes.values())) for key, size in sizes.items()}
    seats = {key: int(quota) for key, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda key: (int(quotas[key]) - quotas[key], key))
    for key in by_remainder[: number_count - sum(seats.values())]:
        seats[key] += 1
    return seats


@settings(max_examples=40)
@given(number_count=st.integers(0, TOTAL) | st.sampled_from([0, 1, 2, TOTAL - 1, TOTAL]), seed=st.integers())
def test_count_is_exact_and_shared_by_the_largest_remainders_within_the_ranges(number_count, seed):
    sets = sets_of(SMALL, number_count, seed)
    assert {key: len(one) for key, one in sets.items()} == shares(SIZES, number_count)
    for key, one in sets.items():
        allowed = {number for first, last in SMALL[key] for number in range(first, last + 1)}
        assert allowed.issuperset(one)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), part=st.fractions(0, 1))
@settings(max_examples=40)
def test_count_is_shared_by_the_largest_remainders_whatever_the_sizes(sizes, part):
    ranges = {key: [(key * BLOCK, key * BLOCK + size - 1)] for key, size in enumerate(sizes)}
    number_count = int(sum(sizes) * part)
    found = {key: len(one) for key, one in sets_of(ranges, number_count).items()}
    assert found == shares(dict(enumerate(sizes)), number_count)


@pytest.mark.parametrize("number_count", [5, 20_000, TOTAL])
def test_sets_are_the_same_again(number_count):
    assert sets_of(SMALL, number_count) == sets_of(SMALL, number_count)


def test_sets_are_those_of_every_machine():
    """Whoever changes the recipe changes these digests, and with them what every measurement was made on."""
    found = {key: one.digest().hex()[:16] for key, one in sets_of(SMALL, 20_000, seed=7).items()}
    assert found == {1: "dc9f1c24ba81e86c", 2: "4a3a5f2f5e094a93", 3: "1c88160118d2791e", 4: "e3b0c44298fc1c14"}


def test_sets_differ_when_the_seed_does():
    one, other = (sets_of(SMALL, 20_000, seed=seed) for seed in (1, 2))
    assert one[1] != other[1]


def test_every_set_is_empty_when_no_number_is_asked_for():
    assert sets_of(SMALL, 0) == {key: ActiveSet() for key in SMALL}
    assert sets_of({}, 0) == {}


def test_every_number_is_active_when_all_are_asked_for():
    for key, one in sets_of(SMALL, TOTAL).items():
        assert list(one) == [number for first, last in sorted(SMALL[key]) for number in range(first, last + 1)]


@pytest.mark.parametrize(("ranges", "number_count"), [(SMALL, TOTAL + 1), (SMALL, -1), ({}, 1), ({4: []}, 1)])
def test_count_is_refused_when_the_plan_has_no_room_for_it(ranges, number_count):
    with pytest.raises(ValueError, match="do not fit"):
        sets_of(ranges, number_count)


# --- on the regulator's plan


@pytest.fixture(scope="module")
def real() -> Ranges:
    plan = read_registry([bundled_source()]).plan
    held, ids = defaultdict(list), {key: number for number, key in enumerate(sorted(plan.holders), 1)}
    for one in plan.ranges:
        held[ids[one.holder_key]].append((one.first, one.last))
    return held


@pytest.fixture(scope="module")
def population(real) -> dict[int, ActiveSet]:
    """Few enough to be quick, and enough for every kind of block."""
    return sets_of(real, 3_000_000)


def whole_blocks(ranges: Sequence[tuple[int, int]]) -> list[int]:
    """The blocks of 10,000 that lie within one range."""
    return [
        block for first, last in ranges for block in range(-(-first // BLOCK), (last + 1) // BLOCK) if first <= last
    ]


def test_population_of_the_real_plan_has_full_empty_and_random_blocks(real, population):
    kinds: Counter[str] = Counter()
    for key, one in population.items():
        counts = Counter(number // BLOCK for number in one)
        for block in whole_blocks(real[key]):
            count = counts[block]
            kinds[
                "full" if count == BLOCK else "random" if 3_000 < count < 3_700 else "other" if count else "empty"
            ] += 1
    assert kinds["full"] / (kinds["full"] + kinds["random"]) == pytest.approx(3 / 8, abs=0.06)
    assert kinds["empty"] > 1_000
    # One of an operator's blocks is where its count ran out.
    assert kinds["other"] <= len(population)


def test_population_of_the_real_plan_is_exact_and_fair(real, population):
    sizes = {key: sum(last - first + 1 for first, last in held) for key, held in real.items()}
    assert {key: len(one) for key, one in population.items()} == shares(sizes, 3_000_000)


def test_population_of_the_real_plan_lies_within_each_operators_ranges(real, population):
    for key, one in population.items():
        allowed = ActiveSet()
        for first, last in real[key]:
            allowed.add_range(first, last)
        inside = dict(allowed.chunks())
        assert all(bitmap <= inside[chunk] for chunk, bitmap in one.chunks())


def test_random_block_looks_like_no_pattern(real, population):
    """In a third full block neighbours are both active in a ninth of all places."""
    key = max(population, key=lambda key: len(population[key]))
    counts = Counter(number // BLOCK for number in population[key])
    block = next(block for block in whole_blocks(real[key]) if 3_000 < counts[block] < 3_700)
    pairs = sum(
        number in population[key] and number + 1 in population[key]
        for number in range(block * BLOCK, block * BLOCK + BLOCK - 1)
    )
    assert pairs == pytest.approx(BLOCK / 9, rel=0.15)
