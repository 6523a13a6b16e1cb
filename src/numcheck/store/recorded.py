"""The record of withdrawals: which numbers somebody else may have by now, and since when. Portings are not in it.

Invariants: the transaction that takes numbers from their operator records them, so that a crash loses none. A row's
moment is when that was, no earlier than it happened at the operator: rows that are joined have the newest of theirs.
So whoever asks since a moment misses none, also if they asked before and the operator's data came late. Joined rows
have the newest of their revisions: whoever follows from an older one reads all of them. Nothing is missing from the
moment on that the record goes back to.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pyroaring import AbstractBitMap, BitMap
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from numcheck._bits import CHUNK_NUMBERS
from numcheck.errors import StoreDamaged
from numcheck.moments import DAY_US, SECOND_US, microseconds, moment
from numcheck.store.database import Database
from numcheck.store.schema import installation, recorded_withdrawals

JOINED_TOGETHER = 200  # groups of rows in a transaction: others wait no longer than it takes

rows_of = recorded_withdrawals.c


class Tidied(NamedTuple):
    """The changes of a tidying."""

    revisions: Collection[int]
    """Revisions whose rows are not what they were."""
    since_us: int | None
    """The moment that the record goes back to now."""
    anything: bool
    more: bool
    """True if there is more to be joined."""


def begin(connection: Connection, at_us: int) -> None:
    """Let the record go back to a moment, if there is none yet."""
    none = installation.c.recorded_since_us.is_(None)
    connection.execute(update(installation).where(none).values(recorded_since_us=at_us))


def since_us(connection: Connection) -> int | None:
    """Return the moment that the record goes back to; None before the first plan."""
    since: int | None = connection.scalar(select(installation.c.recorded_since_us))
    return since


def record(
    connection: Connection, revision: int, cause: str, places: Mapping[int, AbstractBitMap], *, at_us: int
) -> None:
    """Record the places, by chunk, that the change of a revision takes from their operator."""
    rows = [_row(revision, cause, chunk, some, at_us) for chunk, some in places.items() if some]
    if rows:
        connection.execute(insert(recorded_withdrawals), rows)


def _row(revision: int, cause: str, chunk: int, places: AbstractBitMap, at_us: int) -> dict[str, Any]:
    serialized, number_count = places.serialize(), len(places)
    return {
        "revision": revision,
        "cause": cause,
        "chunk": chunk,
        "at_us": at_us,
        "number_count": number_count,
        "checksum": _checksum(revision, cause, chunk, at_us, number_count, serialized),
        "places": serialized,
    }


def _checksum(revision: int, cause: str, chunk: int, at_us: int, number_count: int, places: bytes) -> bytes:
    return hashlib.sha256(f"{revision};{cause};{chunk};{at_us};{number_count};".encode() + places).digest()


def _places(row: Row[Any]) -> BitMap:
    checksum = _checksum(row.revision, row.cause, row.chunk, row.at_us, row.number_count, row.places)
    if checksum != row.checksum:
        raise StoreDamaged(f"the numbers that the record has of revision {row.revision} are not what was stored")
    return BitMap.deserialize(row.places)


def counts(connection: Connection, after: int) -> dict[int, int]:
    """Return how many numbers the changes after a revision took at each second."""
    second = rows_of.at_us // SECOND_US
    statement = select(second, func.sum(rows_of.number_count)).where(rows_of.revision > after).group_by(second)
    return {int(one): int(count) for one, count in connection.execute(statement)}


def chunks(connection: Connection, after: int) -> list[int]:
    """Return the chunks in which changes after a revision took numbers, ascending."""
    return sorted(connection.scalars(select(rows_of.chunk).where(rows_of.revision > after).distinct()))


def of_chunk(connection: Connection, chunk: int, after: int) -> list[tuple[int, BitMap]]:
    """Return the seconds and the places of what changes after a revision took of a chunk."""
    own = select(recorded_withdrawals).where(rows_of.chunk == chunk, rows_of.revision > after)
    return [(row.at_us // SECOND_US, _places(row)) for row in connection.execute(own.order_by(rows_of.revision))]


def between(connection: Connection, first_us: int, end_us: int) -> Iterator[tuple[str, int, BitMap]]:
    """Yield the cause, chunk and places of each row whose moment is at or after one and before another, by chunk."""
    own = select(recorded_withdrawals).where(rows_of.at_us >= first_us, rows_of.at_us < end_us)
    for row in connection.execute(own.order_by(rows_of.chunk, rows_of.cause, rows_of.revision)):
        yield row.cause, row.chunk, _places(row)


def tidy(connection: Connection, *, kept_since_us: int, joined_before_us: int) -> Tidied:
    """Forget what is older than one moment, and join the rows of each day that are older than another."""
    changed: set[int] = set()
    known = since_us(connection)
    forgets = known is not None and known < kept_since_us
    if forgets:
        old = rows_of.at_us < kept_since_us
        changed.update(connection.scalars(select(rows_of.revision).where(old).distinct()))
        connection.execute(delete(recorded_withdrawals).where(old))
        connection.execute(update(installation).values(recorded_since_us=kept_since_us))
    day = (rows_of.at_us // DAY_US).label("day")
    key = (day, rows_of.cause, rows_of.chunk)
    several = select(*key).where(rows_of.at_us < joined_before_us).group_by(*key).having(func.count() > 1)
    groups = connection.execute(several.limit(JOINED_TOGETHER)).all()
    for group in groups:
        changed.update(_join(connection, group.day, group.cause, group.chunk))
    return Tidied(changed, since_us(connection), forgets or bool(groups), len(groups) == JOINED_TOGETHER)


def _join(connection: Connection, day: int, cause: str, chunk: int) -> Sequence[int]:
    """Make one row of those of a day; the revisions that it is of, and that the others were of."""
    of_day = rows_of.at_us.between(day * DAY_US, (day + 1) * DAY_US - 1)
    own = of_day & (rows_of.cause == cause) & (rows_of.chunk == chunk)
    found = connection.execute(select(recorded_withdrawals).where(own)).all()
    places = BitMap.union(*map(_places, found))
    revisions = [row.revision for row in found]
    connection.execute(delete(recorded_withdrawals).where(own))
    record(connection, max(revisions), cause, {chunk: places}, at_us=max(row.at_us for row in found))
    return revisions


def check(connection: Connection) -> None:
    """Raise StoreDamaged unless every row's numbers are what its checksum says."""
    with connection.execute(select(recorded_withdrawals), execution_options={"yield_per": 1}) as rows:
        for row in rows:
            _places(row)


class WithdrawalRecord:
    """The record of withdrawals of a store, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def since(self) -> datetime | None:
        """The moment that the record goes back to; None before the first plan."""
        with self._database.reading() as connection:
            at_us = since_us(connection)
        return None if at_us is None else moment(at_us)

    def counts(self, revision: int) -> dict[int, int]:
        """Return how many numbers the changes after a revision took, by the second since 1970."""
        with self._database.reading() as connection:
            return counts(connection, revision)

    def chunks(self, revision: int) -> Iterator[tuple[int, list[tuple[int, BitMap]]]]:
        """Yield the seconds and places of what changes after a revision took, by chunk, which ascend."""
        with self._database.reading() as connection:
            found = chunks(connection, revision)
        for chunk in found:
            with self._database.reading() as connection:
                places = of_chunk(connection, chunk, revision)
            yield chunk, places

    def between(self, first: datetime, end: datetime) -> Iterator[tuple[str, int]]:
        """Yield the cause and the number of each withdrawal at or after one moment and before another."""
        with self._database.reading() as connection:
            for cause, chunk, places in between(connection, microseconds(first), microseconds(end)):
                yield from ((cause, chunk * CHUNK_NUMBERS + place) for place in places)
