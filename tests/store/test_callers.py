"""Who may call, on each engine: kept as it was added, and believed only as it was written."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from numcheck.access import Caller, Role
from numcheck.errors import BadCaller, CallersRefused, StoreDamaged, UnknownCaller, UnknownOperator
from numcheck.store import Denial
from numcheck.store.callers import DENIALS_KEPT, DENIALS_PER_CALLER_MAX, NAME_LENGTH_MAX
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 24, 12, 30, 15, 123_456, tzinfo=UTC)
KEY = bytes(range(32))
OPERATOR = Caller("numcheck://operator/alpha", Role.OPERATOR, operator_id=1)
MESSENGER = Caller("numcheck://service/chat", Role.MESSENGER, service="chat")
AUDITOR = Caller("numcheck://auditor", Role.AUDITOR)
THREADS = 8


@pytest.fixture
def store(store):
    rows = row(916, 0, 9_999, "Альфа", "7740000076"), row(917, 0, 9_999, "Бета", "7701725181")
    store.import_plan(plan(*rows), source="rows.csv", now=NOW)
    return store


@pytest.fixture
def callers(store):
    return store.callers(KEY)


def damage(store, statement: str, **values: object) -> None:
    """Run a statement behind the store's back."""
    with store._database.writing() as connection:
        connection.execute(text(statement), values)


def test_callers_tokens_and_agreements_are_read_as_they_were_written(store, callers):
    assert not store.has_callers
    for one in (OPERATOR, MESSENGER, AUDITOR):
        callers.add(one, now=NOW)
    callers.set_token(MESSENGER.uri, b"t" * 32, now=NOW)
    callers.revoke(AUDITOR.uri, now=NOW)
    for operator_id in (2, 1, 2):
        callers.agree("chat", operator_id, now=NOW)
    callers.end_agreement("chat", 1, now=NOW)
    callers.end_agreement("chat", 1, now=NOW)
    found = callers.whole()
    assert [(one.caller, one.token_tag, one.added_at, one.revoked_at) for one in found.callers] == [
        (AUDITOR, None, NOW, NOW),
        (OPERATOR, None, NOW, None),
        (MESSENGER, b"t" * 32, NOW, None),
    ]
    assert found.agreements == [("chat", 2)]
    assert store.has_callers


def test_uri_is_given_once_and_what_is_unknown_is_refused(callers):
    callers.add(AUDITOR, now=NOW)
    callers.revoke(AUDITOR.uri, now=NOW)
    for refused in (
        lambda: callers.add(AUDITOR, now=NOW),
        lambda: callers.revoke(AUDITOR.uri, now=NOW),
        lambda: callers.set_token(AUDITOR.uri, b"t", now=NOW),
    ):
        with pytest.raises((BadCaller, UnknownCaller)):
            refused()
    with pytest.raises(UnknownOperator):
        callers.add(Caller("numcheck://operator/none", Role.OPERATOR, operator_id=77), now=NOW)
    with pytest.raises(UnknownOperator):
        callers.agree("chat", 77, now=NOW)


def test_of_many_that_add_the_same_at_once_one_does_and_the_others_hear_why(callers):
    """Never an error of the engine."""
    outcomes: list[object] = []

    def add() -> None:
        try:
            callers.agree("chat", 1, now=NOW)
            outcomes.append(callers.add(MESSENGER, now=NOW))
        except Exception as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=add) for _ in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes, key=str) == [BadCaller] * (THREADS - 1) + [None]
    assert callers.whole().agreements == [("chat", 1)]


@pytest.mark.parametrize(
    "change",
    [
        "role = 'administrator', service = NULL",
        "service = 'another'",
        "uri = 'numcheck://service/other'",
        "token_tag = :other",
        "token_tag = NULL",
        "added_at_us = added_at_us + 1",
        "revoked_at_us = 5",
        "mac = :other",
    ],
)
def test_caller_that_was_changed_behind_the_stores_back_counts_for_nothing(store, callers, change):
    """R3: every column of the row; the set is refused, and revoking it makes it whole again, revoked, nevertheless."""
    callers.add(MESSENGER, now=NOW)
    callers.add(AUDITOR, now=NOW)
    callers.set_token(MESSENGER.uri, b"t" * 32, now=NOW)
    damage(
        store,
        f"UPDATE callers SET {change} WHERE uri = :uri",
        uri=MESSENGER.uri,
        **({"other": b"x" * 32} if ":other" in change else {}),
    )
    found = callers.all()
    assert [one.caller for one in found.callers] == [AUDITOR]
    assert found.refused
    (damaged,) = found.damaged
    with pytest.raises(CallersRefused):
        callers.whole()
    callers.confirm(callers.all())
    with pytest.raises(StoreDamaged, match=damaged):
        callers.whole()
    if "revoked_at_us" not in change:
        with pytest.raises(StoreDamaged):
            callers.set_token(damaged, b"t", now=NOW)
        callers.revoke(damaged, now=NOW)
        assert {one.caller.uri: one.revoked_at for one in callers.whole().callers}[damaged] == NOW


@pytest.mark.parametrize("change", ["service = 'another'", "operator_id = 2", "since_us = 5", "mac = :other"])
def test_agreement_that_was_changed_behind_the_stores_back_counts_for_nothing(store, callers, change):
    callers.agree("chat", 1, now=NOW)
    damage(store, f"UPDATE agreements SET {change}", **({"other": b"x" * 32} if ":other" in change else {}))
    found = callers.all()
    assert (found.agreements, len(found.damaged)) == ([], 1)
    assert found.refused
    if change in ("since_us = 5", "mac = :other"):
        callers.confirm(callers.all())
        callers.agree("chat", 1, now=NOW)
        assert callers.whole().agreements == [("chat", 1)]


def test_row_that_another_key_wrote_counts_for_nothing(store, callers):
    callers.add(MESSENGER, now=NOW)
    assert store.callers(bytes(32)).all().callers == []


def test_last_denials_are_kept_with_their_counts(store):
    first, second = (Denial(NOW, "", f"/m{i}", "NOT_AUTHENTICATED", i) for i in (3, 4))
    store.record_denials([first, second])
    assert store.last_denials(5) == [second, first]
    store.record_denials([Denial(NOW, "", "/m3", "NOT_AUTHENTICATED", 5)])
    assert Denial(NOW, "", "/m3", "NOT_AUTHENTICATED", 8) in store.last_denials(5), "the same denial is one row"


def test_who_is_denied_again_and_again_pushes_out_nobody_elses_denials(store):
    """Whatever a stranger shows and calls: a caller and an address have so many rows, and names are kept in part."""
    first = Denial(NOW, "numcheck://known", "/m", "NOT_PERMITTED", 1, "203.0.113.7")
    store.record_denials([first])
    later = NOW + timedelta(minutes=6)
    by_name = [Denial(later, f"numcheck://x/{i}", "/m", "NOT_AUTHENTICATED", 1, "203.0.113.9") for i in range(300)]
    by_method = [Denial(later, "", f"/m{i}", "NOT_AUTHENTICATED", 1, f"2001:db8::{i:x}") for i in range(300)]
    store.record_denials(by_name + by_method)
    kept = store.last_denials(2 * DENIALS_KEPT)
    assert kept[-1] == first
    assert len(kept) == 1 + 2 * DENIALS_PER_CALLER_MAX
    store.record_denials([Denial(later, f"numcheck://{'x' * 60_000}{end}", "/m", "R") for end in "ab"])
    names = {one.uri for one in store.last_denials(2)}
    assert len(names) == 2
    assert all(len(name) <= NAME_LENGTH_MAX for name in names)
