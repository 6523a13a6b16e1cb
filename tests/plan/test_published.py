"""The regulator's other files: every encoding, header and number of columns that it has used, and two bad copies."""

from collections import Counter

import pytest

from numcheck.plan import Reason, RefusedRegistryFile, diff, read_registry

APRIL = "DEF-9xx_2026-04-20.csv"
NO_TERRITORY = "DEF-9xx_2023-07-23.csv"
NO_HEADER = "DEF-9kh_2021-03-30.csv"
CP1251 = "DEF-9x_2018-10-20_codes-900-955-999.csv"
FIXED_LINE = "ABC-3x_2018-10-20_codes-301-395.csv"
INVENTED = "invented-codes_2023-06-01.csv"
SPREADSHEET = "spreadsheet_2023-01-12.csv"


@pytest.fixture
def read(published):
    return lambda *names, **options: read_registry([(name, published(name)) for name in names], **options)


@pytest.mark.parametrize(
    ("name", "range_count", "number_count", "code_count", "holder_count"),
    [
        (APRIL, 16_629, 694_490_763, 83, 73),
        (NO_TERRITORY, 9_853, 644_204_833, 84, 85),
        (NO_HEADER, 8_048, 600_429_453, 79, 86),
        (CP1251, 560, 20_010_400, 3, 19),
        (FIXED_LINE, 5_666, 2_375_638, 2, 59),
    ],
)
def test_file_reads_whole_when_it_is_good(read, name, range_count, number_count, code_count, holder_count):
    reading = read(name)
    plan = reading.plan
    assert (reading.problems, reading.notes) == ((), ())
    assert (len(plan.ranges), plan.number_count) == (range_count, number_count)
    assert (len(plan.codes), len(plan.holders)) == (code_count, holder_count)


def test_holders_are_known_by_name_when_the_file_has_no_tax_id(read):
    plan = read(NO_HEADER).plan
    holder = plan.holders["name:ооо т2 мобайл"]
    assert (holder.tax_id, holder.name) == (None, 'ООО "Т2 Мобайл"')
    assert all(key == f"name:{min(one.folded_names)}" for key, one in plan.holders.items())


def test_region_keeps_its_semicolons_when_the_row_is_split_by_them(read):
    regions = {one.first: one.region for one in read(CP1251).plan.ranges}
    assert regions[79555550000] == regions[79558880000] == "Московская область; Москва|Московская область; Москва"


def test_fixed_line_and_mobile_files_make_one_plan(read):
    alone = [read(name).plan for name in (FIXED_LINE, CP1251)]
    together = read(FIXED_LINE, CP1251).plan
    assert together.ranges == alone[0].ranges + alone[1].ranges
    assert together.series == {"3", "9"}
    assert not together.country.is_mobile(together.ranges[0].first)


def test_rows_without_tax_id_get_the_one_that_goes_with_their_name(read):
    """The fixed-line file knows names only; read beside one with tax ids, its big operators are the same holders."""
    alone, beside, together = read(FIXED_LINE).plan, read(APRIL).plan, read(FIXED_LINE, APRIL).plan
    assert "name:пао мегафон" not in together.holders
    count = alone.totals()["name:пао мегафон"] + beside.totals()["inn:7812014560"]
    assert together.totals()["inn:7812014560"] == count


def test_invented_codes_are_refused_with_every_row_named(read):
    with pytest.raises(RefusedRegistryFile) as refused:
        read(INVENTED)
    problems = refused.value.problems
    assert [(one.line_number, one.reason) for one in problems] == [
        (7937, Reason.IMPOSSIBLE_CODE),
        (8003, Reason.IMPOSSIBLE_CODE),
        (8011, Reason.DUPLICATE),
        (8012, Reason.DUPLICATE),
        (8014, Reason.IMPOSSIBLE_CODE),
        (8015, Reason.IMPOSSIBLE_CODE),
        (8016, Reason.IMPOSSIBLE_CODE),
        (8019, Reason.IMPOSSIBLE_CODE),
        (8028, Reason.DUPLICATE),
    ]
    assert str(problems[2]) == f"{INVENTED}:8011: the same range as line 7960"
    assert str(refused.value).startswith(f"9 bad rows: {INVENTED}:7937: a code of 5 digits")
    assert str(refused.value).endswith("; and 6 more")
    assert "\n" not in str(refused.value)


def test_invented_codes_leave_the_other_rows_when_bad_ones_are_skipped(read):
    reading = read(INVENTED, skip_bad=True)
    assert len(reading.problems) == 9
    assert len(reading.plan.ranges) == 8_027 - 9


def test_spreadsheet_reads_with_its_totals_line_noted(read):
    reading = read(SPREADSHEET)
    assert (len(reading.plan.ranges), reading.plan.number_count) == (7_980, 599_289_453)
    assert [str(note) for note in reading.notes] == [
        f"{SPREADSHEET}:7982: a totals line, passed over; it says 597,101,453, the rows above have 599,289,453"
    ]
    assert reading.plan.holders["name:ооо т2 мобайл"].name == 'ООО "Т2 Мобайл"'


def test_update_has_the_counted_changes(read, newest):
    found = diff(read(APRIL).plan, newest)
    assert (found.added, found.removed, found.moved) == (12_076_378, 60, 35_800)
    assert found.unchanged == 706_567_081 - 12_076_378 - 35_800


def test_update_keeps_the_counted_ranges(read, newest):
    old = Counter((one.first, one.last) for one in read(APRIL).plan.ranges)
    assert (old & Counter((one.first, one.last) for one in newest.ranges)).total() == 16_592


def test_three_years_have_the_counted_changes(read):
    found = diff(read(NO_TERRITORY).plan, read(APRIL).plan)
    assert [round(count, -5) for count in (found.added, found.removed, found.moved)] == [
        52_400_000,
        2_100_000,
        1_300_000,
    ]


def test_most_numbers_keep_their_operator_when_only_the_newer_file_has_tax_ids(read):
    found = diff(read(NO_HEADER).plan, read(NO_TERRITORY).plan)
    assert found.unchanged > 589_000_000
    assert found.by_holder["inn:7743895280"].old_count > 0
