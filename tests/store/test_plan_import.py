"""An import replaces the series that it speaks of and nothing else; a failed one changes nothing."""

from array import array
from datetime import UTC, datetime, timedelta

import pytest

from numcheck.active import AllottedRange, PortingsHeader
from numcheck.errors import BadPlan, MovesTooMuch, OlderData, PlanShrinks
from numcheck.plan import bundled_source, read_registry
from numcheck.store import SeriesInfo, Store
from tests.active.sets import active_set_of
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
    assert store.series() == [
        SeriesInfo(7, "4", "a.csv", None, NOW, 1, 10),
        SeriesInfo(7, "9", "a.csv", None, NOW, 1, 100),
    ]


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
    store.import_plan(plan(row(999, 5, 9, "А"), row(401, 5, 9, "А")), source="b.csv", now=LATER, force=True)
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
    store.import_plan(plan(row(850, 0, 0, "А")), source="b.csv", now=NOW, force=True)
    assert firsts(store) == [78500000000, 79000000000, 79999999999]


@pytest.mark.parametrize("kept", [90, 89])
def test_import_that_ends_more_than_a_tenth_of_a_series_is_refused(store, kept):
    """A tenth may go. What is allotted anew makes up for nothing, and other series do not count."""
    others = row(301, 0, 9_999, "А")
    store.import_plan(plan(row(916, 0, 99, "А"), others), source="a.csv", now=NOW)
    before = store.ranges(), store.series(), store.revision
    smaller = plan(row(916, 0, kept - 1, "А"), row(917, 0, 9, "А"))
    if kept == 90:
        assert store.import_plan(smaller, source="b.csv", now=LATER).removed == 10
        return
    with pytest.raises(PlanShrinks, match=r"series 9xx of the plan would lose 11 of its 100 numbers") as refused:
        store.import_plan(smaller, source="b.csv", now=LATER)
    assert refused.value.metadata == {"series": "9", "removed_count": "11", "number_count": "100"}
    assert (store.ranges(), store.series(), store.revision) == before
    assert store.import_plan(smaller, source="b.csv", now=LATER, force=True).removed == 11


@pytest.mark.parametrize(("moved", "ended"), [(20, 0), (21, 0), (10, 10), (11, 10), (1, 20), (99, 0)])
def test_import_that_moves_more_than_a_tenth_of_a_series_is_refused(store, moved, ended):
    """What moves counts like what ends, of the 200 numbers of a series."""
    others = row(301, 0, 9_999, "А", ALPHA)
    store.import_plan(plan(row(916, 0, 99, "А", ALPHA), row(917, 0, 99, "Б", BETA), others), source="a.csv", now=NOW)
    before = store.ranges(), store.operators(), store.series(), store.revision
    changed = plan(
        row(916, 0, moved - 1, "Б", BETA), row(916, moved, 99, "А", ALPHA), row(917, 0, 99 - ended, "Б", BETA)
    )
    if moved + ended > 20:
        with pytest.raises(MovesTooMuch, match=f"the largest moves: А -> Б {moved}$") as refused:
            store.import_plan(changed, source="b.csv", now=LATER)
        assert (refused.value.moved, refused.value.removed, refused.value.number_count) == (moved, ended, 200)
        assert (store.ranges(), store.operators(), store.series(), store.revision) == before
    imported = store.import_plan(changed, source="b.csv", now=LATER, force=moved + ended > 20)
    assert (imported.moved, imported.removed) == (moved, ended)


def test_moves_are_told_under_the_names_of_before(store):
    """A file whose columns have slipped gives an operator's tax id another's name."""
    store.import_plan(plan(row(916, 0, 99, "А", ALPHA), row(917, 0, 49, "Б", BETA)), source="a.csv", now=NOW)
    slipped = plan(row(916, 0, 99, "А", BETA), row(917, 0, 49, "Б", ALPHA))
    with pytest.raises(MovesTooMuch, match=r"the largest moves: А -> Б 100; Б -> А 50$") as refused:
        store.import_plan(slipped, source="b.csv", now=LATER)
    assert refused.value.metadata == {
        "moved_count": "150",
        "removed_count": "0",
        "number_count": "150",
        "largest_moves": "1>2:100,2>1:50",
    }


def test_spelling_or_a_tax_id_that_appears_moves_nothing(store):
    """Nor a tax id that a file leaves out."""
    store.import_plan(plan(row(916, 0, 99, "ООО «Ёлка»"), row(917, 0, 9, "Б")), source="a.csv", now=NOW)
    for name, tax_id in (('ооо "елка"', ""), ("ООО Ёлка", ALPHA), ("ПАО Ёлка", ALPHA), ("ООО  'Ёлка'", "")):
        imported = store.import_plan(plan(row(916, 0, 99, name, tax_id), row(917, 0, 9, "Б")), source="b", now=NOW)
        assert (imported.moved, imported.removed) == (0, 0)


@pytest.mark.parametrize("taken", [90, 89])
def test_operator_that_was_known_by_name_alone_may_get_another_with_its_tax_id(store, taken):
    """If it hands nearly all that it held to one operator with a tax id; else its numbers have moved."""
    store.import_plan(plan(row(916, 0, 99, "Вымпел"), row(917, 0, 9, "Б", BETA)), source="a.csv", now=NOW)
    rest = row(916, taken, 99, "В") if taken == 90 else row(916, taken, 99, "Б", BETA)
    renamed = plan(row(916, 0, taken - 1, "ВЫМПЕЛКОМ", ALPHA), rest, row(917, 0, 9, "Б", BETA))
    if taken < 90:
        with pytest.raises(MovesTooMuch, match="Вымпел -> ВЫМПЕЛКОМ 89; Вымпел -> Б 11"):
            store.import_plan(renamed, source="b.csv", now=NOW)
        return
    assert store.import_plan(renamed, source="b.csv", now=NOW).removed == 0


def test_name_stays_when_a_plan_has_tax_ids_alone(store):
    store.import_plan(plan(row(916, 0, 99, "Альфа", ALPHA)), source="a.csv", now=NOW)
    store.import_plan(plan(row(916, 0, 199, "-", ALPHA)), source="b.csv", now=NOW)
    assert [one.display_name for one in store.operators()] == ["Альфа"]


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
    for revision, code in enumerate((916, 301, 917), 1):
        assert store.import_plan(plan(row(code, 0, 9, "А")), source="a.csv", now=NOW, force=True).revision == revision
        assert store.revision == revision


def test_nothing_changes_when_the_transaction_fails(store, monkeypatch):
    """Half way through an import, with rows written already."""
    store.import_plan(plan(row(916, 0, 9, "А")), source="a.csv", now=NOW)
    before = store.revision, store.ranges(), store.operators(), store.series()
    monkeypatch.setattr("numcheck.store.plans._lost", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        store.import_plan(plan(row(917, 0, 9, "Б"), row(495, 0, 9, "В")), source="b.csv", now=NOW, force=True)
    assert (store.revision, store.ranges(), store.operators(), store.series()) == before


def test_same_rows_again_change_nothing_but_where_they_came_from(store):
    """No index has to be built anew for them; a holder's new name is a change."""
    rows = row(916, 0, 99, "Альфа", ALPHA), row(495, 0, 9, "Бета", BETA)
    store.import_plan(plan(*rows), source="a.csv", now=NOW)
    again = store.import_plan(plan(*rows), source="b.csv", now=LATER)
    assert (again.revision, again.range_count, again.added, again.moved) == (1, 2, 0, 0)
    assert store.revision == 1
    assert {(one.source, one.imported_at) for one in store.series()} == {("b.csv", LATER)}
    assert store.import_plan(plan(row(495, 0, 9, "Бета", BETA)), source="c.csv", now=LATER).revision == 1
    renamed = plan(rows[0], row(495, 0, 9, "Бета Плюс", BETA))
    assert store.import_plan(renamed, source="d.csv", now=LATER).revision == 2


def test_numbers_that_were_ported_away_are_not_lost_once_more(store):
    store.import_plan(plan(row(916, 0, 99, "А", ALPHA), row(917, 0, 99, "Б", BETA)), source="a.csv", now=NOW)
    ids = {one.tax_id: one.operator_id for one in store.operators()}
    active = active_set_of(range(79160000000, 79160000005))
    store.sets.replace_active_set(ids[ALPHA], active, data_time=NOW, now=NOW)
    content = store.sets.portings_content()
    content.port(ids[BETA], array("Q", [79160000001, 79160000002]))
    header = PortingsHeader(snapshot=False, base_version=0, push_id=None, data_time=NOW)
    store.sets.push_portings(header, content, base_version=0, now=NOW)
    moved = store.import_plan(plan(row(916, 0, 99, "Б", BETA)), source="b.csv", now=LATER, force=True)
    assert moved.lost == {ids[ALPHA]: 3}


DAYS = [datetime(2026, 4, 20, tzinfo=UTC), datetime(2026, 8, 19, tzinfo=UTC)]


@pytest.mark.parametrize("held", [None, *DAYS])
@pytest.mark.parametrize("came", [None, *DAYS])
@pytest.mark.parametrize("same_rows", [True, False])
def test_series_that_is_newer_is_replaced_only_if_that_is_meant(store, held, came, same_rows):
    """Of every pair of moments, known or not. Force is another word; the same rows of no moment keep what is known."""
    old = plan(row(916, 0, 99, "А", ALPHA), row(495, 0, 9, "Б", BETA))
    new = old if same_rows else plan(row(916, 0, 98, "А", ALPHA), row(495, 0, 9, "Б", BETA))
    store.import_plan(old, source="a.csv", now=NOW, data_time=held)
    before = store.ranges(), store.series(), store.revision
    meant = {}
    if held is not None and came is not None and came < held:
        with pytest.raises(OlderData) as refused:
            store.import_plan(new, source="b.csv", now=NOW, data_time=came, force=True)
        assert refused.value.metadata == {"series": "4", "head_data_time": held.isoformat()}
        assert (store.ranges(), store.series(), store.revision) == before
        meant = {"allow_older": True}
    store.import_plan(new, source="b.csv", now=NOW, data_time=came, **meant)
    expected = held if same_rows and came is None else came
    assert [one.data_time for one in store.series()] == [expected, expected]


def test_series_that_an_import_does_not_speak_of_keep_their_moment(store):
    store.import_plan(plan(row(916, 0, 99, "А"), row(495, 0, 9, "Б")), source="a.csv", now=NOW, data_time=DAYS[1])
    store.import_plan(plan(row(301, 0, 9, "Б")), source="b.csv", now=NOW, data_time=DAYS[0])
    assert [(one.series, one.data_time) for one in store.series()] == [("3", DAYS[0]), ("4", DAYS[1]), ("9", DAYS[1])]
    with pytest.raises(OlderData):
        store.import_plan(plan(row(301, 0, 9, "Б")), source="c.csv", now=NOW, data_time=DAYS[0], series=["3", "4"])


def test_data_of_a_moment_to_come_is_refused(store):
    """More than a day: the day of a file begins in the east before it does in UTC."""
    rows = plan(row(916, 0, 99, "А"))
    with pytest.raises(BadPlan, match="ahead of the clock") as refused:
        store.import_plan(rows, source="a.csv", now=NOW, data_time=NOW + timedelta(days=1, seconds=1))
    assert refused.value.field == "header.data_time"
    store.import_plan(rows, source="a.csv", now=NOW, data_time=NOW + timedelta(days=1))


def test_operators_that_go_by_a_name_they_never_had_are_told(store):
    """Not another spelling, a name of before, a tax id that gets its name or a name that gets its tax id."""
    gamma = "7743895280"
    store.import_plan(
        plan(row(916, 0, 99, "А", ALPHA), row(917, 0, 9, "-", BETA), row(918, 0, 9, "В")), source="a", now=NOW
    )
    renamed = plan(row(916, 0, 99, "Тверь", ALPHA), row(917, 0, 9, "Б", BETA), row(918, 0, 9, "В", gamma))
    (told,) = store.import_plan(renamed, source="b", now=NOW).renamed
    assert told == (1, "А", "Тверь", 100)
    for name in ("«тверь»", "А", "Тверь"):
        again = plan(row(916, 0, 99, name, ALPHA), row(917, 0, 9, "Б", BETA), row(918, 0, 9, "В", gamma))
        assert store.import_plan(again, source="c", now=NOW).renamed == []
