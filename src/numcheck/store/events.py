"""The chain of events as rows: appended in the transaction of what they tell, read in their order.

Invariants: sequences have no gap; the head is that of the last event; a transaction that appends holds the head's row
from its beginning, so that events are committed in their order on every engine, and who follows them never skips one.
On disk after a crash: the chain with all of a transaction's events and their head, or with none of them.
"""

from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, func, insert, select, update

from numcheck.store.bulk import insert_rows
from numcheck.store.database import Database, take_turn
from numcheck.store.schema import event_head, events, registrations

PAGE_SIZE = 1_000

# Made once: to make a statement takes as long as to run it.
TOUCH_HEAD = update(event_head).values(sequence=event_head.c.sequence)
READ_HEAD = select(event_head.c.sequence, event_head.c.hash, event_head.c.key_id, event_head.c.mac)
WRITE_HEAD = update(event_head)


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


class EventHead(NamedTuple):
    """The newest event, and the MAC that says that this installation wrote it."""

    sequence: int
    hash: bytes
    key_id: int
    mac: bytes


class Chain(Protocol):
    """How events are linked: the rules' affair."""

    first_hash: bytes

    def link(self, previous_hash: bytes, event: tuple[int, int, str, bytes, str, int, str]) -> bytes:
        """The hash of an event that is given without one."""

    def head_mac(self, sequence: int, digest: bytes) -> tuple[int, bytes]:
        """The id of the key, and the MAC of a head."""


class EventAppender:
    """Appends events in one transaction; `flush` writes them."""

    def __init__(self, connection: Connection, chain: Chain) -> None:
        self._connection, self._chain = connection, chain
        self._rows: list[EventRow] = []
        # The update takes the row's lock on engines that have one; before the first event there is no row to lock.
        if not connection.execute(TOUCH_HEAD).rowcount:
            take_turn(connection)
        head = try_head(connection)
        self._new = head is None
        self._sequence, self._hash = (0, chain.first_hash) if head is None else (head.sequence, head.hash)

    def append(self, at_us: int, service: str, registration_id: bytes, kind: str, state: int, details: str) -> None:
        """Append an event."""
        self._sequence += 1
        fields = (self._sequence, at_us, service, registration_id, kind, state, details)
        self._hash = self._chain.link(self._hash, fields)
        self._rows.append(EventRow(*fields, self._hash))

    def renew(self) -> None:
        """Write the head anew, if there is one, without an event: its key has changed."""
        if not self._new:
            self._write_head()

    def flush(self) -> None:
        """Write what was appended, and the head."""
        if self._rows:
            insert_rows(self._connection, events, self._rows)
            self._rows.clear()
            self._write_head()

    def _write_head(self) -> None:
        key_id, mac = self._chain.head_mac(self._sequence, self._hash)
        head = {"sequence": self._sequence, "hash": self._hash, "key_id": key_id, "mac": mac}
        self._connection.execute(insert(event_head).values(id=1) if self._new else WRITE_HEAD, head)
        self._new = False


def try_head(connection: Connection) -> EventHead | None:
    """The head, or None before the first event."""
    row = connection.execute(READ_HEAD).one_or_none()
    return None if row is None else EventHead(*row)


class EventLog:
    """The events, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def try_head(self) -> EventHead | None:
        """The head, or None before the first event."""
        with self._database.reading() as connection:
            return try_head(connection)

    def after(self, sequence: int, *, service: str | None = None, count_max: int = PAGE_SIZE) -> list[EventRow]:
        """The next events after one, of one service or of all."""
        statement = select(events).where(events.c.sequence > sequence).order_by(events.c.sequence).limit(count_max)
        if service is not None:
            statement = statement.where(events.c.service == service)
        with self._database.reading() as connection:
            return list(map(EventRow._make, connection.execute(statement)))

    def all(self) -> Iterator[EventRow]:
        """Every event, in its order, read by pages."""
        sequence = 0
        while page := self.after(sequence):
            yield from page
            sequence = page[-1].sequence

    def last_events(self) -> Generator[tuple[bytes, int, str], None, None]:
        """The id, the state and the details of every registration's last event, by ascending ids.

        The engine sorts them, on disk if they are many; here they are read piece by piece. Close it.
        """
        newest = select(func.max(events.c.sequence)).group_by(events.c.registration_id).scalar_subquery()
        statement = (
            select(events.c.registration_id, events.c.state, events.c.details)
            .where(events.c.sequence.in_(newest))
            .order_by(events.c.registration_id)
        )
        options = {"yield_per": PAGE_SIZE}
        with (
            self._database.reading() as connection,
            connection.execute(statement, execution_options=options) as rows,
        ):
            for row in rows:
                yield row.registration_id, row.state, row.details

    def standings(self) -> Iterator[tuple[bytes, int, int]]:
        """Every registration's id, state and due time, as its row has them."""
        columns = (registrations.c.registration_id, registrations.c.state, registrations.c.due_at_us)
        after = b""
        while True:
            statement = select(*columns).where(columns[0] > after).order_by(columns[0]).limit(PAGE_SIZE)
            with self._database.reading() as connection:
                rows = connection.execute(statement).all()
            yield from ((row.registration_id, row.state, row.due_at_us) for row in rows)
            if len(rows) < PAGE_SIZE:
                return
            after = rows[-1].registration_id
