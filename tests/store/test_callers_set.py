"""The set of callers as a whole, on each engine: what is put back past numcheck lets in nobody."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, insert, select
from structlog.testing import capture_logs

from numcheck.access import Caller, Role
from numcheck.errors import CallersRefused
from numcheck.serving.access import Directory
from numcheck.store import callers as module
from numcheck.store import floor as floors
from numcheck.store import schema
from numcheck.store.callers import Callers
from numcheck.store.schema import agreements, callers_head
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
KEY = bytes(range(32))
STAYS = Caller("numcheck://service/chat", Role.MESSENGER, service="chat")
LEAVES = Caller("numcheck://operator/alpha", Role.OPERATOR, operator_id=1)
TOKEN = b"t" * 32
TABLES = (schema.callers, agreements, callers_head)


@pytest.fixture
def store(store):
    rows = row(916, 0, 9_999, "Альфа", "7740000076"), row(917, 0, 9_999, "Бета", "7701725181")
    store.import_plan(plan(*rows), source="rows.csv", now=NOW)
    return store


@pytest.fixture
def callers(store) -> Callers:
    return store.callers(KEY)


def saved(store) -> dict:
    """Every row of the tables of callers, as a thief or a back-up would copy them."""
    with store._database.reading() as connection:
        return {table: [dict(one._mapping) for one in connection.execute(select(table))] for table in TABLES}


def put_back(store, copy: dict) -> None:
    """Make the tables of a copy what they were then, behind the store's back."""
    with store._database.writing() as connection:
        for table, rows in copy.items():
            connection.execute(delete(table))
            if rows:
                connection.execute(insert(table), rows)


def fill(callers: Callers) -> None:
    for one in (STAYS, LEAVES):
        callers.add(one, now=NOW)
    callers.set_token(LEAVES.uri, TOKEN, now=NOW)
    for operator_id in (1, 2):
        callers.agree("chat", operator_id, now=NOW)


def take_away(callers: Callers) -> None:
    callers.revoke(LEAVES.uri, now=LATER)
    callers.end_agreement("chat", 2, now=LATER)


def row_of(copy: dict, table, **wanted) -> dict:
    return next(one for one in copy[table] if all(one[name] == value for name, value in wanted.items()))


def _revoked_row(before, after):
    others = [one for one in after[schema.callers] if one["uri"] != LEAVES.uri]
    return {schema.callers: [*others, row_of(before, schema.callers, uri=LEAVES.uri)]}


def _ended_agreement(before, after):
    return {agreements: [*after[agreements], row_of(before, agreements, operator_id=2)]}


def _rows_and_head(before, after):
    return {**_revoked_row(before, after), callers_head: before[callers_head]}


def _removed_row(_before, after):
    return {schema.callers: [one for one in after[schema.callers] if one["uri"] != STAYS.uri]}


def _changed_row(_before, after):
    return {schema.callers: [{**one, "added_at_us": 5} for one in after[schema.callers]]}


def _head_raised(before, after):
    (head,) = after[callers_head]
    return {**before, callers_head: [{**head, "revision": head["revision"] + 9}]}


PUT_BACK = {
    "a row that was revoked": _revoked_row,
    "an agreement that was ended": _ended_agreement,
    "a row with the head of then": _rows_and_head,
    "all rows, with the head of now": lambda before, after: {**before, callers_head: after[callers_head]},
    "the head of then alone": lambda before, _after: {callers_head: before[callers_head]},
    "everything": lambda before, _after: before,
    "all rows, with a head that was raised": _head_raised,
    "no head": lambda before, _after: {**before, callers_head: []},
    "nothing at all": lambda _before, _after: {table: [] for table in TABLES},
    "a set without a row": _removed_row,
    "a set with rows that were changed": _changed_row,
}


@pytest.mark.parametrize("what", PUT_BACK)
def test_set_that_is_not_the_last_one_is_refused(store, callers, what):
    """By a node that is started on it, and by one that runs, whose callers stay those of the last set."""
    fill(callers)
    before = saved(store)
    take_away(callers)
    directory = Directory(callers, interval_s=3_600)
    put_back(store, PUT_BACK[what](before, saved(store)))
    try:
        assert callers.all().refused
        directory._marks = None  # as after WHOLE_INTERVAL_S
        directory.refresh()
        assert directory.refused == callers.all().refused
        assert directory.find(LEAVES.uri, TOKEN) is None
        assert (directory.find(STAYS.uri, None), directory.agreed("chat")) == (STAYS, {1})
        started = Directory(store.callers(KEY), interval_s=3_600)
        assert started.find(LEAVES.uri, TOKEN) is None
        assert started.find(STAYS.uri, None) is None
        assert started.agreed("chat") == frozenset()
        started.close()
    finally:
        directory.close()
    for change in (
        callers.whole,
        lambda: callers.add(Caller("numcheck://auditor", Role.AUDITOR), now=LATER),
        lambda: callers.set_token(STAYS.uri, b"n" * 32, now=LATER),
        lambda: callers.agree("other", 1, now=LATER),
        lambda: callers.end_agreement("chat", 1, now=LATER),
    ):
        with pytest.raises(CallersRefused):
            change()


def test_set_of_another_installation_is_refused(store, callers):
    """Rows, and the head with them, that another key has made."""
    fill(callers)
    own = saved(store)
    put_back(store, {table: [] for table in TABLES})
    callers._floor.path.unlink()
    stranger = store.callers(bytes(32))
    stranger.add(Caller("numcheck://mallory", Role.ADMINISTRATOR), now=NOW)
    theirs = saved(store)
    callers._floor.path.unlink()
    for planted in (theirs, {**own, schema.callers: own[schema.callers] + theirs[schema.callers]}):
        put_back(store, planted)
        assert "numcheck://mallory" not in [one.caller.uri for one in callers.all().callers]
        directory = Directory(callers, interval_s=3_600)
        assert directory.find("numcheck://mallory", None) is None
        directory.close()
        callers._floor.path.unlink(missing_ok=True)


def test_running_node_that_reads_a_refused_set_still_lets_go_of_who_is_revoked(store, callers):
    """A thief who makes the set refused must not keep others from being revoked."""
    fill(callers)
    directory = Directory(callers, interval_s=3_600)
    put_back(store, {agreements: []})
    directory._marks = None
    directory.refresh()
    assert directory.refused
    callers.revoke(STAYS.uri, now=LATER)
    directory._marks = None
    directory.refresh()
    assert directory.refused
    assert directory.find(STAYS.uri, None) is None
    assert directory.find("", TOKEN) == LEAVES
    directory.close()


def test_restored_copy_counts_again_when_it_is_confirmed(store, callers):
    """For the set that was looked at and no other; then it is the newest, and what was newer before is older."""
    fill(callers)
    before = saved(store)
    take_away(callers)
    after = saved(store)
    revision = callers.all().revision
    with pytest.raises(CallersRefused, match="nothing"):
        callers.confirm(callers.all())
    put_back(store, before)
    with capture_logs() as logs:
        directory = Directory(store.callers(KEY), interval_s=3_600)
        assert directory.find(LEAVES.uri, None) is None
        callers.confirm(callers.all())
        assert not callers.all().refused
        directory.refresh()
    assert [(one["log_level"], one["event"]) for one in logs] == [
        ("error", "the callers of the store are refused: nobody new is let in"),
        ("warning", "the callers of the store count again"),
    ]
    assert (directory.refused, directory.find(LEAVES.uri, None)) == ("", LEAVES)
    assert callers.all().revision == revision + 1
    callers.revoke(LEAVES.uri, now=LATER)
    for old in (before, after):
        put_back(store, old)
        assert callers.all().refused
    directory.close()


def test_confirmation_is_of_one_set(store, callers):
    fill(callers)
    before = saved(store)
    take_away(callers)
    after = saved(store)
    put_back(store, before)
    callers.confirm(callers.all())
    put_back(store, _removed_row(before, before))
    assert callers.all().refused
    put_back(store, {**after, **_revoked_row(before, after)})
    assert callers.all().refused


def test_damaged_row_that_was_confirmed_counts_for_nothing_until_it_is_revoked(store, callers):
    fill(callers)
    put_back(store, _changed_row(None, saved(store)))
    callers.confirm(callers.all())
    found = callers.all()
    assert (found.callers, found.refused, len(found.damaged)) == ([], "", 2)
    callers.remember(now=LATER)
    for one in (STAYS, LEAVES):
        callers.revoke(one.uri, now=LATER)
    assert [one.revoked_at for one in callers.whole().callers] == [LATER, LATER]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"revision": 1, "digest": "", "confirmed": ""}'])
def test_floor_that_is_not_as_it_was_written_refuses_until_it_is_confirmed(callers, content):
    fill(callers)
    callers._floor.path.write_bytes(content)
    assert "floor" in callers.all().refused
    callers.confirm(callers.all())
    callers.remember(now=LATER)
    assert not callers.all().refused


def test_floor_that_was_changed_counts_for_nothing(callers):
    """Not even with a MAC that numcheck made for another."""
    fill(callers)
    told = json.loads(callers._floor.path.read_bytes())
    for change in ({"revision": 0}, {"confirmed": told["digest"]}, {"digest": "00" * 32}):
        callers._floor.path.write_text(json.dumps({**told, **change}))
        assert "floor" in callers.all().refused


# --- crashes, and other nodes


def test_crash_between_the_commit_and_the_floor_locks_nobody_out(callers, monkeypatch):
    """The floor is behind then, and follows at the next reading."""
    fill(callers)
    with monkeypatch.context() as patched:
        patched.setattr(floors, "write_whole", _crash)
        with pytest.raises(KeyboardInterrupt):
            callers.add(Caller("numcheck://auditor", Role.AUDITOR), now=NOW)
    found = callers.whole()
    assert "numcheck://auditor" in [one.caller.uri for one in found.callers]
    callers.remember(now=NOW)
    assert callers._floor.try_read()[0].revision == found.revision


def test_disk_that_takes_no_floor_fails_no_change(callers, monkeypatch):
    fill(callers)
    with monkeypatch.context() as patched:
        patched.setattr(floors, "write_whole", _full)
        callers.revoke(LEAVES.uri, now=LATER)
        directory = Directory(callers, interval_s=3_600)
        assert (directory.refused, directory.find(LEAVES.uri, None)) == ("", None)
        directory.close()
    callers.remember(now=NOW)
    assert callers._floor.try_read()[0].revision == callers.all().revision


def test_crash_while_a_confirmed_set_is_taken_takes_it_once(store, callers, monkeypatch):
    fill(callers)
    before = saved(store)
    take_away(callers)
    put_back(store, before)
    callers.confirm(callers.all())
    with monkeypatch.context() as patched:
        patched.setattr(floors, "write_whole", _crash)
        with pytest.raises(KeyboardInterrupt):
            callers.remember(now=LATER)
    revision = saved(store)[callers_head][0]["revision"]
    callers.remember(now=LATER)
    found = callers.whole()
    assert found.revision == revision
    assert callers._floor.try_read()[0].confirmed == b""


def test_each_node_has_a_floor_of_its_own(store, callers, tmp_path):
    """A node that is new to the database takes what there is; from then on it refuses what is older."""
    second = Callers(store._database, KEY, store._acts, tmp_path)
    fill(callers)
    before = saved(store)
    assert second.whole() == callers.whole()
    take_away(second)
    callers.remember(now=LATER)
    put_back(store, before)
    assert second.all().refused
    assert callers.all().refused
    third = Callers(store._database, KEY, store._acts, tmp_path / "third")
    assert not third.all().refused, "who has seen nothing cannot know; docs/callers.md says what to copy"


def test_set_is_read_only_when_it_changed(callers, monkeypatch):
    """A look every few seconds costs one row, however many callers there are."""
    fill(callers)
    directory = Directory(callers, interval_s=3_600)
    directory.refresh()  # the floor has changed
    reads = []
    original = module.Callers.all
    monkeypatch.setattr(module.Callers, "all", lambda self: reads.append(1) or original(self))
    for _ in range(20):
        directory.refresh()
    assert reads == []
    callers.revoke(LEAVES.uri, now=LATER)
    directory.refresh()
    assert len(reads) == 1
    assert directory.find(LEAVES.uri, None) is None
    directory.close()


def test_floor_is_its_owners_alone(callers):
    fill(callers)
    assert callers._floor.path.stat().st_mode & 0o777 == 0o600


def _crash(*_, **__) -> None:
    raise KeyboardInterrupt


def _full(*_, **__) -> None:
    raise OSError(28, "no space")
