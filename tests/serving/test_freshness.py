"""Freshness: data older than the node's bound is UNKNOWN, from the moment on at which it comes of age."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from numcheck.config import Settings
from numcheck.index import PublishedIndex, open_index
from numcheck.serving.freshness import Publisher, fresh_since, seconds_to_next_expiry
from numcheck.serving.publishing import index_directory, open_or_rebuild
from numcheck.status import NumberStatus
from numcheck.store import Store
from tests.serving import small

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def index(small_dir):
    return open_index(index_directory(small_dir))


def settings(age_max: timedelta) -> Settings:
    return Settings(data_age_max_s=int(age_max.total_seconds()))


def statuses(index, *numbers):
    return [index.facts(number).status for number in numbers]


def test_data_never_ages_when_no_bound_is_set(index):
    assert fresh_since(settings(timedelta()), small.DATA_TIME) is None
    assert seconds_to_next_expiry(index, timedelta(), small.DATA_TIME + 1_000 * DAY) is None


def test_data_answers_up_to_the_bound_and_not_a_microsecond_longer(index):
    """At exactly the bound's age it is fresh; after it, what is active and what is not are both UNKNOWN."""
    known, now = [NumberStatus.ACTIVE, NumberStatus.INACTIVE], small.DATA_TIME + DAY
    for late, wanted in ((timedelta(), known), (MICROSECOND, [NumberStatus.UNKNOWN] * 2)):
        aged = index.with_freshness(fresh_since(settings(DAY), now + late))
        assert statuses(aged, small.ACTIVE, small.INACTIVE) == wanted


def test_only_the_operators_whose_data_is_old_become_unknown(index):
    """And what the plan alone tells stays told."""
    aged = index.with_freshness(small.OLD_DATA_TIME + MICROSECOND)
    assert statuses(aged, small.OLD, small.ACTIVE) == [NumberStatus.UNKNOWN, NumberStatus.ACTIVE]
    wanted = [NumberStatus.NOT_MOBILE, NumberStatus.UNALLOCATED, NumberStatus.INVALID]
    assert statuses(aged, small.NOT_MOBILE, small.UNALLOCATED, small.FOREIGN) == wanted


def test_node_waits_for_the_first_data_that_comes_of_age(index):
    """From one expiry to the next, each a microsecond after the bound; then there is nothing to wait for."""
    age_max, now = 300 * DAY, small.DATA_TIME
    fresh = index.with_freshness(now - age_max)
    assert seconds_to_next_expiry(fresh, age_max, now) == pytest.approx(
        (small.OLD_DATA_TIME + age_max - now).total_seconds(), abs=0.001
    )
    later = small.OLD_DATA_TIME + age_max + MICROSECOND
    aged = index.with_freshness(later - age_max)
    assert seconds_to_next_expiry(aged, age_max, later) == pytest.approx(
        (small.DATA_TIME + age_max - later).total_seconds(), abs=0.001
    )
    last = small.DATA_TIME + age_max + MICROSECOND
    assert seconds_to_next_expiry(index.with_freshness(last - age_max), age_max, last) is None


def test_node_does_not_wait_when_data_came_of_age_unseen(index):
    """While the index was built, say: what it took for fresh and is not any more is due at once, not never."""
    age_max = 10 * DAY
    built = index.with_freshness(small.DATA_TIME - DAY)
    wait_s = seconds_to_next_expiry(built, age_max, small.DATA_TIME + 11 * DAY)
    assert wait_s == pytest.approx(0, abs=0.001)


def test_index_is_published_anew_when_data_comes_of_age(index):
    """Data that was fresh when the index was opened, and has come of age since, is UNKNOWN."""
    published, age_max = PublishedIndex(), datetime.now(UTC) - small.DATA_TIME - DAY
    publisher, again = Publisher(published, settings(age_max)), threading.Event()
    publisher.publish(index.with_freshness(small.OLD_DATA_TIME))
    published.subscribe(lambda _index: again.set())
    publisher.start()
    try:
        assert again.wait(60)
    finally:
        publisher.stop()
    assert statuses(published.get(), small.ACTIVE, small.OLD) == [NumberStatus.UNKNOWN] * 2
    assert published.get().index_version == index.index_version


def test_index_is_opened_with_the_bound(small_dir):
    """From the first answer on, not from the first expiry on."""
    with Store(small_dir, read_only=True) as store:
        index, _ = open_or_rebuild(store, small_dir, fresh_since=small.DATA_TIME)
    assert statuses(index, small.ACTIVE, small.OLD) == [NumberStatus.ACTIVE, NumberStatus.UNKNOWN]
