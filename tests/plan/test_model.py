"""The numbering plan's invariants, and when two names are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numcheck.plan import RUSSIA, Holder, NumberingPlan, Range, fold_name

T2 = Holder("inn:7743895280", "7743895280", 'ООО "Т2 Мобайл"', frozenset({"ооо т2 мобайл"}))


def plan_of(*bounds):
    ranges = tuple(Range(first, last, T2.key, "Москва") for first, last in bounds)
    return NumberingPlan(RUSSIA, ranges, {T2.key: T2})


@pytest.mark.parametrize(
    "spelling",
    [
        'ООО "Т2 Мобайл"',
        "ООО «Т2 МОБАЙЛ»",
        "ооо  т2\u00a0мобайл ",
        'ООО ""Т2 Мобайл""',
        "ООО „Т2 Мобайл“",
        "ООО 'Т2 Мобайл'",
        "ООО ＂Ｔ2 Мобайл＂".replace("Ｔ", "Т"),
    ],
)
def test_names_fold_to_one_when_only_case_quotes_and_spaces_differ(spelling):
    assert fold_name(spelling) == "ооо т2 мобайл"


def test_names_fold_to_one_when_one_has_yo():
    assert fold_name("АО «Королёв»") == fold_name('АО "КОРОЛЕВ"') == fold_name("АО Короле\u0308в")


def test_names_differ_when_letters_differ():
    assert fold_name("ООО Т2") != fold_name("ООО Т3")


@given(st.text(st.characters(codec="cp1251")))
def test_folding_again_changes_nothing(text):
    assert fold_name(fold_name(text)) == fold_name(text)


def test_plan_tells_its_counts_codes_and_series():
    plan = plan_of((74950000000, 74950000099), (79000000000, 79000000000), (79009999999, 79009999999))
    assert plan.number_count == 102
    assert plan.codes == {495, 900}
    assert plan.series == {"4", "9"}
    assert plan.totals() == {T2.key: 102}
    assert [one.size for one in plan.ranges] == [100, 1, 1]


def test_plan_may_be_empty():
    plan = plan_of()
    assert (plan.number_count, plan.series, plan.totals()) == (0, frozenset(), {})


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ([(79000000000, 79000000099), (79000000099, 79000000199)], "overlap"),
        ([(79000000100, 79000000199), (79000000000, 79000000099)], "out of order"),
        ([(79000000001, 79000000000)], "ends before"),
        ([(79009999999, 79010000000)], "its code"),
        ([(79999999999, 80000000000)], "outside of Russia"),
        ([(9000000000, 9000000001)], "outside of Russia"),
    ],
)
def test_plan_is_refused_when_its_ranges_break_an_invariant(bounds, says):
    with pytest.raises(ValueError, match=says):
        plan_of(*bounds)


def test_plan_is_refused_when_a_holder_is_not_listed():
    with pytest.raises(ValueError, match="holder"):
        NumberingPlan(RUSSIA, (Range(79000000000, 79000000001, T2.key, ""),), {})
