"""Bindings: keyed digests by which a row of the registrations, the verifications or the confirmations shows what was
done to it (R13).

Invariants: a row's `mac` covers every column that means something, so that none can be changed or exchanged without the
key; each transaction tells the macs of all rows that it wrote in one closing event of the chain, so that no row can be
removed, added or put back as it was before. Sealed columns have random nonces: of a row that was erased, a digest tells
nothing, not even to who has the key and tries numbers out.

A registration has two digests. `content` covers what is recorded of the user, `mac` covers `content` and where the
registration stands: operations on millions of registrations need not read what lies sealed.

A digest is BLAKE2b-256 under a key of `key_id` over the columns' values, in the order of the table, packed as
`_packing` does it. `mac` of a registration has the 32 bytes of `content` before them.
"""

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from itertools import chain, compress, zip_longest
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeVar

import orjson
from sqlalchemy import Table

from numcheck._packing import packed
from numcheck.errors import StoreDamaged
from numcheck.store.schema import confirmations, registrations, verifications

CONTENT = (
    "registration_id",
    "service",
    "user_tag",
    "number_tag",
    "request_tag",
    "key_id",
    "sealed_record",
    "sealed_number",
    "registered_at_us",
)
UNBOUND: Mapping[Table, Mapping[str, str]] = {
    registrations: {
        "content": "a digest itself",
        "mac": "a digest itself",
        "next_at_us": "follows from the state, the due time and the reminder; `events verify` compares it with them",
    },
    verifications: {"mac": "a digest itself"},
    confirmations: {"mac": "a digest itself"},
}
"""Columns that no digest covers, each with its reason; every other column is covered."""

GONE = bytes(32)
"""Stands for the mac of a row that was removed."""

ENTRY_SIZE = 16 + 32  # an id and a mac
ENTRIES_PER_EVENT_MAX = 1_000
PAGE_SIZE = 1_000


R = TypeVar("R", bound=Sequence[Any])


class Binder(Protocol):
    """Makes digests: the rules' affair."""

    def binder(self, key_id: int) -> Callable[[bytes], bytes]:
        """Return what makes the digest of some bytes under a key; StoreDamaged if there is no such key."""

    def bind_each(self, key_id: int, plains: Iterable[bytes]) -> list[bytes]:
        """Return the digest of each of many under a key."""


Columns = Mapping[str, Iterable[Any]]
"""Columns of new registrations under one key, by name; of one value, they may have no end."""


def bound_columns(table: Table) -> tuple[str, ...]:
    """Return the columns that the digests of a table cover."""
    return tuple(column.name for column in table.c if column.name not in UNBOUND[table])


STANDING = tuple(name for name in bound_columns(registrations) if name not in CONTENT)


def _picked(fields: Sequence[str], names: Iterable[str]) -> Callable[[Any], tuple[Any, ...]]:
    return itemgetter(*(fields.index(name) for name in names))


class RegistrationBinding:
    """Makes and checks the digests of rows that have these fields, `content` and `mac` among them."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._registration_id = itemgetter(fields.index("registration_id"))
        self._key_id, self._kept = itemgetter(fields.index("key_id")), itemgetter(fields.index("content"))
        self._mac, self._standing = itemgetter(fields.index("mac")), _picked(fields, STANDING)
        self._content = _picked(fields, CONTENT) if set(CONTENT) <= set(fields) else None

    def content(self, binder: Binder, row: Any) -> bytes:
        """Return the digest of what is recorded."""
        assert self._content is not None, "rows of these fields do not have what is recorded"
        return binder.binder(row.key_id)(packed(self._content(row)))

    def mac(self, binder: Binder, row: Any) -> bytes:
        """Return the digest of the row's `content` and of where it stands."""
        return binder.binder(row.key_id)(packed(self._standing(row), row.content))

    def contents(self, binder: Binder, rows: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return the digest of what is recorded in each of many rows."""
        assert self._content is not None, "rows of these fields do not have what is recorded"
        return self._digests(binder, rows, map(packed, map(self._content, rows)))

    def macs(self, binder: Binder, rows: Sequence[Sequence[Any]], contents: Iterable[bytes]) -> list[bytes]:
        """Return the digest of each of many rows, which have these `content`."""
        return self._digests(binder, rows, map(packed, map(self._standing, rows), contents))

    def _digests(self, binder: Binder, rows: Sequence[Sequence[Any]], plains: Iterable[bytes]) -> list[bytes]:
        key_ids = list(map(self._key_id, rows))
        if len(set(key_ids)) == 1:
            return binder.bind_each(key_ids[0], plains)
        return [binder.binder(key_id)(plain) for key_id, plain in zip(key_ids, plains, strict=True)]

    def are_whole(self, binder: Binder, rows: Sequence[Sequence[Any]]) -> bool:
        """Tell whether all of these rows are what was written, as far as they have the columns."""
        kept = list(map(self._kept, rows))
        try:
            if self._content is not None and self.contents(binder, rows) != kept:
                return False
            return self.macs(binder, rows, kept) == list(map(self._mac, rows))
        except (StoreDamaged, TypeError):
            return False

    def is_whole(self, binder: Binder, row: Sequence[Any]) -> bool:
        """Tell whether the row is what was written, as far as it has the columns."""
        return self.are_whole(binder, [row])

    def separate(self, binder: Binder, rows: Sequence[R]) -> tuple[Sequence[R], list[bytes]]:
        """Return those of these rows that are what was written, and the ids of the others."""
        if self.are_whole(binder, rows):
            return rows, []
        whole = [self.is_whole(binder, row) for row in rows]
        damaged = (self._registration_id(row) for row, one in zip(rows, whole, strict=True) if not one)
        return list(compress(rows, whole)), list(damaged)


def rows_of(columns: Columns, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows that columns are."""
    return zip(*(columns[name] for name in names), strict=False)


def new_contents(binder: Binder, key_id: int, columns: Columns) -> list[bytes]:
    """Return the digest of what is recorded in each of new registrations."""
    return binder.bind_each(key_id, map(packed, rows_of(columns, CONTENT)))


def new_macs(binder: Binder, key_id: int, columns: Columns) -> list[bytes]:
    """Return the mac of each of new registrations, whose columns have `content`."""
    return binder.bind_each(key_id, map(packed, rows_of(columns, STANDING), columns["content"]))


class RowBinding:
    """Makes and checks the digest of rows of a table that have one, over all of the row."""

    def __init__(self, table: Table, fields: Sequence[str]) -> None:
        self._values = _picked(fields, bound_columns(table))

    def mac(self, binder: Binder, row: Any) -> bytes:
        """Return the digest of all of the row."""
        return binder.binder(row.key_id)(packed(self._values(row)))

    def is_whole(self, binder: Binder, row: Any) -> bool:
        """Tell whether the row is what was written."""
        try:
            return bool(self.mac(binder, row) == row.mac)
        except (StoreDamaged, TypeError):
            return False


# --- what a transaction's closing event tells


class Bound(IntEnum):
    """The tables whose rows are bound; the names are those in the event's details, in small letters."""

    REGISTRATIONS = 1
    VERIFICATIONS = 2
    CONFIRMATIONS = 3


class Written:
    """The rows that a transaction has written, until its closing event tells their macs.

    `count` rises with every write of the transaction.
    """

    def __init__(self) -> None:
        self.count = 0
        self._macs: dict[Bound, dict[bytes, bytes]] = {table: {} for table in Bound}
        self._dropped_before = b""

    def note(self, table: Bound, row_id: bytes, mac: bytes) -> None:
        """Note that a row was written; the last time counts."""
        self._macs[table][row_id] = mac

    def note_all(self, table: Bound, macs: Iterable[tuple[bytes, bytes]]) -> None:
        """Note that rows were written: ids and macs."""
        self._macs[table].update(macs)

    def note_dropped(self, before: bytes) -> None:
        """Note that all verifications with lesser ids were removed."""
        self._dropped_before = max(self._dropped_before, before)

    def take(self) -> Iterator[dict[str, str]]:
        """Yield the details of as many events as it takes, and forget what was noted."""
        told = [self._pieces(table) for table in Bound]
        if self._dropped_before:
            told.append([(DROPPED_BEFORE, self._dropped_before.hex())])
        self._macs, self._dropped_before = {table: {} for table in Bound}, b""
        for some in zip_longest(*told):
            yield dict(one for one in some if one is not None)

    def _pieces(self, table: Bound) -> list[tuple[str, str]]:
        """Return what there is to tell of a table, in pieces that an event holds."""
        macs = sorted(self._macs[table].items())
        pieces = (macs[first : first + ENTRIES_PER_EVENT_MAX] for first in range(0, len(macs), ENTRIES_PER_EVENT_MAX))
        return [(table.name.lower(), b64encode(b"".join(chain.from_iterable(some))).decode()) for some in pieces]


DROPPED_BEFORE = "dropped_before"


def entries_of(details: str) -> Iterator[tuple[Bound, bytes, bytes]]:
    """Yield the table, id and mac of each row that a closing event tells of; ValueError if it cannot be one."""
    for name, value in orjson.loads(details).items():
        if name != DROPPED_BEFORE:
            entries, table = b64decode(value, validate=True), Bound[name.upper()]
            for at in range(0, len(entries), ENTRY_SIZE):
                yield table, entries[at : at + 16], entries[at + 16 : at + ENTRY_SIZE]


def dropped_before_of(details: str) -> bytes:
    """Return the id below which all verifications were removed, as a closing event tells; empty if none were."""
    return bytes.fromhex(orjson.loads(details).get(DROPPED_BEFORE, ""))


class Entry(NamedTuple):
    """The last entry of the chain about a row: the event, and the row's mac.

    Of a registration also its state and the details of its last event; None if no event told them.
    """

    row_id: bytes
    sequence: int
    mac: bytes
    state: int | None
    details: str | None


class LastTold:
    """The last entry of the chain about each row, in a temporary file, however many rows there are.

    Events are given in their order. Close it.
    """

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.execute(
            "CREATE TABLE bound (place INTEGER, id BLOB, sequence INTEGER, mac BLOB, PRIMARY KEY (place, id)) "
            "WITHOUT ROWID"
        )
        self._connection.execute("CREATE TABLE told (id BLOB PRIMARY KEY, state INTEGER, details TEXT) WITHOUT ROWID")
        self._connection.execute("BEGIN")
        self._waiting: list[tuple[bytes, int, str]] = []
        self.dropped_before = b""

    def close(self) -> None:
        """Remove the temporary file."""
        self._connection.close()

    def tell(self, registration_id: bytes, state: int, details: str) -> None:
        """Take an event about a registration."""
        self._waiting.append((registration_id, state, details))
        if len(self._waiting) >= PAGE_SIZE:
            self._flush()

    def bind(self, sequence: int, details: str) -> None:
        """Take a closing event; ValueError if it cannot be one."""
        rows = ((table, row_id, sequence, mac) for table, row_id, mac in entries_of(details))
        self._connection.executemany("INSERT OR REPLACE INTO bound VALUES (?, ?, ?, ?)", rows)
        self.dropped_before = max(self.dropped_before, dropped_before_of(details))

    def _flush(self) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", self._waiting)
        self._waiting.clear()

    def entries(self, table: Bound) -> Iterator[Entry]:
        """Return the rows of a table that the chain says are there, by ascending ids."""
        self._flush()
        first = self.dropped_before if table is Bound.VERIFICATIONS else b""
        statement = (
            "SELECT id, sequence, mac, state, details FROM bound LEFT JOIN told USING (id) "
            "WHERE place = ? AND id >= ? AND mac <> ? ORDER BY id"
        )
        return map(Entry._make, self._connection.execute(statement, (table, first, GONE)))

    def try_never_bound(self) -> bytes | None:
        """Return a registration that an event tells of and none has bound; None if there is none."""
        self._flush()
        statement = (
            "SELECT id FROM told WHERE NOT EXISTS "
            "(SELECT * FROM bound WHERE bound.place = ? AND bound.id = told.id) ORDER BY id LIMIT 1"
        )
        row = self._connection.execute(statement, (Bound.REGISTRATIONS,)).fetchone()
        return None if row is None else row[0]
