"""Active sets come back whole, with their version, time and digest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from numcheck.active import ActiveSet, Operator
from numcheck.errors import UnknownOperator
from tests.active.sets import active_set_of
from tests.store.engines import open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, 9, 30, 0, 123_456, tzinfo=UTC)
NUMBERS = [79160000000, 79160000009, 79169999999, 79990000000, 10**15 - 1, 0]


@pytest.fixture
def store(data_dir):
    with open_store(data_dir) as store:
        rows = row(916, 0, 99, "Альфа", "7740000076"), row(917, 0, 9, "Бета", "7701725181")
        store.import_plan(plan(*rows), source="a.csv", now=NOW)
        yield store


def test_set_comes_back_when_the_store_is_opened_again(store, data_dir):
    active_set = active_set_of(NUMBERS)
    store.sets.replace_active_set(1, active_set, data_time=NOW, now=NOW)
    with open_store(data_dir, read_only=True) as reopened:
        assert reopened.sets.active_set(1) == active_set
        assert reopened.sets.active_set(1).digest() == active_set.digest()
        members = {chunk: reopened.sets.members(chunk).active[1] for chunk, _ in active_set.chunks()}
        assert members == dict(active_set.chunks())


def test_set_comes_back_when_it_is_full_of_runs(store):
    active_set = ActiveSet()
    active_set.add_range(79159999990, 79170000010)
    store.sets.replace_active_set(1, active_set, data_time=NOW, now=NOW)
    assert store.sets.active_set(1) == active_set


def test_head_tells_the_version_the_time_and_whether_it_is_synthetic(store):
    moment = datetime(2026, 11, 22, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=3)))
    assert store.sets.replace_active_set(1, ActiveSet(), data_time=moment, now=NOW, synthetic=True) == 1
    assert store.operators() == [
        Operator(1, "Альфа", "7740000076", 1, moment, True, NOW),
        Operator(2, "Бета", "7701725181", 0, None, False),
    ]


def test_version_rises_by_one_for_each_operator_on_its_own(store):
    versions = [store.sets.replace_active_set(one, ActiveSet(), data_time=NOW, now=NOW) for one in (1, 1, 2, 1)]
    assert versions == [1, 2, 1, 3]
    assert store.revision == 5


def test_nothing_of_the_old_set_is_left_when_it_is_replaced(store):
    store.sets.replace_active_set(1, active_set_of(NUMBERS), data_time=NOW, now=NOW)
    store.sets.replace_active_set(2, active_set_of([5]), data_time=NOW, now=NOW)
    store.sets.replace_active_set(1, active_set_of([79170000000]), data_time=NOW, now=NOW)
    assert list(store.sets.active_set(1)) == [79170000000]
    assert not store.sets.members(7916).active[1]
    assert list(store.sets.active_set(2)) == [5]
    assert store.sets.active_counts() == {1: 1, 2: 1}


def test_set_is_empty_when_none_was_supplied(store):
    assert len(store.sets.active_set(1)) == 0
    assert store.sets.members(7916).active == {}
    assert store.sets.active_counts() == {}


def test_set_is_empty_and_supplied_when_it_was_supplied_empty(store):
    store.sets.replace_active_set(1, ActiveSet(), data_time=NOW, now=NOW)
    assert len(store.sets.active_set(1)) == 0
    assert store.sets.active_counts() == {1: 0}


def test_set_stays_when_the_plan_is_imported_again(store):
    store.sets.replace_active_set(1, active_set_of(NUMBERS), data_time=NOW, now=NOW)
    store.import_plan(plan(row(916, 0, 9, "Альфа", "7740000076")), source="b.csv", now=NOW, force=True)
    assert sorted(store.sets.active_set(1)) == sorted(NUMBERS)


@pytest.mark.parametrize("operator_id", [0, 3, -1, 2**31])
def test_set_is_refused_when_there_is_no_such_operator(store, operator_id):
    with pytest.raises(UnknownOperator):
        store.sets.replace_active_set(operator_id, ActiveSet(), data_time=NOW, now=NOW)
    assert store.revision == 1
