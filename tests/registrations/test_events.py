"""R13: history that was edited shows. The edits are made behind the store's back, one at a time."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from numcheck.config import Settings
from numcheck.errors import EventsAltered
from numcheck.identity.events import SignedHead
from numcheck.serving.audit import export, head_fields, head_of, signed_head, verify_export, verify_store
from numcheck.serving.keys import write_keys
from numcheck.store.store import FILE_NAME
from tests.registrations.world import KEYS, SERVICE, START, World, small

Sql = Callable[..., list[tuple]]


@pytest.fixture
def settings(world: World) -> Settings:
    """A directory with 12 events of 5 users, one of them erased; its keys in their file."""
    for place, number in enumerate([small.ACTIVE, small.INACTIVE, small.UNKNOWN, small.ACTIVE, small.ACTIVE]):
        world.register(number, f"u{place}")
    world.registrar.delete(SERVICE, "u3")
    world.registrar.refresh(SERVICE, "u4", world.registrar.get(SERVICE, "u4").record.network_address, {"a": "b"})
    write_keys(world.data_dir / "keys.json", KEYS.keyring, KEYS.signing_key)
    world.close()
    return Settings(data_dir=world.data_dir)


@pytest.fixture
def sql(settings: Settings) -> Iterator[Sql]:
    connection = sqlite3.connect(settings.data_dir / FILE_NAME, isolation_level=None)
    yield lambda statement, *values: connection.execute(statement, values).fetchall()
    connection.close()


def count_of(settings: Settings) -> int:
    return verify_store(settings, None).event_count


def found(settings: Settings, head: SignedHead | None = None) -> int:
    """Where the first bad entry is said to be."""
    with pytest.raises(EventsAltered) as caught:
        verify_store(settings, head)
    return caught.value.sequence


COLUMNS = ("sequence", "at_us", "service", "registration_id", "kind", "state", "details", "hash")


def changed(value: object) -> Iterator[object]:
    """The value with each of its bytes changed, one at a time."""
    match value:
        case int():
            for bit in range(0, 56, 8):
                yield value ^ 1 << bit
        case str():
            for place, letter in enumerate(value):
                yield value[:place] + chr(ord(letter) ^ 1) + value[place + 1 :]
        case bytes():
            for place in range(len(value)):
                yield value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]


def test_an_untouched_chain_is_what_was_written(settings: Settings) -> None:
    assert count_of(settings) == 13


def test_every_byte_of_an_event_that_is_changed_shows_where_it_is(settings: Settings, sql: Sql) -> None:
    """Each byte of each column, of the first event, one in the middle and the last."""
    tried = 0
    for sequence in (1, 7, 13):
        (row,) = sql(f"SELECT {', '.join(COLUMNS)} FROM events WHERE sequence = ?", sequence)
        for column, value in zip(COLUMNS, row, strict=True):
            for other in changed(value):
                sql("BEGIN")
                if column == "sequence" and sql("SELECT 1 FROM events WHERE sequence = ?", other):
                    sql("ROLLBACK")
                    continue
                sql(f"UPDATE events SET {column} = ? WHERE sequence = ?", other, sequence)
                sql("COMMIT")
                assert found(settings) <= sequence + 1
                place = other if column == "sequence" else sequence
                sql(f"UPDATE events SET {column} = ? WHERE sequence = ?", value, place)
                tried += 1
    assert tried > 500
    assert count_of(settings) == 13


def test_every_event_that_is_removed_is_named(settings: Settings, sql: Sql) -> None:
    for sequence in range(1, 14):
        (row,) = sql("SELECT * FROM events WHERE sequence = ?", sequence)
        sql("DELETE FROM events WHERE sequence = ?", sequence)
        assert found(settings) == sequence
        sql(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", *row)
    assert count_of(settings) == 13


def test_every_swap_of_neighbours_is_named(settings: Settings, sql: Sql) -> None:
    def swap(sequence: int) -> None:
        for old, new in ((sequence, -1), (sequence + 1, sequence), (-1, sequence + 1)):
            sql("UPDATE events SET sequence = ? WHERE sequence = ?", new, old)

    for sequence in range(1, 13):
        swap(sequence)
        assert found(settings) == sequence
        swap(sequence)
    assert count_of(settings) == 13


def test_every_cut_of_the_tail_shows_whatever_is_done_to_the_head(settings: Settings, sql: Sql) -> None:
    """With the head as it was, as an editor without the key can make it, and removed with everything."""
    handed_out = signed_head(settings, START)
    rows = sql("SELECT * FROM events ORDER BY sequence")
    (head,) = sql("SELECT sequence, hash, mac FROM event_head")
    for last in range(12, -1, -1):
        sql("DELETE FROM events WHERE sequence > ?", last)
        assert found(settings) == last + 1
        if last:
            sql("UPDATE event_head SET sequence = ?, hash = ?", last, rows[last - 1][7])
            assert found(settings) == last
            assert found(settings, handed_out) == last
            sql("UPDATE event_head SET sequence = ?, hash = ?, mac = ?", *head)
    sql("DELETE FROM event_head")
    sql("DELETE FROM registrations")
    assert verify_store(settings, None).event_count == 0  # nothing is left that could show it, but what was handed out:
    assert found(settings, handed_out) == 1


def test_a_chain_that_was_rebuilt_with_the_keys_shows_beside_a_head_that_was_handed_out(
    settings: Settings, world: World, sql: Sql
) -> None:
    """Even who has everything cannot take back a head."""
    handed_out = signed_head(settings, START)
    sql("DELETE FROM events")
    sql("DELETE FROM event_head")
    sql("DELETE FROM registrations")
    sql("DELETE FROM verifications")
    again = World(settings.data_dir)
    for place in range(10):
        again.register(small.ACTIVE, f"v{place}")
    again.close()
    assert count_of(settings) == 20
    assert found(settings, handed_out) == 13


@pytest.mark.parametrize("change", ["state = 2", "due_at_us = due_at_us + 1"])
def test_a_registration_that_does_not_stand_where_its_events_left_it_shows(
    settings: Settings, sql: Sql, change: str
) -> None:
    sql(f"UPDATE registrations SET {change} WHERE state = 3")
    assert found(settings) == 13


def test_a_registration_that_was_removed_with_no_event_shows(settings: Settings, sql: Sql) -> None:
    sql("DELETE FROM registrations WHERE state = 3")
    assert found(settings) == 13


def test_an_export_verifies_by_itself_and_every_edit_of_its_lines_shows(settings: Settings) -> None:
    """Nothing of the installation is needed; the last line is the signed head."""
    lines = list(export(settings, START))
    assert verify_export(lines, None).event_count == 13
    head = head_of(json.loads(lines[-1]))
    edits = [lines[:place] + lines[place + 1 :] for place in range(13)]
    edits += [[*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]] for place in range(12)]
    edits += [[*lines[:place], lines[-1]] for place in range(13)]
    edits += [[*lines[:place], "{}", *lines[place + 1 :]] for place in range(13)]
    for edited in edits:
        with pytest.raises(EventsAltered):
            verify_export(edited, None)
    for cut in range(13):
        with pytest.raises(EventsAltered):
            verify_export(lines[:cut], head)


@pytest.mark.parametrize("name", ["sequence", "hash", "signed_at_us", "signature", "public_key"])
def test_a_head_that_was_changed_is_not_signed(settings: Settings, name: str) -> None:
    fields = head_fields(signed_head(settings, START))
    value = fields[name]
    fields[name] = value + 1 if isinstance(value, int) else ("0" if value[0] != "0" else "1") + value[1:]
    assert found(settings, head_of(fields)) > 0


def test_no_event_tells_who_anybody_is(settings: Settings, sql: Sql) -> None:
    """Erasure leaves the chain as it was: there never was a number, an address or an identifier in it."""
    told = " ".join(str(row) for row in sql("SELECT * FROM events"))
    for secret in ("7916", "203.0.113", "u1", "ivan", "Иванов"):
        assert secret not in told
    assert Path(settings.data_dir, FILE_NAME).exists()
