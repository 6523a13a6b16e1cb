"""R13: the plan, the heads and the records of pushes are what the acts of administration have left, or it shows.

The edits are made behind the store's back by somebody who knows how checksums are made, and has no key.
"""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyroaring import BitMap
from sqlalchemy import Table, delete, update

from numcheck.active import PushContent
from numcheck.config import Settings
from numcheck.errors import EventsAltered, StoreDamaged
from numcheck.moments import microseconds
from numcheck.offline.audit import verify_events, verify_store
from numcheck.offline.rotation import drop_old_keys, rotate
from numcheck.registrations.events import Chain
from numcheck.serving.keys import use_keys, write_keys
from numcheck.store import Store, bindings
from numcheck.store.blocks import BlockRow, _row
from numcheck.store.data_bindings import HELD, PARTS, PARTS_UNBOUND, TABLES_UNBOUND
from numcheck.store.pushes import _checksum, _held_checksum
from numcheck.store.rows import CHECKSUM, new_row
from numcheck.store.schema import (
    agreements,
    blocks,
    callers,
    event_head,
    events,
    heads,
    held_numbers,
    installation,
    metadata,
    pushes,
    withdrawals,
)
from tests.active.sets import active_set_of
from tests.registrations.edited import Edited
from tests.registrations.test_bindings import others
from tests.registrations.world import KEYS, START
from tests.store.registry import plan, row
from tests.store.test_pushes import ALPHA, BETA, FIRST, NOW, ROWS, delta, port, push, snapshot

CHAIN = Chain(KEYS.keyring)


def fill(store: Store) -> None:
    """Two operators' pushes, applied, repeated, held, confirmed and forced; portings, and a set that was replaced."""
    use_keys(store, store.registrations(CHAIN), KEYS.keyring)
    store.import_plan(plan(*ROWS), source="rows.csv", now=NOW)
    push(store, snapshot(ALPHA, "a"), add=range(FIRST, FIRST + 100))
    push(store, snapshot(ALPHA, "a"), add=range(FIRST, FIRST + 100))
    push(store, snapshot(BETA), add=range(FIRST + 10_000_000, FIRST + 10_000_100))
    push(store, delta(ALPHA, 1, "b"), remove=range(FIRST, FIRST + 50), token="t")
    store.sets.confirm_push(ALPHA, "t", now=NOW)
    push(store, delta(ALPHA, 2, at=NOW - timedelta(days=1), allow_older=True), add=[FIRST + 1_000])
    push(store, delta(ALPHA, 3), remove=range(FIRST, FIRST + 100), token="held still")
    port(store, {BETA: [FIRST + 2_000]})
    port(store, {}, [FIRST + 2_000])
    follow(store)
    store.sets.replace_active_set(BETA, active_set_of([FIRST + 10_000_000]), data_time=NOW, now=NOW)


def follow(store: Store) -> None:
    """What was taken: of the oldest change the first numbers are done, the newest is done and dropped."""
    registrations = store.registrations(CHAIN)
    *_, newest = waiting = registrations.withdrawn(bulk=False, count_max=1_000, piece_size=20)
    assert waiting[0].revision < newest.revision
    for done in (waiting[0], newest):
        assert registrations.write(lambda work, done=done: work.set_withdrawn_done(done, microseconds(NOW)))
    registrations.drop_withdrawn(before_us=microseconds(NOW) + 1, at_us=microseconds(NOW))


class EditedData(Edited):
    """A store as `fill` leaves it, and an editor who makes checksums anew."""

    def __init__(self, data_dir: Path) -> None:
        with Store(data_dir) as store:
            fill(store)
        super().__init__(data_dir)

    def put(self, table: Table, *rows: dict[str, Any]) -> None:
        """Make these the rows of the table, with their checksums."""
        self.connection.execute(delete(table))
        for one in rows:
            values = {name: value for name, value in one.items() if name != CHECKSUM}
            self.add(table, dict(new_row(table, values)) if CHECKSUM in table.c else values)


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[EditedData]:
    one = EditedData(tmp_path / "var")
    assert one.problem() == ""
    yield one
    assert one.problem() == "", "the edits were not undone: the test proves nothing"
    verify_store(Settings(data_dir=one.data_dir), None)
    one.close()


def names(table: Table, one: dict[str, Any], problem: str) -> bool:
    """Whether a problem names the row, or the table that is bound as one."""
    if not PARTS[table]:
        return f"table {table.name}" in problem
    named = ", ".join(f"{column} {HELD if one[column] is None else one[column]}" for column in PARTS[table])
    return f"{table.name} with {named}" in problem


@pytest.mark.parametrize("table", PARTS, ids=lambda table: table.name)
def test_every_column_of_every_row_that_is_changed_shows_and_names_the_row(edited: EditedData, table: Table) -> None:
    """A little, or as another row has it; the row's checksum is made anew."""
    rows, tried = edited.rows(table), 0
    for column in table.c:
        if column.primary_key or column.name in PARTS_UNBOUND[table] or column.name in PARTS[table]:
            continue  # of what names a row, see those that are removed and added
        for place, one in enumerate(rows):
            for other in others(one[column.name], [each[column.name] for each in rows]):
                taken = (column.unique or column.name == "push_id") and other in [each[column.name] for each in rows]
                if taken or (other is None and not column.nullable):
                    continue
                if isinstance(one[column.name], bool) and not isinstance(other, bool):
                    continue
                edited.put(table, *rows[:place], {**one, column.name: other}, *rows[place + 1 :])
                assert names(table, one, edited.problem()), (column.name, one[column.name], other)
                tried += 1
    edited.put(table, *rows)
    assert tried or table.name == "operator_names"


@pytest.mark.parametrize("table", PARTS, ids=lambda table: table.name)
def test_every_row_that_is_removed_added_or_exchanged_shows(edited: EditedData, table: Table) -> None:
    rows = edited.rows(table)
    key = list(table.primary_key)[-1].name
    for place, one in enumerate(rows):
        rest = [*rows[:place], *rows[place + 1 :]]
        edited.put(table, *rest)
        assert names(table, one, edited.problem())
        added = {**one, key: one[key] + type(one[key])(1_000)}
        if table is pushes:
            added |= {"version": 1_000, "push_id": None}
        if "tax_id" in added:
            added["tax_id"] = "1"
        edited.put(table, *rows, added)
        assert names(table, added, edited.problem())
        edited.put(table, *rest, added)
        assert edited.problem()
    for place, one in enumerate(rows):
        for other in rows[place + 1 :]:
            unique = {column.name for column in table.c if column.primary_key or column.unique} | set(PARTS[table])
            swapped = [{**two, **{name: who[name] for name in unique}} for two, who in ((one, other), (other, one))]
            if table is pushes:
                swapped = [{**two, "push_id": None} for two in swapped]
            if swapped not in ([one, other], [other, one]):
                edited.put(table, *(each for each in rows if each not in (one, other)), *swapped)
                assert edited.problem(), (one, other)
    edited.put(table, *rows)


def test_a_set_that_is_put_back_as_it_was_shows(edited: EditedData) -> None:
    """Blocks, head and records of before a push, each with its right checksum: nothing but the chain tells."""
    tables = (blocks, heads, pushes)
    before = {table: edited.rows(table) for table in tables}
    with Store(edited.data_dir) as store:
        store.record_acts(CHAIN)
        push(store, delta(ALPHA, 3), add=[FIRST + 3_000])
    after = {table: edited.rows(table) for table in tables}
    for table in tables:
        edited.put(table, *before[table])
    edited.store.checks().sets()
    edited.store.checks().blocks()
    assert f"heads with kind 1, operator_id {ALPHA} is not what event" in edited.problem()
    edited.put(heads, *after[heads])
    edited.put(pushes, *after[pushes])
    with pytest.raises(StoreDamaged, match=f"the numbers of operator {ALPHA} are not those"):
        verify_store(Settings(data_dir=edited.data_dir), None)
    edited.put(blocks, *after[blocks])
    edited.put(pushes, *before[pushes])
    assert f"pushes with kind 1, operator_id {ALPHA}, version 4, which event" in edited.problem()
    edited.put(pushes, *after[pushes])


def test_a_block_that_is_not_what_its_set_has_shows(edited: EditedData) -> None:
    """Its numbers alone; with a checksum of its own that is made anew, it is not its head's any more."""
    (one, *_) = edited.rows(blocks)
    own = (
        (blocks.c.kind == one["kind"]) & (blocks.c.operator_id == one["operator_id"]) & (blocks.c.block == one["block"])
    )
    other = _row(one["kind"], one["operator_id"], one["block"], one["revision"], BitMap([1, 2, 3]))
    assert isinstance(other, BlockRow)
    for values in (
        {"bitmap": one["bitmap"][:-1] + b"\x01"},
        {"number_count": 7},
        {"checksum": bytes(16)},
        {"digest": bytes(32)},
        other._replace(digest=one["digest"])._asdict(),
        other._asdict(),
    ):
        edited.connection.execute(update(blocks).where(own).values(values))
        with pytest.raises(StoreDamaged):
            verify_store(Settings(data_dir=edited.data_dir), None)
        edited.connection.execute(update(blocks).where(own).values(one))


def test_withdrawn_numbers_that_are_changed_under_their_checksum_show(edited: EditedData) -> None:
    """A number less, or another one: the checksum, which is bound, is not theirs."""
    (one, *_) = edited.rows(withdrawals)
    for places in (BitMap.deserialize(one["places"]) - BitMap([one["next_place"]]), BitMap([one["next_place"]])):
        edited.set(withdrawals, one, places=places.serialize())
        with pytest.raises(StoreDamaged, match=f"revision {one['revision']} took are not what was stored"):
            verify_store(Settings(data_dir=edited.data_dir), None)
        edited.set(withdrawals, one, places=one["places"])


def test_a_held_push_whose_numbers_are_changed_shows(edited: EditedData) -> None:
    """Before it is confirmed: numbers removed, added or exchanged, under checksums that are made anew."""
    (one,) = edited.rows(held_numbers)
    (push_row,) = (each for each in edited.rows(pushes) if each["push_key"] == one["push_key"])
    other = BitMap([1, 2, 3]).serialize()
    changed = {**one, "added": other}
    changed["checksum"] = _checksum(one["push_key"], one["chunk"], other, one["removed"])
    elsewhere = {**changed, "chunk": one["chunk"] + 1}
    for rows in ([{**one, "added": other}], [], [changed], [one, elsewhere]):
        edited.put(held_numbers, *rows)
        with pytest.raises(StoreDamaged):
            verify_store(Settings(data_dir=edited.data_dir), None)
    for rows in ([], [changed], [one, elsewhere]):
        edited.put(held_numbers, *rows)
        rest = [each for each in edited.rows(pushes) if each != push_row]
        edited.put(pushes, *rest, {**push_row, "held_checksum": _held_checksum(each["checksum"] for each in rows)})
        assert f"pushes with kind 1, operator_id {ALPHA}, version held is not what event" in edited.problem()
        edited.put(pushes, *rest, push_row)
        edited.put(held_numbers, one)


def test_numbers_of_a_push_that_is_held_no_more_show(edited: EditedData) -> None:
    (one,) = edited.rows(held_numbers)
    edited.add(held_numbers, {**one, "push_key": edited.rows(pushes)[0]["push_key"]})
    with pytest.raises(StoreDamaged, match="cannot be confirmed"):
        verify_store(Settings(data_dir=edited.data_dir), None)
    edited.put(held_numbers, one)


def test_what_is_held_is_told_each_time_that_it_changes(tmp_path: Path) -> None:
    """Pushed, pushed again, overtaken by another push, too old, confirmed: nothing is missed and nothing is left."""
    with Store(tmp_path / "var") as store:
        fill(store)
        late = NOW + timedelta(days=8)
        for step in (
            lambda: push(store, delta(ALPHA, 3, "again"), remove=range(FIRST, FIRST + 90), token="again"),
            lambda: push(store, delta(ALPHA, 3, "again"), remove=range(FIRST, FIRST + 90), token="unused"),
            lambda: push(store, delta(ALPHA, 3), add=[FIRST + 5_000]),
            lambda: push(store, delta(ALPHA, 4), remove=range(FIRST, FIRST + 90), token="old"),
            lambda: store.sets.push(delta(ALPHA, 4, at=late), taken(store), base_version=4, token="late", now=late),
            lambda: store.sets.confirm_push(ALPHA, "late", now=late),
        ):
            step()
            verify_events(store, KEYS, None)
            store.checks().pushes()


def taken(store: Store) -> PushContent:
    """What removes too much."""
    content = store.sets.push_content(ALPHA)
    content.remove_range(FIRST + 50, FIRST + 90)
    return content


def test_withdrawals_that_count_as_dropped_and_are_not_show(edited: EditedData) -> None:
    """Or who verified by an older index would not be told that the number was taken meanwhile."""
    (one,) = edited.rows(installation)
    assert one["withdrawals_dropped"] > 0
    for other in (0, one["withdrawals_dropped"] + 1):
        edited.set(installation, one, withdrawals_dropped=other)
        assert "withdrawals were not dropped up to" in edited.problem()
        edited.set(installation, one, withdrawals_dropped=one["withdrawals_dropped"])


def test_withdrawals_of_a_revision_that_are_put_back_after_they_were_dropped_show(edited: EditedData) -> None:
    rows = edited.rows(withdrawals)
    dropped = {**rows[-1], "revision": edited.rows(installation)[0]["withdrawals_dropped"], "next_place": None}
    assert dropped["revision"] not in [one["revision"] for one in rows]
    edited.add(withdrawals, dropped)
    assert f"withdrawals with revision {dropped['revision']} is not what event" in edited.problem()
    edited.remove(withdrawals, dropped)


def test_a_digest_that_is_kept_and_not_its_sets_shows(edited: EditedData) -> None:
    rows = edited.rows(heads)
    (place,) = (place for place, one in enumerate(rows) if (one["kind"], one["operator_id"]) == (1, ALPHA))
    edited.put(heads, *rows[:place], {**rows[place], "digest": bytes(32)}, *rows[place + 1 :])
    with pytest.raises(StoreDamaged, match="does not have its digest"):
        verify_store(Settings(data_dir=edited.data_dir), None)
    edited.put(heads, *rows)


def test_records_that_made_room_for_newer_ones_are_not_missed_and_older_ones_are(edited: EditedData) -> None:
    """After ninety days a push makes room; the record that is removed then is told to be."""
    late = NOW + timedelta(days=91)
    with Store(edited.data_dir) as store:
        store.record_acts(CHAIN)
        content = store.sets.push_content(ALPHA)
        content.add_range(FIRST + 4_000, FIRST + 4_000)
        store.sets.push(delta(ALPHA, 3, at=late), content, base_version=3, token="u", now=late)
    rows = edited.rows(pushes)
    assert [one["version"] for one in rows if one["operator_id"] == ALPHA] == [4]
    assert edited.problem() == ""
    edited.put(pushes, *(one for one in rows if one["operator_id"] != ALPHA))
    assert "version 4" in edited.problem()
    edited.put(pushes, *rows)


def test_data_stays_bound_when_keys_are_rotated_and_what_was_changed_does_not_become_right(tmp_path: Path) -> None:
    edited = EditedData(tmp_path / "var")
    settings, rows = Settings(data_dir=edited.data_dir), edited.rows(heads)
    edited.put(heads, {**rows[0], "data_time_us": rows[0]["data_time_us"] + 1}, *rows[1:])
    with pytest.raises(EventsAltered, match="the row of heads with"):
        rotate(settings, START)
    edited.put(heads, *rows)
    write_keys(edited.data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    rotate(settings, START)
    drop_old_keys(settings, START + timedelta(days=2))
    verify_store(settings, None)
    edited.put(heads, {**rows[0], "data_time_us": rows[0]["data_time_us"] + 1}, *rows[1:])
    with pytest.raises(EventsAltered, match="the row of heads with"):
        verify_store(settings, None)
    edited.close()


def test_data_that_is_there_before_the_first_key_is_bound_with_it(tmp_path: Path) -> None:
    """As `numcheck demo` leaves it."""
    with Store(tmp_path / "var") as store:
        store.import_plan(plan(*ROWS), source="rows.csv", now=NOW)
        store.sets.replace_active_set(ALPHA, active_set_of([FIRST]), data_time=NOW, now=NOW, synthetic=True)
        use_keys(store, store.registrations(CHAIN), KEYS.keyring)
        assert verify_events(store, KEYS, None).event_count == 1
        with store._database.writing() as connection:
            connection.execute(delete(heads))
        with pytest.raises(EventsAltered, match="heads with kind 1, operator_id 1, which event 1 told, is missing"):
            verify_events(store, KEYS, None)


def test_a_plan_that_is_put_into_an_installation_that_never_had_one_shows(tmp_path: Path) -> None:
    with Store(tmp_path / "var") as store:
        use_keys(store, store.registrations(CHAIN), KEYS.keyring)
        verify_events(store, KEYS, None)
        stranger = Store(tmp_path / "var")
        stranger.import_plan(plan(row(916, 0, 9, "Альфа")), source="rows.csv", now=NOW)
        stranger.close()
        with pytest.raises(EventsAltered, match="no act has told"):
            verify_events(store, KEYS, None)


def test_every_table_is_bound_or_said_not_to_be_with_the_reason() -> None:
    by_acts, chain = {callers, agreements}, {events, event_head}
    groups = [set(bindings.UNBOUND), set(PARTS), set(TABLES_UNBOUND), by_acts, chain]
    assert set().union(*groups) == set(metadata.tables.values())
    assert sum(map(len, groups)) == len(metadata.tables), "a table is in two of them"
    assert all(TABLES_UNBOUND.values())
    assert set(PARTS_UNBOUND) == set(PARTS)
    for table, reasons in PARTS_UNBOUND.items():
        assert set(reasons) <= set(table.c.keys())
        assert all(reasons.values())
