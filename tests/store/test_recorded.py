"""The record of withdrawals in the store against a dictionary: who is in it, since when, and what tidying keeps."""

from datetime import UTC, datetime, timedelta

import pytest

from numcheck.errors import EventsAltered, StoreDamaged
from numcheck.moments import microseconds
from numcheck.registrations.events import Chain
from numcheck.registrations.sealing import Key, Keyring
from numcheck.serving.keys import use_keys
from tests.active.sets import active_set_of
from tests.store.registry import plan, row
from tests.store.test_pushes import ALPHA, BETA, FIRST, ROWS, delta, port, sent, snapshot

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
KEYRING = Keyring([Key(1, bytes(32))])
CHAIN = Chain(KEYRING)
HELD = range(FIRST, FIRST + 500)


def seconds(moment):
    return microseconds(moment) // 1_000_000


def push(store, header, add=(), remove=()):
    """Push at the moment of the data."""
    content = store.sets.push_content(header.operator_id)
    content.add(sent(add))
    content.remove(sent(remove))
    head = store.sets.head(header.operator_id).version
    return store.sets.push(header, content, base_version=head, token="t", now=header.data_time)


@pytest.fixture
def supplied(store):
    """A store whose operator has supplied numbers, under a key, so that acts are told."""
    use_keys(store, store.registrations(CHAIN), KEYRING)
    store.record_acts(CHAIN)
    store.import_plan(plan(*ROWS), source="a", now=NOW - 40 * DAY)
    push(store, snapshot(ALPHA, at=NOW - 30 * DAY), HELD)
    return store


def recorded(store, revision=0):
    """The newest moment of each number, in seconds."""
    found = {}
    for chunk, some in store.withdrawal_record().chunks(revision):
        for moment, places in some:
            for place in places:
                found[chunk * 10_000_000 + place] = max(moment, found.get(chunk * 10_000_000 + place, 0))
    return found


def test_record_has_what_was_withdrawn_or_recycled_when_it_came_in(supplied):
    """What was not active, or is added, is in no record."""
    removed, recycled = NOW - 20 * DAY, NOW - 10 * DAY
    first = push(supplied, delta(ALPHA, 1, at=removed), add=[FIRST + 600], remove=[FIRST, FIRST + 1, FIRST + 700])
    push(supplied, delta(ALPHA, 2, at=recycled), add=[FIRST + 1, FIRST + 2], remove=[FIRST + 2])
    assert recorded(supplied) == {FIRST: seconds(removed), FIRST + 1: seconds(removed), FIRST + 2: seconds(recycled)}
    assert recorded(supplied, first.revision) == {FIRST + 2: seconds(recycled)}
    assert supplied.withdrawal_record().counts(0) == {seconds(removed): 2, seconds(recycled): 1}
    assert supplied.withdrawal_record().since == NOW - 40 * DAY
    assert [one.supplied_since for one in supplied.operators()] == [NOW - 30 * DAY, None]
    assert list(supplied.withdrawal_record().between(removed, recycled)) == [("removed", FIRST), ("removed", FIRST + 1)]


def test_data_that_comes_late_is_recorded_when_it_comes(supplied):
    """Whoever asked in between, and asks since then, is told of it."""
    late = supplied.sets.push_content(ALPHA)
    late.remove(sent([FIRST]))
    supplied.sets.push(delta(ALPHA, 1, at=NOW - 20 * DAY), late, base_version=1, token="t", now=NOW)
    assert recorded(supplied) == {FIRST: seconds(NOW)}


def test_held_push_is_recorded_when_it_is_confirmed_and_not_before(supplied):
    held = push(supplied, delta(ALPHA, 1, at=NOW - DAY), remove=HELD[:100])
    assert held.held
    assert recorded(supplied) == {}
    supplied.sets.confirm_push(ALPHA, held.token, now=NOW)
    assert recorded(supplied) == dict.fromkeys(HELD[:100], seconds(NOW))


def test_porting_is_not_in_the_record_and_a_plan_that_moves_numbers_is(supplied):
    port(supplied, {BETA: [FIRST + 5]}, at=NOW - 2 * DAY)
    assert recorded(supplied) == {}
    moved = row(916, 0, 199_899, "Альфа", "7740000076"), row(916, 199_900, 199_999, "Бета", "7701725181")
    supplied.import_plan(plan(*moved, *ROWS[1:]), source="b", now=NOW - DAY)
    assert recorded(supplied) == dict.fromkeys(range(FIRST + 199_900, FIRST + 200_000), seconds(NOW - DAY))
    assert {cause for cause, _ in supplied.withdrawal_record().between(NOW - DAY, NOW)} == {"plan"}


def test_replaced_set_begins_the_record_of_its_operator_anew(supplied):
    """What is brought along says nothing of what happened before it."""
    supplied.sets.replace_active_set(
        ALPHA, active_set_of(HELD[5:]), data_time=NOW - 9 * DAY, now=NOW - DAY, synthetic=True
    )
    assert recorded(supplied) == {}
    assert supplied.operators()[0].supplied_since == NOW - DAY
    push(supplied, snapshot(ALPHA, at=NOW), HELD)
    assert supplied.operators()[0].supplied_since == NOW


def tidy(store, kept_since, joined_before):
    store.registrations(CHAIN).tidy_record(
        kept_since_us=microseconds(kept_since), joined_before_us=microseconds(joined_before), at_us=microseconds(NOW)
    )


def test_tidying_joins_days_and_keeps_every_number_at_its_day_or_later(supplied):
    day = datetime(2026, 11, 10, tzinfo=UTC)
    for hour in range(1, 6):
        push(supplied, delta(ALPHA, hour, at=day + timedelta(hours=hour)), remove=[FIRST + hour])
    push(supplied, delta(ALPHA, 6, at=day + DAY), remove=[FIRST + 9])
    before, revision = recorded(supplied), supplied.revision
    tidy(supplied, NOW - 100 * DAY, NOW)
    after = recorded(supplied)
    assert after == {
        **dict.fromkeys(range(FIRST + 1, FIRST + 6), seconds(day + timedelta(hours=5))),
        FIRST + 9: seconds(day + DAY),
    }
    assert all(after[number] >= moment for number, moment in before.items())
    # Whoever follows from the revision before the last of the day reads the whole of it.
    assert set(recorded(supplied, revision - 2)) == set(before)
    assert len(supplied.withdrawal_record().counts(0)) == 2
    supplied.checks().data(CHAIN)
    supplied.checks().withdrawals()


def test_tidying_forgets_what_is_too_old_and_says_since_when_the_record_is(supplied):
    push(supplied, delta(ALPHA, 1, at=NOW - 20 * DAY), remove=[FIRST])
    push(supplied, delta(ALPHA, 2, at=NOW - 10 * DAY), remove=[FIRST + 1])
    tidy(supplied, NOW - 41 * DAY, NOW - 100 * DAY)
    assert (set(recorded(supplied)), supplied.withdrawal_record().since) == ({FIRST, FIRST + 1}, NOW - 40 * DAY)
    tidy(supplied, NOW - 15 * DAY, NOW - 100 * DAY)
    assert (set(recorded(supplied)), supplied.withdrawal_record().since) == ({FIRST + 1}, NOW - 15 * DAY)
    supplied.checks().data(CHAIN)
    supplied.import_plan(plan(*ROWS, row(918, 0, 9, "Бета", "7701725181")), source="b", now=NOW)
    assert supplied.withdrawal_record().since == NOW - 15 * DAY


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_edited_record_shows(supplied, sql):
    """By its checksum where its numbers are read, and in the acts whatever was edited (R13)."""
    push(supplied, delta(ALPHA, 1, at=NOW - 20 * DAY), remove=[FIRST])
    sql("UPDATE installation SET recorded_since_us = recorded_since_us - 1")
    with pytest.raises(EventsAltered, match="does not go back to the moment"):
        supplied.checks().data(CHAIN)
    sql("UPDATE installation SET recorded_since_us = recorded_since_us + 1")
    supplied.checks().data(CHAIN)
    sql("UPDATE recorded_withdrawals SET at_us = at_us - 86400000000")
    with pytest.raises(StoreDamaged, match="the numbers that the record has of revision"):
        recorded(supplied)
    with pytest.raises(EventsAltered, match="recorded_withdrawals"):
        supplied.checks().data(CHAIN)
    sql("DELETE FROM recorded_withdrawals")
    with pytest.raises(EventsAltered, match="is missing"):
        supplied.checks().data(CHAIN)
