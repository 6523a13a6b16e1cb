"""A revision counts only with the history that it belongs to, on every engine."""

from array import array
from datetime import UTC, datetime

import pytest
from sqlalchemy import Table, delete, insert, select, update

from numcheck.active import PortingsContent, PortingsHeader, PushHeader
from numcheck.errors import ConcurrentPush, HistoryLost, IndexBehind, NotServed, StoreDamaged
from numcheck.serving.publishing import open_or_rebuild
from numcheck.store import Point, Store, history
from numcheck.store.history import GAP
from numcheck.store.schema import installation, metadata, revisions
from numcheck.v1 import check_pb2
from tests.active.sets import active_set_of
from tests.store.engines import open_store
from tests.store.registry import plan, row

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FIRST = 79160000000


@pytest.fixture
def filled(store) -> Store:
    """A store of revision 2: a plan, and a number of operator 1."""
    store.import_plan(plan(row(916, 0, 99, "Альфа", "7740000076")), source="a.csv", now=NOW)
    store.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, now=NOW)
    return store


def push(store: Store, number: int) -> int:
    """Push a number as an operator does; the revision."""
    base = store.sets.head(1).version
    content = store.sets.push_content(1)
    content.add(array("Q", [number]))
    header = PushHeader(1, snapshot=False, base_version=base, push_id=None, data_time=NOW)
    return store.sets.push(header, content, base_version=base, token="", now=NOW).revision


def take_back(store: Store, revision: int) -> None:
    """Put the revision back, as a copy of the time would: what was changed since is of no interest here."""
    with store._database.writing() as connection:
        connection.execute(update(installation).values(revision=revision))
        connection.execute(delete(revisions).where(revisions.c.revision > revision))


def test_every_revision_has_a_mark_of_its_own(filled):
    points = [filled.point]
    for number in range(1, 5):
        push(filled, FIRST + number)
        points.append(filled.point)
    assert [point.revision for point in points] == [2, 3, 4, 5, 6]
    assert len({point.mark for point in points}) == len(points)
    assert all(filled.has(point) and not filled.is_lost(point) for point in points)


def test_store_that_was_just_made_has_a_point(store, tmp_path):
    with Store(tmp_path / "other") as other:
        assert store.point.revision == other.point.revision == 0
        assert store.point.mark != other.point.mark


def test_revision_of_another_history_is_lost_though_its_number_is_there(filled):
    push(filled, FIRST + 1)
    lost = filled.point
    take_back(filled, 2)
    assert filled.is_lost(lost)
    filled._seen = None  # as a node that was started anew
    push(filled, FIRST + 2)
    assert filled.point.revision == lost.revision
    assert filled.is_lost(lost)
    assert not filled.has(lost)


def test_nothing_is_pushed_to_a_store_that_lacks_what_was_seen(filled):
    """What the push was judged by may be lost: it is refused, and goes through once the loss is recorded."""
    push(filled, FIRST + 1)
    take_back(filled, 2)
    with pytest.raises(HistoryLost):
        push(filled, FIRST + 2)
    assert filled.revision == 2
    filled.record_loss(filled.seen, now=NOW)
    assert push(filled, FIRST + 2) == 5


Copy = dict[Table, list[dict[str, object]]]


def copied(store: Store) -> Copy:
    """A copy of the store as it is."""
    with store._database.reading() as connection:
        return {table: [*map(dict, connection.execute(select(table)).mappings())] for table in metadata.sorted_tables}


def put_back(store: Store, copy: Copy) -> None:
    """Restore the store from a copy, under whoever has it open: a standby that lacks the last commits takes over."""
    with store._database.writing() as connection:
        for table in reversed(copy):
            connection.execute(delete(table))
        for table, rows in copy.items():
            if rows:
                connection.execute(insert(table), rows)


def port(store: Store, numbers: list[int], returned: list[int], *, begun: PortingsContent | None = None) -> int:
    """Push portings to operator 2, as judged by the store of now or of when it was begun; the version."""
    base = store.sets.portings_head().version
    content = begun or store.sets.portings_content()
    if numbers:
        content.port(2, array("Q", numbers))
    content.give_back(array("Q", returned))
    header = PortingsHeader(snapshot=False, base_version=base, push_id=None, data_time=NOW, force=True)
    return store.sets.push_portings(header, content, base_version=base, now=NOW).version


@pytest.mark.parametrize("noticed", [True, False])
def test_push_under_way_is_refused_when_the_versions_it_was_judged_by_are_of_another_history(store, noticed):
    """A number that came back to its operator in what was lost is another's still, under a version of the same number.
    Whether this node has recorded the loss or was told of nothing; begun anew the push is judged by what holds."""
    second = row(917, 0, 99, "Бета", "7701725181")
    store.import_plan(plan(row(916, 0, 199, "Альфа", "7740000076"), second), source="a.csv", now=NOW)
    port(store, [FIRST], [])
    copy = copied(store)
    assert port(store, [], [FIRST]) == 2
    content, portings = store.sets.push_content(1), store.sets.portings_content()
    content.add(array("Q", [FIRST]))
    put_back(store, copy)
    if noticed:
        store.record_loss(store.seen, now=NOW)
    else:
        store._seen = None
    after = 2 + GAP * noticed
    assert port(store, [FIRST + 1], []) == after
    header = PushHeader(1, snapshot=False, base_version=0, push_id=None, data_time=NOW)
    before = store.revision
    with pytest.raises(ConcurrentPush, match="has lost what was there when the push began"):
        store.sets.push(header, content, base_version=0, token="", now=NOW)
    with pytest.raises(ConcurrentPush, match="has lost what was there when the push began"):
        port(store, [FIRST + 2], [], begun=portings)
    assert (store.revision, store.sets.head(1).version, store.sets.portings_head().version) == (before, 0, after)
    with pytest.raises(NotServed):
        push(store, FIRST)
    assert push(store, FIRST + 3) == before + 1


def test_lost_revision_is_never_used_again(filled):
    push(filled, FIRST + 1)
    lost = filled.point
    take_back(filled, 2)
    filled.see(lost, {1: 7, 2: 0})
    filled.record_loss(lost, now=NOW)
    assert filled.revision == lost.revision + 1
    (loss,) = filled.losses()
    assert (loss.first_revision, loss.last_revision, loss.operators) == (3, 3, {1: (7, 2)})
    assert loss.noticed_at_us == NOW.timestamp() * 1_000_000


def test_loss_is_recorded_once_whoever_notices_it(filled, data_dir):
    push(filled, FIRST + 1)
    push(filled, FIRST + 2)
    first, last = Point(3, filled_mark(filled, 3)), filled.point
    take_back(filled, 2)
    filled.see(last, {1: 9})
    filled.record_loss(last, now=NOW)
    revision = filled.revision
    filled.record_loss(last, now=NOW)
    filled.record_loss(first, now=NOW)  # by another node, which had not seen all
    assert filled.revision == revision
    (loss,) = filled.losses()
    assert loss.operators == {1: (9, filled.sets.head(1).version)}
    found = filled.survey(events_after=None, now=NOW)
    assert (found.lost_versions, found.lost_revision_count) == ({1: 9 - filled.sets.head(1).version}, 2)


def filled_mark(store: Store, revision: int) -> bytes:
    with store._database.reading() as connection:
        return connection.scalar(select(revisions.c.mark).where(revisions.c.revision == revision))


def test_revision_that_is_too_old_to_be_known_is_not_called_lost(filled, monkeypatch):
    """The index of it is built anew, and nobody is told of a loss that there may not be."""
    old = filled.point
    monkeypatch.setattr(history, "REVISIONS_KEPT", 3)
    for number in range(1, 6):
        push(filled, FIRST + number)
    assert not filled.has(old)
    assert not filled.is_lost(old)
    with filled._database.reading() as connection:
        assert sorted(connection.scalars(select(revisions.c.revision))) == [5, 6, 7]


def test_revision_without_a_mark_is_damage(filled):
    with filled._database.writing() as connection:
        connection.execute(delete(revisions).where(revisions.c.revision == 2))
    with pytest.raises(StoreDamaged):
        _ = filled.point


def test_index_of_a_lost_history_is_built_anew_under_a_version_that_was_never_given_out(filled, data_dir):
    """Also of a push that came to the same number since; and no request may ask for the lost version."""
    push(filled, FIRST + 1)
    index, _ = open_or_rebuild(filled, data_dir)
    assert index.index_version == 3
    take_back(filled, 2)
    with open_store(data_dir) as restarted:
        push(restarted, FIRST + 2)
        found, reason = open_or_rebuild(restarted, data_dir)
        assert reason == "the store has lost revisions up to 3; it was at revision 3"
        assert found.index_version == restarted.revision == 4
        assert open_or_rebuild(restarted, data_dir)[1] is None
    for wanted in (1, 2, 4):
        assert found.table.check_numbers(request(wanted), numbers_per_call_max=1)
    with pytest.raises(IndexBehind, match="lost"):
        found.table.check_numbers(request(3), numbers_per_call_max=1)
    with pytest.raises(IndexBehind, match="asked for"):
        found.table.check_numbers(request(5), numbers_per_call_max=1)


def request(min_index_version: int) -> bytes:
    message = check_pb2.CheckNumbersRequest(numbers=[FIRST], min_index_version=min_index_version)
    return message.SerializeToString()
