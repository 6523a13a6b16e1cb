"""The chain of events as rows: appended in the transaction of what they tell, read in their order.

Invariants: sequences have no gap; the head is that of the last event; a transaction that appends holds the head's row
from its beginning, so that events are committed in their order on every engine, and who follows them never skips one.
On disk after a crash: the chain with all of a transaction's events and their head, or with none of them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

from numcheck.store.bindings import Binder, Written
from numcheck.store.bulk import fetch, insert_values, rows_at_once, run
from numcheck.store.database import Database, take_turn
from numcheck.store.schema import events

PAGE_SIZE = 1_000
BOUND_KIND = "bound"  # of the event that closes a transaction


class EventRow(NamedTuple):
    """A row of the events, in the order of its columns."""

    sequence: int
    at_us: int
    service: str
    registration_id: bytes
    kind: str
    state: int
    details: str
    hash: bytes
    service_sequence: int


ToldEvent = tuple[int, int, str, bytes, str, int, str]
"""An event up to its hash."""


class EventHead(NamedTuple):
    """The newest event, and the MAC that says that this installation wrote it."""

    sequence: int
    hash: bytes
    key_id: int
    mac: bytes


TOUCH_HEAD = "UPDATE event_head SET sequence = sequence"
READ_HEAD = f"SELECT {', '.join(EventHead._fields)} FROM event_head"
WRITE_HEAD = "UPDATE event_head SET sequence = ?, hash = ?, key_id = ?, mac = ?"
INSERT_HEAD = "INSERT INTO event_head (id, sequence, hash, key_id, mac) VALUES (1, ?, ?, ?, ?)"
ROWS = f"SELECT {', '.join(EventRow._fields)} FROM events"
NEWEST_OF_SERVICE = f"{ROWS} WHERE service = ? ORDER BY service_sequence DESC LIMIT 1"
OF_SERVICE = f"{ROWS} WHERE service = ? AND service_sequence > ? ORDER BY service_sequence LIMIT ?"
OF_ALL = f"{ROWS} WHERE sequence > ? ORDER BY sequence LIMIT ?"


class Chain(Binder, Protocol):
    """The linking of events and the binding of rows, which are the rules' affair."""

    first_hash: bytes

    @property
    def newest_key_id(self) -> int:
        """The key that new digests are made with."""

    def links(self, previous_hash: bytes, events: Iterable[ToldEvent]) -> Iterator[bytes]:
        """Yield the hash of each of some events, given without one, that follow one another."""

    def head_mac(self, sequence: int, digest: bytes) -> tuple[int, bytes]:
        """Return the id of the key, and the MAC of a head."""


class EventAppender:
    """Appends events in one transaction; `flush` writes them."""

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection, self._chain = connection, chain
        self._told: list[ToldEvent] = []  # as EventRow has it, up to its hash
        self._places: list[int] = []  # of each among its service's own
        self._counts: dict[str, int] = {}  # of events, by service
        self.at_us = 0  # of the newest event of this transaction, or of what it does without one
        # The update takes the row's lock on engines that have one; before the first event there is no row to lock.
        if not run(connection, TOUCH_HEAD):
            take_turn(connection)
        head = try_head(connection)
        self._new = head is None
        self._sequence, self._hash = (0, chain.first_hash) if head is None else (head.sequence, head.hash)
        self.first_sequence = self._headed = self._sequence  # of the newest event before this transaction

    def append(self, at_us: int, service: str, registration_id: bytes, kind: str, state: int, details: str) -> None:
        """Append an event."""
        self._sequence, self.at_us = self._sequence + 1, at_us
        self._told.append((self._sequence, at_us, service, registration_id, kind, state, details))
        self._places.append(self._next_of(service) if service else 0)

    def append_about(
        self, at_us: int, service: str, registration_id: bytes, told: Sequence[tuple[str, int, str]]
    ) -> None:
        """Append events about a registration of a service: the kind, state and details of each."""
        self.at_us = at_us
        for kind, state, details in told:
            self._sequence += 1
            self._told.append((self._sequence, at_us, service, registration_id, kind, state, details))
            self._places.append(self._next_of(service))

    def append_each(
        self,
        at_us: int,
        service: str,
        registration_ids: Sequence[bytes],
        kinds: Iterable[str],
        states: Iterable[int],
        details: Iterable[str],
    ) -> None:
        """Append an event about each of many registrations of a service, at least one."""
        first, place = self._sequence + 1, self._next_of(service)
        self.at_us, self._sequence = at_us, self._sequence + len(registration_ids)
        self._counts[service] = place + len(registration_ids) - 1
        sequences = range(first, self._sequence + 1)
        common = repeat(at_us), repeat(service)
        self._told += zip(sequences, *common, registration_ids, kinds, states, details, strict=False)
        self._places += range(place, self._counts[service] + 1)

    def _next_of(self, service: str) -> int:
        """Return the place of a service's next event among its own."""
        if service not in self._counts:
            newest = read_newest(self._connection, service)
            self._counts[service] = newest.service_sequence if newest else 0
        self._counts[service] += 1
        return self._counts[service]

    def bind(self, written: Written) -> None:
        """Append the events that bind the rows that were written: of no service, at the time of the event before."""
        for details in written.take():
            self.append(self.at_us, "", b"", BOUND_KIND, 0, json.dumps(details))

    def flush(self) -> None:
        """Write what was appended, and the head."""
        self.flush_rows()
        if self._sequence != self._headed:
            self._write_head()

    def flush_rows(self) -> None:
        """Write what was appended so far; its head is still to come."""
        hashes = list(self._chain.links(self._hash, self._told))
        rows = [(*told, digest, place) for told, digest, place in zip(self._told, hashes, self._places, strict=True)]
        insert_values(self._connection, events, EventRow._fields, rows, at_once=rows_at_once(len(rows)))
        self._hash = hashes[-1] if hashes else self._hash
        self._told.clear()
        self._places.clear()

    def _write_head(self) -> None:
        key_id, mac = self._chain.head_mac(self._sequence, self._hash)
        run(self._connection, INSERT_HEAD if self._new else WRITE_HEAD, self._sequence, self._hash, key_id, mac)
        self._new, self._headed = False, self._sequence


def try_head(connection: Connection) -> EventHead | None:
    """Return the head, or None before the first event."""
    found = fetch(connection, READ_HEAD)
    return EventHead(*found[0]) if found else None


def read_newest(connection: Connection, service: str) -> EventRow | None:
    """Return the newest event of a service, or None before its first."""
    found = fetch(connection, NEWEST_OF_SERVICE, service)
    return EventRow._make(found[0]) if found else None


class EventLog:
    """The events, to be read: those that are durable, as far as whoever reads can see to that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def try_head(self) -> EventHead | None:
        """Return the head, or None before the first event."""
        with self._database.reading() as connection:
            head = try_head(connection)
        self._settle(head)
        return head

    def try_newest(self, service: str) -> EventRow | None:
        """Return the newest event of a service, or None before its first."""
        with self._database.reading() as connection:
            newest = read_newest(connection, service)
        self._settle(newest)
        return newest

    def after(self, sequence: int, *, count_max: int = PAGE_SIZE) -> list[EventRow]:
        """Return the next events after one, of all services and of none."""
        return self._rows(OF_ALL, sequence, count_max)

    def of_service(self, service: str, sequence: int, *, count_max: int = PAGE_SIZE) -> list[EventRow]:
        """Return the next events of a service, after one of its own."""
        return self._rows(OF_SERVICE, service, sequence, count_max)

    def _rows(self, selection: str, *values: Any) -> list[EventRow]:
        with self._database.reading() as connection:
            rows = list(map(EventRow._make, fetch(connection, selection, *values)))
        self._settle(rows[-1] if rows else None)
        return rows

    def _settle(self, last: EventRow | EventHead | None) -> None:
        if last is not None:
            self._database.settle_up_to(last.sequence)

    def all(self) -> Iterator[EventRow]:
        """Every event, in its order, read by pages."""
        sequence = 0
        while page := self.after(sequence):
            yield from page
            sequence = page[-1].sequence
