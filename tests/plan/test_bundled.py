"""The bundled registry file against what was counted in it by other means."""

from collections import Counter
from itertools import pairwise

from numcheck.plan import BUNDLED_DATE, bundled_source, read_registry

MINISTRY = "inn:7710474375"
MTS = "inn:7740000076"


def shared_blocks(plan, size):
    """How many blocks of a size the ranges touch, and how many of them have several holders."""
    touched = sum(one.last // size - one.first // size + 1 for one in plan.ranges)
    meetings = [(one, other) for one, other in pairwise(plan.ranges) if one.last // size == other.first // size]
    shared = {one.last // size for one, other in meetings if one.holder_key != other.holder_key}
    return touched - len(meetings), len(shared)


def test_bundled_file_is_named_after_its_day():
    assert bundled_source()[0] == f"DEF-9xx_{BUNDLED_DATE.isoformat()}.csv"


def test_bundled_file_reads_without_problem_or_note():
    reading = read_registry([bundled_source()])
    assert (reading.problems, reading.notes) == ((), ())


def test_bundled_plan_has_the_counted_ranges_codes_and_operators(newest):
    assert len(newest.ranges) == 17_059
    assert len(newest.codes) == 83
    assert len(newest.holders) == 73
    assert all(holder.tax_id for holder in newest.holders.values())
    assert newest.series == {"9"}
    assert newest.number_count == sum(newest.totals().values()) == 706_567_081


def test_bundled_plan_has_the_counted_sizes_of_ranges(newest):
    sizes = Counter(min(one.size, 100) for one in newest.ranges)
    assert sizes[1] == 48
    assert sizes.total() - sizes[100] == 503
    assert sum(one.first % 100 != 0 for one in newest.ranges) == 549


def test_bundled_plan_has_the_counted_shared_blocks(newest):
    assert shared_blocks(newest, 10_000) == (70_971, 609)
    assert shared_blocks(newest, 100) == (7_065_690, 31)


def test_ministry_is_a_holder_like_any_other(newest):
    held = [one for one in newest.ranges if one.holder_key == MINISTRY]
    assert (len(held), sum(one.size for one in held)) == (136, 1_292_102)


def test_holder_has_both_names_when_the_file_has_two(newest):
    holder = newest.holders[MTS]
    assert holder.name == 'ПАО "Мобильные ТелеСистемы"'  # 92,861,600 numbers against 90,965,190
    assert holder.folded_names == {"пао мтс", "пао мобильные телесистемы"}


def test_region_is_the_territory_when_the_file_has_a_hyphen(newest):
    assert newest.ranges[0].region == "Краснодарский край"
    assert all(one.region not in {"", "-"} for one in newest.ranges)
