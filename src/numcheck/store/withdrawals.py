"""Numbers that were taken from their operator, kept until what is registered on them has been revoked.

Invariants: a transaction that takes numbers away writes down which, so that a crash loses none; a piece of them is done
in the transaction that changes the registrations, so that none is done twice. They are kept for a while when they are
done: whoever verified a number by an older index finds that it was taken meanwhile.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import xxhash
from pyroaring import AbstractBitMap, BitMap
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from numcheck._bits import CHUNK_NUMBERS
from numcheck.errors import StoreDamaged
from numcheck.store.schema import installation, withdrawals

NEWEST = select(func.max(withdrawals.c.revision))  # made once: to make a statement takes as long as to run it


class Cause(StrEnum):
    """Why numbers were taken. The words are the store's and the event log's."""

    REMOVED = "removed"
    """The operator does not have them in service any more."""
    RECYCLED = "recycled"
    """They went out of service and are back, so that somebody else may have them."""
    PORTED = "ported"
    """Another operator serves them."""
    PLAN = "plan"
    """The numbering plan allots them to nobody, or to another operator."""


class Withdrawn(NamedTuple):
    """Some numbers that were taken, ascending, and where to go on in their row; None: it is done with them."""

    revision: int
    cause: Cause
    chunk: int
    numbers: list[int]
    next_place: int | None


def withdraw(
    connection: Connection, revision: int, cause: Cause, places: Mapping[int, AbstractBitMap], now_us: int
) -> None:
    """Write down the places, by chunk, that the change of a revision takes from their operator."""
    rows = [_row(revision, cause, chunk, some, now_us) for chunk, some in places.items() if some]
    if rows:
        connection.execute(insert(withdrawals), rows)


def _row(revision: int, cause: Cause, chunk: int, places: AbstractBitMap, now_us: int) -> dict[str, Any]:
    serialized = places.serialize()
    return {
        "revision": revision,
        "cause": cause.value,
        "chunk": chunk,
        "withdrawn_at_us": now_us,
        "next_place": places.min(),
        "checksum": _checksum(revision, cause.value, chunk, serialized),
        "places": serialized,
    }


def _checksum(revision: int, cause: str, chunk: int, places: bytes) -> bytes:
    return xxhash.xxh3_128_digest(f"{revision};{cause};{chunk};".encode() + places)


def _places(row: Row[Any]) -> BitMap:
    if _checksum(row.revision, row.cause, row.chunk, row.places) != row.checksum:
        raise StoreDamaged(f"the numbers that revision {row.revision} took are not what was stored")
    return BitMap.deserialize(row.places)


def any_waiting(connection: Connection) -> bool:
    """Whether there are numbers that are not done."""
    waiting = select(withdrawals.c.revision).where(withdrawals.c.next_place.is_not(None)).limit(1)
    return connection.scalar(waiting) is not None


def next_withdrawn(connection: Connection, *, count_max: int) -> Withdrawn | None:
    """The next numbers that are not done, the oldest first, and no more than these; None if all are."""
    waiting = select(withdrawals).where(withdrawals.c.next_place.is_not(None))
    oldest = waiting.order_by(withdrawals.c.revision, withdrawals.c.cause, withdrawals.c.chunk).limit(1)
    row = connection.execute(oldest).one_or_none()
    if row is None:
        return None
    places = _places(row)
    done = places.rank(row.next_place - 1) if row.next_place else 0
    some = places[done : done + count_max].to_array()
    next_place = places[done + count_max] if len(places) > done + count_max else None
    base = row.chunk * CHUNK_NUMBERS
    return Withdrawn(row.revision, Cause(row.cause), row.chunk, [base + place for place in some], next_place)


def set_done(connection: Connection, done: Withdrawn) -> None:
    """Keep that these numbers are done."""
    own = (
        (withdrawals.c.revision == done.revision)
        & (withdrawals.c.cause == done.cause.value)
        & (withdrawals.c.chunk == done.chunk)
    )
    connection.execute(update(withdrawals).where(own).values(next_place=done.next_place))


def newest(connection: Connection) -> int:
    """The newest revision that took numbers; 0 if none did."""
    return connection.scalar(NEWEST) or 0


def withdrawn_since(connection: Connection, number: int, revision: int) -> int:
    """The newest change after a revision that took a number, or of which that is not known any more; 0 if none did."""
    dropped = connection.scalar(select(installation.c.withdrawals_dropped)) or 0
    chunk, place = divmod(number, CHUNK_NUMBERS)
    later = (withdrawals.c.chunk == chunk) & (withdrawals.c.revision > revision)
    rows = connection.execute(select(withdrawals).where(later))
    return max((row.revision for row in rows if place in _places(row)), default=dropped if revision < dropped else 0)


def drop(connection: Connection, *, before_us: int) -> None:
    """Forget what was taken before a moment and is done."""
    old = (withdrawals.c.withdrawn_at_us < before_us) & withdrawals.c.next_place.is_(None)
    revision = connection.scalar(select(func.max(withdrawals.c.revision)).where(old))
    if revision is not None:
        connection.execute(update(installation).values(withdrawals_dropped=revision))
        connection.execute(delete(withdrawals).where(old & (withdrawals.c.revision <= revision)))
