"""Index against oracle on invented plans: ranges of any size and place, several operators within a page, any ids."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.active import AllottedRange, Operator
from numcheck.index import Index, build_index, open_index
from numcheck.v1.check_pb2 import CheckNumbersRequest, CheckNumbersResponse
from tests.index.world import (
    CHUNK,
    DATA_TIME,
    PAGE,
    RUSSIAN_NUMBERS,
    UNKNOWN,
    World,
    beside,
    operator,
    small_world,
    telling_numbers,
)

# Codes of fixed and of mobile networks: beside each other, near, and with gaps that make another span.
CHUNKS = (7301, 7302, 7495, 7496, 7800, 7900, 7901, 7916, 7934, 7999)
PLACES = (0, 1, 31, 32, 99, 100, 255, 256, PAGE - 1, PAGE, PAGE + 1, CHUNK // 2, CHUNK - PAGE, CHUNK - 2, CHUNK - 1)
OPERATOR_IDS = (1, 2, 127, 128, 16_383, 16_384, 2_097_152, 2**32 - 1)
RANGE_SIZE_MAX = 5 * CHUNK // 2
FRESH_SINCE = DATA_TIME - timedelta(days=1)
STALE_TIME = FRESH_SINCE - timedelta(microseconds=1)

places = st.sampled_from(PLACES) | st.integers(0, 3 * PAGE) | st.integers(0, CHUNK - 1)
numbers = st.builds(lambda chunk, place: chunk * CHUNK + place, st.sampled_from(CHUNKS), places)
held = st.tuples(
    st.sampled_from(OPERATOR_IDS), st.booleans(), st.sampled_from(["", "Тверь", "Псков"]), st.sampled_from([1, 2, None])
)


@st.composite
def range_lists(draw) -> list[AllottedRange]:
    """Ranges from cut to cut, or shorter; some cuts start none, so that gaps and neighbours both occur."""
    cuts = sorted(draw(st.sets(numbers, min_size=1, max_size=14)))
    found = []
    for first, end in zip(cuts, [*cuts[1:], cuts[-1] + PAGE], strict=True):
        if draw(st.integers(0, 4)):
            operator_id, mobile, region, size = draw(held)
            last = min(end - 1, first + (size or RANGE_SIZE_MAX) - 1, RUSSIAN_NUMBERS[1])
            found.append(AllottedRange(first, last, operator_id, mobile, region))
    return found


def any_operator(operator_id: int) -> st.SearchStrategy[Operator]:
    """One with fresh data, with data exactly as old as allowed, with stale data, or with none."""
    fresh = [operator(operator_id, data_time=moment) for moment in (DATA_TIME, FRESH_SINCE, STALE_TIME)]
    return st.sampled_from([*fresh, operator(operator_id, supplied=False)])


@st.composite
def worlds(draw) -> World:
    """A small plan; active sets hold numbers around every boundary, also of others' ranges and of none, and a page."""
    ranges = draw(range_lists())
    operators = {one: draw(any_operator(one)) for one in sorted({one.operator_id for one in ranges})}
    telling = sorted(beside(end for one in ranges for end in (one.first, one.last)))
    active = {}
    for operator_id in operators:
        page = draw(st.sampled_from([None, *telling]))
        whole = set() if page is None else set(range(page // PAGE * PAGE, page // PAGE * PAGE + PAGE))
        active[operator_id] = whole ^ draw(st.sets(st.sampled_from(telling), max_size=20))
    return World(ranges, operators, active)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("index")


def batch(index: Index, asked: list[int]) -> list[tuple[int, int]]:
    body = CheckNumbersRequest(numbers=asked).SerializeToString()
    response = CheckNumbersResponse.FromString(index.table.check_numbers(body, numbers_per_call_max=len(asked)))
    return list(zip(response.statuses, response.operator_ids, strict=True))


@given(world=worlds(), fresh_since=st.sampled_from([None, FRESH_SINCE]))
def test_index_agrees_with_the_oracle_around_every_boundary(directory, world, fresh_since):
    build_index(directory, world.source())
    index = open_index(directory, fresh_since=fresh_since)
    asked = telling_numbers(world)
    expected = [world.answer(number, fresh_since=fresh_since) for number in asked]
    assert batch(index, asked) == expected
    assert [index.table.check(number) for number in asked] == expected


@given(world=worlds())
def test_facts_agree_with_the_oracle_around_every_boundary(directory, world):
    build_index(directory, world.source())
    index = open_index(directory)
    for number in telling_numbers(world):
        facts, holder = index.facts(number), world.holder(number)
        assert facts.status == world.answer(number)[0]
        assert facts.region == (holder.region if holder else "")
        assert facts.serving_operator == facts.range_holder
        assert facts.range_holder == (world.operators[holder.operator_id] if holder else None)
        assert not facts.ported


def test_every_page_kind_and_status_is_right_when_all_of_its_numbers_are_asked(directory):
    world = small_world()
    build_index(directory, world.source())
    index = open_index(directory)
    asked = [*range(79160000000 - 5, 79160000000 + 6 * PAGE + 5), *range(74950000000, 74950000000 + 50)]
    assert batch(index, asked) == [world.answer(number) for number in asked]


@pytest.mark.parametrize("number", [-1, 2**64, 10**30])
def test_facts_are_invalid_when_the_number_does_not_fit_into_64_bits(directory, number):
    build_index(directory, small_world().source())
    facts = open_index(directory).facts(number)
    assert (facts.status, facts.serving_operator, facts.range_holder, facts.region) == (1, None, None, "")


def test_answers_become_unknown_when_data_comes_of_age_over_the_same_files(directory):
    world = small_world()
    build_index(directory, world.source())
    index = open_index(directory)
    old, fresh = index.with_freshness(DATA_TIME + timedelta(microseconds=1)), index.with_freshness(DATA_TIME)
    active = 79160000000 + 3 * PAGE
    assert [one.table.check(active)[0] for one in (index, old, fresh)] == [4, UNKNOWN, 4]
    assert old.table.check(74950000000) == index.table.check(74950000000)


def test_index_answers_when_the_plan_has_no_range(directory):
    world = World([], {}, {})
    build_index(directory, world.source())
    index, asked = open_index(directory), telling_numbers(world)
    assert batch(index, asked) == [world.answer(number) for number in asked]
    assert index.facts(79160000000).range_holder is None


def test_range_reaches_over_chunks_when_it_is_that_long(directory):
    """430 chunks are more than a span may have."""
    first = 75000000000 - 5
    world = World(
        [AllottedRange(first, first + 431 * CHUNK, 1, True, "")], {1: operator(1)}, {1: {first, first + CHUNK}}
    )
    build_index(directory, world.source())
    index = open_index(directory)
    asked = sorted(beside(first + chunk * CHUNK + step for chunk in range(433) for step in (0, 5)))
    assert batch(index, asked) == [world.answer(number) for number in asked]
