"""The difference of two plans against one computed number by number."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.plan import RUSSIA, Change, Country, Holder, NumberingPlan, Range, diff

START = 79000000000
A, B, C = (
    Holder(f"inn:770000000{digit}", f"770000000{digit}", name, frozenset({name})) for digit, name in enumerate("abc")
)
A_BY_NAME = Holder("name:a", None, "A", frozenset({"a"}))
B_BY_NAME = Holder("name:b", None, "B", frozenset({"b"}))
A_TWIN = Holder("inn:7799999999", "7799999999", "a", frozenset({"a"}))


def plan_of(*held):
    """A plan of ranges, each given by its first and last number after START and its holder."""
    ranges = tuple(Range(START + first, START + last, holder.key, "") for first, last, holder in held)
    return NumberingPlan(RUSSIA, ranges, {holder.key: holder for *_, holder in held})


@st.composite
def plans(draw, holders=(A, B, C)):
    """A plan of up to eight ranges in fifty numbers, adjacent or with gaps between."""
    cuts = sorted(draw(st.sets(st.integers(0, 50), max_size=9)))
    held = [(first, stop - 1, draw(st.sampled_from([*holders, None]))) for first, stop in pairwise(cuts)]
    return plan_of(*[one for one in held if one[2] is not None])


def numbers_of(plan):
    """Every number of a plan with its holder's key."""
    return {number: one.holder_key for one in plan.ranges for number in range(one.first, one.last + 1)}


def key_of(holder):
    return None if holder is None else holder.key


@given(plans(), plans())
def test_changes_are_the_numbers_whose_holder_differs(old, new):
    before, after = numbers_of(old), numbers_of(new)
    differing = {
        number: (before.get(number), after.get(number))
        for number in before.keys() | after.keys()
        if before.get(number) != after.get(number)
    }
    told = [
        (number, (key_of(change.old_holder), key_of(change.new_holder)))
        for change in diff(old, new).changes
        for number in range(change.first, change.last + 1)
    ]
    assert told == sorted(differing.items())


@given(plans(), plans())
def test_counts_are_those_of_the_numbers(old, new):
    before, after, found = numbers_of(old), numbers_of(new), diff(old, new)
    both = before.keys() & after.keys()
    assert found.added == len(after.keys() - before.keys())
    assert found.removed == len(before.keys() - after.keys())
    assert found.moved == sum(before[number] != after[number] for number in both)
    assert found.unchanged == sum(before[number] == after[number] for number in both)


@given(plans(), plans())
def test_neighbouring_changes_differ(old, new):
    changes = diff(old, new).changes
    for one, other in pairwise(changes):
        assert one.last < other.first
        assert one.last + 1 < other.first or one[2:] != other[2:]


@given(plans(), plans())
def test_every_holder_balances(old, new):
    found = diff(old, new)
    assert {key: one.old_count for key, one in found.by_holder.items() if one.old_count} == old.totals()
    assert {key: one.new_count for key, one in found.by_holder.items() if one.new_count} == new.totals()
    for one in found.by_holder.values():
        assert one.old_count + one.added + one.moved_in - one.removed - one.moved_out == one.new_count
    assert sum(one.moved_in for one in found.by_holder.values()) == found.moved


@given(plans())
def test_nothing_changes_when_only_the_spelling_does(plan):
    renamed = {
        key: Holder(key, one.tax_id, one.name.upper(), frozenset({"other"})) for key, one in plan.holders.items()
    }
    found = diff(plan, NumberingPlan(RUSSIA, plan.ranges, renamed))
    assert (found.changes, found.unchanged) == ((), plan.number_count)


def test_adjacent_changes_are_one_when_they_are_alike():
    old = plan_of((0, 9, A), (10, 19, A), (20, 29, B))
    new = plan_of((0, 19, B), (20, 39, B))
    assert diff(old, new).changes == (
        Change(START, START + 19, A, B),
        Change(START + 30, START + 39, None, B),
    )


def test_change_tells_its_kind_and_size():
    changes = diff(plan_of((0, 9, A), (10, 14, A)), plan_of((10, 14, B), (20, 20, C))).changes
    assert [(one.kind, one.size) for one in changes] == [("removed", 10), ("moved", 5), ("added", 1)]


@pytest.mark.parametrize("reverse", [False, True])
def test_holder_is_the_same_when_one_plan_knows_it_by_name_alone(reverse):
    plans = [plan_of((0, 9, A_BY_NAME), (10, 19, B_BY_NAME)), plan_of((0, 9, A), (10, 19, C))]
    found = diff(*(reversed(plans) if reverse else plans))
    assert (found.unchanged, found.moved) == (10, 10)
    assert found.by_holder[A.key].old_count == found.by_holder[A.key].new_count == 10
    assert A_BY_NAME.key not in found.by_holder


def test_holder_moves_when_its_name_stands_for_two():
    found = diff(plan_of((0, 9, A_BY_NAME)), plan_of((0, 8, A), (9, 9, A_TWIN)))
    assert (found.unchanged, found.moved) == (0, 10)


def test_plans_of_two_countries_are_refused():
    other = Country(375, 9, 2, range(20, 50), "1234", "Belarus")
    with pytest.raises(ValueError, match="Belarus"):
        diff(plan_of(), NumberingPlan(other, (), {}))
