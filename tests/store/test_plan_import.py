"""An import replaces the series that it speaks of and nothing else; a failed one changes nothing."""

from datetime import UTC, datetime

import pytest

from numcheck.active import AllottedRange
from numcheck.plan import bundled_source, read_registry
from numcheck.store import SeriesInfo, Store
from tests.store.engines import open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, 9, 30, 0, 123_456, tzinfo=UTC)
LATER = datetime(2027, 1, 1, tzinfo=UTC)
ALPHA, BETA = "7740000076", "7701725181"


def firsts(store: Store) -> list[int]:
    return [one.first for one in store.ranges()]


def test_ranges_come_back_as_they_were_imported(store):
    imported = store.import_plan(
        plan(row(916, 100, 199, "Альфа", ALPHA, "Псков"), row(495, 0, 9, "Бета", BETA)), source="a.csv", now=NOW
    )
    assert store.ranges() == [
        AllottedRange(74950000000, 74950000009, 2, False, "Тверь"),
        AllottedRange(79160000100, 79160000199, 1, True, "Псков"),
    ]
    assert (imported.revision, imported.series, imported.range_count, imported.number_count) == (1, ("4", "9"), 2, 110)
    assert store.series() == [SeriesInfo(7, "4", "a.csv", NOW, 1, 10), SeriesInfo(7, "9", "a.csv", NOW, 1, 100)]


def test_bundled_registry_comes_back_row_by_row(store):
    bundled = read_registry([bundled_source()]).plan
    store.import_plan(bundled, source="bundled", now=NOW)
    tax_ids = {one.operator_id: one.tax_id for one in store.operators()}
    found = [(one.first, one.last, tax_ids[one.operator_id], one.mobile, one.region) for one in store.ranges()]
    assert found == [
        (one.first, one.last, bundled.holders[one.holder_key].tax_id, True, one.region) for one in bundled.ranges
    ]


def test_other_series_stay_when_one_is_replaced(store):
    store.import_plan(plan(row(916, 0, 9, "А"), row(301, 0, 9, "А"), row(495, 0, 9, "А")), source="a.csv", now=NOW)
    store.import_plan(plan(row(999, 5, 9, "А"), row(401, 5, 9, "А")), source="b.csv", now=LATER)
    assert firsts(store) == [73010000000, 74010000005, 79990000005]
    assert [(one.series, one.source, one.imported_at) for one in store.series()] == [
        ("3", "a.csv", NOW),
        ("4", "b.csv", LATER),
        ("9", "b.csv", LATER),
    ]


def test_series_is_replaced_to_its_first_and_last_number(store):
    ends = [row(code, first, first, "А") for code in (800, 900) for first in (0,)]
    ends += [row(code, 9_999_999, 9_999_999, "А") for code in (899, 999)]
    store.import_plan(plan(*ends), source="a.csv", now=NOW)
    store.import_plan(plan(row(850, 0, 0, "А")), source="b.csv", now=NOW)
    assert firsts(store) == [78500000000, 79000000000, 79999999999]


def test_same_import_again_gives_the_same_ranges(store):
    rows = row(916, 0, 9, "А", ALPHA), row(917, 0, 9, "Б", BETA)
    store.import_plan(plan(*rows), source="a.csv", now=NOW)
    ranges, operators = store.ranges(), store.operators()
    store.import_plan(plan(*rows), source="a.csv", now=NOW)
    assert (store.ranges(), store.operators()) == (ranges, operators)


def test_everything_is_there_when_the_store_is_opened_again(data_dir):
    with open_store(data_dir) as store:
        store.import_plan(plan(row(916, 0, 9, "А", ALPHA)), source="a.csv", now=NOW)
        before = store.revision, store.ranges(), store.operators(), store.series()
    for read_only in (True, False):
        with open_store(data_dir, read_only=read_only) as store:
            assert (store.revision, store.ranges(), store.operators(), store.series()) == before


def test_revision_rises_by_one_with_every_change(store):
    assert store.revision == 0
    for revision, code in enumerate((916, 301, 916), 1):
        assert store.import_plan(plan(row(code, 0, 9, "А")), source="a.csv", now=NOW).revision == revision
        assert store.revision == revision


def test_nothing_changes_when_the_transaction_fails(store, monkeypatch):
    """Half way through an import, with rows written already."""
    store.import_plan(plan(row(916, 0, 9, "А")), source="a.csv", now=NOW)
    before = store.revision, store.ranges(), store.operators(), store.series()
    monkeypatch.setattr("numcheck.store.plans._lost", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        store.import_plan(plan(row(917, 0, 9, "Б"), row(495, 0, 9, "В")), source="b.csv", now=NOW)
    assert (store.revision, store.ranges(), store.operators(), store.series()) == before
