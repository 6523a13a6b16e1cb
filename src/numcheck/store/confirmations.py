"""Confirmations: a finding of bulk verification about many registrations, kept in one row instead of in each of theirs.

A confirmation says of a service's registrations in a state, with ids in a range, due before a moment: those that rested
on the data of one of these operators when they were read are still confirmed by it, and this is their evidence now.

Invariants: a confirmation does not cover a registration that was written after it was read for the confirmation, as its
row's `sequence` tells; a transaction that writes a registration keeps the evidence that it has by then. The two rows
alone tell whether one covers the other, so that neither has to be changed together with the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Self, TypeVar

import orjson
import structlog
from sqlalchemy import Connection, delete

from numcheck.store.bindings import Binder, RowBinding
from numcheck.store.bulk import insert_rows, rows_where
from numcheck.store.registration_rows import RegistrationRow, Standing
from numcheck.store.schema import confirmations

log = structlog.get_logger()

R = TypeVar("R", RegistrationRow, Standing)


class Confirmation(NamedTuple):
    """A row of the confirmations."""

    confirmation_id: bytes
    service: str
    state: int
    sequence: int
    after_id: bytes
    last_id: bytes
    due_before_us: int | None
    evidence: str
    key_id: int = 0
    mac: bytes = b""  # made when the row is written

    def covers(self, row: RegistrationRow | Standing) -> bool:
        """Tell whether it says something of a registration."""
        return (
            row.confirmed_by in evidence_of(self.evidence)
            and (row.service, row.state) == (self.service, self.state)
            and row.sequence < self.sequence
            and self.after_id < row.registration_id <= self.last_id
            and (self.due_before_us is None or row.due_at_us < self.due_before_us)
        )

    def supersedes(self, older: Self) -> bool:
        """Tell whether it says something of every registration that the older one says anything of."""
        return (
            (self.service, self.state) == (older.service, older.state)
            and older.sequence <= self.sequence
            and self.after_id <= older.after_id
            and older.last_id <= self.last_id
            and (self.due_before_us is None or (older.due_before_us or self.due_before_us + 1) <= self.due_before_us)
            and evidence_of(older.evidence).keys() <= evidence_of(self.evidence).keys()
        )


BINDING = RowBinding(confirmations, Confirmation._fields)
COLUMNS = ", ".join(Confirmation._fields)
OF_SERVICE = f"SELECT {COLUMNS} FROM confirmations WHERE service IN"
EVERY = f"SELECT {COLUMNS} FROM confirmations ORDER BY confirmation_id"


@lru_cache(maxsize=64)
def evidence_of(text: str) -> dict[int | None, str]:
    """Return the evidence of each operator that a confirmation's text has."""
    return {int(operator_id): evidence for operator_id, evidence in orjson.loads(text).items()}


def evidence_text(evidence: dict[int, str]) -> str:
    """Return the text of each operator's evidence."""
    return orjson.dumps({str(one): evidence[one] for one in sorted(evidence)}).decode()


def read(connection: Connection, binder: Binder, service: str) -> list[Confirmation]:
    """Return a service's confirmations, as far as they are what was written."""
    return list(_whole(binder, map(Confirmation._make, rows_where(connection, OF_SERVICE, [service]))))


def read_all(connection: Connection) -> list[Confirmation]:
    """Return every confirmation as it is, by ascending ids."""
    return list(map(Confirmation._make, connection.exec_driver_sql(EVERY)))


def _whole(binder: Binder, found: Iterable[Confirmation]) -> Iterator[Confirmation]:
    for one in found:
        if BINDING.is_whole(binder, one):
            yield one
        else:
            log.error("a confirmation is not what was written", confirmation_id=one.confirmation_id.hex())


def as_confirmed(row: R, found: Sequence[Confirmation]) -> R:
    """Return a registration with the newest evidence that there is of it."""
    if row.confirmed_by is None or not found:
        return row
    newest = max((one for one in found if one.covers(row)), key=lambda one: one.sequence, default=None)
    return row if newest is None else row._replace(evidence=evidence_of(newest.evidence)[row.confirmed_by])


def write(connection: Connection, row: Confirmation) -> None:
    """Write a confirmation, in the place of what was written of it before."""
    remove(connection, [row.confirmation_id])
    insert_rows(connection, confirmations, [row])


def remove(connection: Connection, ids: Sequence[bytes]) -> None:
    """Remove confirmations."""
    connection.execute(delete(confirmations).where(confirmations.c.confirmation_id.in_(ids)))
