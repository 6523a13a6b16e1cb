"""Budgets of new numbers: how much of each every node of an installation has taken for a day, and the numbers asked.

On disk after a crash: what a node has taken counts as spent, whether it has been asked about or not; so nobody learns
more than their budget, however often nodes end. The numbers of a row lie sealed: the store never learns one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from zlib import crc32

from sqlalchemy import Connection, func, insert, select

from numcheck.store.bulk import VALUES_PER_STATEMENT, fetch, pieces, run
from numcheck.store.database import Database
from numcheck.store.schema import asked_numbers

TAKING = 1_935_765_028  # any number: the first half of the advisory lock of who takes of a budget
DAYS_KEPT = 1  # beside the day itself: a clock may be set back a little

OWNED = "SELECT number_tag FROM registrations WHERE state IN ? AND number_tag IN ?"
OWNED_BY = f"{OWNED} AND service = ?"


class AskedRow(NamedTuple):
    """An entry of a node: the part of a budget that it took, or below 0 gave back, and numbers asked, sealed."""

    entry_id: int
    taken: int
    key_id: int
    sealed: bytes


class Taking(NamedTuple):
    """An entry that is to be made."""

    taken: int
    key_id: int
    sealed: bytes


Judge = Callable[[Sequence[AskedRow]], Taking | None]


class Budgets:
    """The budgets of an installation, each of a service, or of nobody's: an empty name. Safe to ask from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, service: str, day: int, *, after: int) -> list[AskedRow]:
        """Return what was taken of a day's budget, by any node, behind an entry."""
        with self._database.reading() as connection:
            return _rows(connection, service, day, after)

    def take(self, service: str, day: int, *, after: int, judge: Judge) -> list[AskedRow]:
        """Have `judge` see the rows behind an entry and give another to be made, or None. Return all of them.

        No other node takes of the budget meanwhile.
        """
        with self._database.writing() as connection:
            if self._database.shared:
                lock = crc32(service.encode()) - 2**31
                connection.execute(select(func.pg_advisory_xact_lock(TAKING, lock)))
            found = _rows(connection, service, day, after)
            if (row := judge(found)) is not None:
                run(connection, "DELETE FROM asked_numbers WHERE service = ? AND day < ?", service, day - DAYS_KEPT)
                made = connection.execute(insert(asked_numbers).values(service=service, day=day, **row._asdict()))
                entry_id: int = made.inserted_primary_key[0]  # type: ignore[index]
                found.append(AskedRow(entry_id, *row))
            return found

    def owned(self, service: str, number_tags: Sequence[bytes], states: Sequence[int]) -> set[bytes]:
        """Return those of the tags on whose numbers the service has a registration in one of these states; without a
        name, any service."""
        found: set[bytes] = set()
        selection, named = (OWNED_BY, (service,)) if service else (OWNED, ())
        for some in pieces(number_tags, VALUES_PER_STATEMENT):
            with self._database.reading() as connection:
                found.update(tag for (tag,) in fetch(connection, selection, list(states), list(some), *named))
        return found


def _rows(connection: Connection, service: str, day: int, after: int) -> list[AskedRow]:
    columns = asked_numbers.c
    wanted = (columns.service == service) & (columns.day == day) & (columns.entry_id > after)
    selection = select(columns.entry_id, columns.taken, columns.key_id, columns.sealed)
    return [AskedRow._make(row) for row in connection.execute(selection.where(wanted).order_by(columns.entry_id))]
