"""The outbox of operators (E.4): which registrations are identified on their numbers, and when that ended.

Invariants: what the transaction that moves a registration writes here is durable with it; positions rise in the order
of the commits, as a transaction holds the head of the chain of events; there are rows only under agreements that say
so. A registration is open at an operator if its newest row is not one that ended: so it is ended there once for each
time that it was told, and under the number that it was told with, whatever the registration has by then.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, select, update

from numcheck.store.bulk import insert_rows, rows_where
from numcheck.store.schema import agreements, identifications, registrations

VERIFIED = 2
"""The state of a registration whose user is identified."""
FORGOTTEN_TOGETHER = 1_000


class Identification(NamedTuple):
    """A row, but for its position."""

    operator_id: int
    service: str
    registration_id: bytes
    key_id: int
    number_tag: bytes
    sealed_number: bytes
    ended: bool
    at_us: int


class Sent(NamedTuple):
    """A row: what an operator is told, and its position."""

    position: int
    operator_id: int
    service: str
    registration_id: bytes
    key_id: int
    number_tag: bytes
    sealed_number: bytes
    ended: bool
    at_us: int

    @property
    def told(self) -> Identification:
        """The row but for its position."""
        return Identification._make(self[1:])


COLUMNS = ", ".join(Sent._fields)
BY_REGISTRATION = f"SELECT {COLUMNS} FROM identifications WHERE registration_id IN"
BY_OPERATOR = select(*(identifications.c[name] for name in Sent._fields)).order_by(identifications.c.position)
AGREED = select(agreements.c.service, agreements.c.operator_id).where(agreements.c.identifications)


class _Note(NamedTuple):
    """A registration after an event: under which operator its user is identified, if any, and whether that is new."""

    registration_id: bytes
    identification: Identification | None
    anew: bool
    at_us: int


class Outbox:
    """Messages of one transaction to operators; `flush` writes them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._agreed: set[tuple[str, int]] | None = None
        self._services: set[str] = set()
        self._notes: list[_Note] = []

    def note(self, row: Any, at_us: int, *, anew: bool) -> None:
        """Note where a registration stands after an event; `anew` if the event identified its user."""
        if not self.concerns(row.service):
            return
        identified = row.state == VERIFIED and (row.service, row.confirmed_by) in self._agreements()
        told = (
            Identification(
                row.confirmed_by,
                row.service,
                row.registration_id,
                row.key_id,
                row.number_tag,
                row.sealed_number,
                False,
                at_us,
            )
            if identified
            else None
        )
        self._notes.append(_Note(row.registration_id, told, anew, at_us))

    def concerns(self, service: str) -> bool:
        """Return True if any operator is told of a service's users."""
        self._agreements()
        return service in self._services

    def _agreements(self) -> set[tuple[str, int]]:
        if self._agreed is None:
            self._agreed = {(service, operator_id) for service, operator_id in self._connection.execute(AGREED)}
            self._services = {service for service, _ in self._agreed}
        return self._agreed

    def flush(self) -> None:
        """Write what follows from the notes."""
        if not self._notes:
            return
        ids = list({note.registration_id for note in self._notes})
        rows = sorted(map(Sent._make, rows_where(self._connection, BY_REGISTRATION, ids)))
        newest = {row.registration_id: row.told for row in rows}
        written: list[Identification] = []
        for note in self._notes:
            before, wanted = newest.get(note.registration_id), note.identification
            is_open = before is not None and not before.ended
            same = wanted is not None and is_open and _whom(before) == _whom(wanted)
            if before is not None and is_open and not same:
                written.append(before._replace(ended=True, at_us=note.at_us))
            if wanted is not None and (note.anew or not same):
                written.append(wanted)
            if written and written[-1].registration_id == note.registration_id:
                newest[note.registration_id] = written[-1]
        insert_rows(self._connection, identifications, written)
        self._notes.clear()


def _whom(told: Identification | None) -> Any:
    return told and (told.operator_id, told.number_tag)


def of_operator(connection: Connection, operator_id: int, position: int, *, count_max: int) -> list[Sent]:
    """Return the next rows of an operator behind a position."""
    own = (identifications.c.operator_id == operator_id) & (identifications.c.position > position)
    return [Sent._make(row) for row in connection.execute(BY_OPERATOR.where(own).limit(count_max))]


def begin(connection: Connection, service: str, operator_id: int, at_us: int) -> None:
    """Tell an operator, under a new agreement, of every user of a service who is identified on its numbers."""
    source = select(
        registrations.c.confirmed_by,
        registrations.c.service,
        registrations.c.registration_id,
        registrations.c.key_id,
        registrations.c.number_tag,
        registrations.c.sealed_number,
        literal(False),
        literal(at_us),
    ).where(
        registrations.c.service == service,
        registrations.c.confirmed_by == operator_id,
        registrations.c.state == VERIFIED,
    )
    names = list(Identification._fields)
    connection.execute(insert(identifications).from_select(names, source.order_by(registrations.c.registration_id)))


def end(connection: Connection, service: str, operator_id: int) -> None:
    """Forget what an operator was, or was to be, told under an agreement that has ended."""
    own = (identifications.c.service == service) & (identifications.c.operator_id == operator_id)
    connection.execute(delete(identifications).where(own))


def forget(connection: Connection, *, before_us: int) -> None:
    """Forget what ended before a moment, with all that was told of it before."""
    old = (identifications.c.at_us < before_us) & identifications.c.ended
    for row in connection.execute(BY_OPERATOR.where(old).limit(FORGOTTEN_TOGETHER)).all():
        connection.execute(delete(identifications).where(_up_to(Sent._make(row))))


def _up_to(row: Sent) -> ColumnElement[bool]:
    own = (identifications.c.registration_id == row.registration_id) & (identifications.c.position <= row.position)
    return own & (identifications.c.operator_id == row.operator_id)


def under_other_keys(connection: Connection, key_id: int, position: int, *, count_max: int) -> list[Sent]:
    """Return the next rows behind a position whose number lies under another key."""
    other = (identifications.c.key_id != key_id) & (identifications.c.position > position)
    return [Sent._make(row) for row in connection.execute(BY_OPERATOR.where(other).limit(count_max))]


def seal_anew(connection: Connection, rows: Sequence[Sent]) -> None:
    """Write the sealed numbers of rows, and their keys."""
    for row in rows:
        sealed = {"key_id": row.key_id, "number_tag": row.number_tag, "sealed_number": row.sealed_number}
        own = identifications.c.position == row.position
        connection.execute(update(identifications).where(own).values(**sealed))
