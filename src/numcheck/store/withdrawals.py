"""Numbers that were taken from their operator, kept until what is registered on them has been revoked.

Invariants: a transaction that takes numbers away writes down which, so that a crash loses none; a piece of them is done
in the transaction that changes the registrations, so that none is done twice. They are kept for a while when they are
done: a verification by an older index finds that its number was taken meanwhile. The checksum is cryptographic, as the
chain of events binds it, and by it the numbers.

The withdrawals of a very large change (bulk) wait until no others do: a plan that moves a whole country is an hour's
work, and a number that an operator withdraws meanwhile is revoked all the same within seconds.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pyroaring import AbstractBitMap, BitMap
from sqlalchemy import Connection, Row, Select, delete, func, insert, literal, select, update

from numcheck._bits import CHUNK_NUMBERS
from numcheck.errors import StoreDamaged
from numcheck.store import recorded
from numcheck.store.bulk import run
from numcheck.store.schema import installation, withdrawals

BULK_NUMBERS_MIN = 2_000_000  # a second's work at most is ordinary

NEWEST = select(func.max(withdrawals.c.revision))  # made once: to make a statement takes as long as to run it

SET_DONE = "UPDATE withdrawals SET next_place = ? WHERE revision = ? AND cause = ? AND chunk = ? AND next_place = ?"
ANY_WAITING = select(literal(1)).where(withdrawals.c.next_place.is_not(None)).limit(1)
ANY_URGENT = ANY_WAITING.where(withdrawals.c.bulk.is_(False))


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
    """Some numbers that were taken, ascending: where they start in their row, and where it goes on; None: nowhere."""

    revision: int
    cause: Cause
    chunk: int
    bulk: bool
    place: int
    numbers: "array[int]"
    next_place: int | None

    def part(self, place: int, next_place: int | None) -> "Withdrawn":
        """Return the part from a place on to before another, or to the end, without its numbers."""
        return self._replace(place=place, numbers=array("Q"), next_place=next_place)

    def goes_on_with(self, other: "Withdrawn") -> bool:
        """Return True if the other is what comes next in the same row."""
        return self[:4] == other[:4] and self.next_place == other.place


class WithdrawnChunk(NamedTuple):
    """All that a bulk change took of a chunk and that is not done."""

    revision: int
    cause: Cause
    chunk: int
    place: int
    """From here on it is not done."""
    places: BitMap

    @property
    def whole(self) -> Withdrawn:
        """All of it, without its numbers."""
        return Withdrawn(self.revision, self.cause, self.chunk, True, self.place, array("Q"), None)


def withdraw(
    connection: Connection, revision: int, cause: Cause, places: Mapping[int, AbstractBitMap], now_us: int
) -> None:
    """Write down the places, by chunk, that the change of a revision takes from their operator; and record them, unless
    they go to another one with their subscribers."""
    if cause is not Cause.PORTED:
        recorded.record(connection, revision, cause.value, places, at_us=now_us)
    bulk = sum(map(len, places.values())) >= BULK_NUMBERS_MIN
    rows = [_row(revision, cause, chunk, some, now_us, bulk=bulk) for chunk, some in places.items() if some]
    if rows:
        connection.execute(insert(withdrawals), rows)


def _row(revision: int, cause: Cause, chunk: int, places: AbstractBitMap, now_us: int, *, bulk: bool) -> dict[str, Any]:
    serialized = places.serialize()
    return {
        "revision": revision,
        "cause": cause.value,
        "chunk": chunk,
        "withdrawn_at_us": now_us,
        "bulk": bulk,
        "next_place": places.min(),
        "checksum": _checksum(revision, cause.value, chunk, serialized),
        "places": serialized,
    }


def _checksum(revision: int, cause: str, chunk: int, places: bytes) -> bytes:
    return hashlib.sha256(f"{revision};{cause};{chunk};".encode() + places).digest()


def _places(row: Row[Any]) -> BitMap:
    if _checksum(row.revision, row.cause, row.chunk, row.places) != row.checksum:
        raise StoreDamaged(f"the numbers that revision {row.revision} took are not what was stored")
    return BitMap.deserialize(row.places)


def waiting(connection: Connection, *, bulk: bool, count_max: int, piece_size: int) -> list[Withdrawn]:
    """Return the next numbers of bulk or of other changes that are not done, the oldest first, in pieces, until they
    are `count_max`; none if all are done."""
    found: list[Withdrawn] = []
    count = 0
    with connection.execute(_rows_waiting(bulk=bulk), execution_options={"yield_per": 1}) as result:
        for row in result:
            for piece in _pieces(row, piece_size):
                found.append(piece)
                count += len(piece.numbers)
                if count >= count_max:
                    return found
    return found


def try_bulk(connection: Connection) -> WithdrawnChunk | None:
    """Return what is not done of the oldest row of a bulk change; None if all is done."""
    row = connection.execute(_rows_waiting(bulk=True).limit(1)).one_or_none()
    if row is None:
        return None
    places = _places(row)
    places.remove_range(0, row.next_place)
    return WithdrawnChunk(row.revision, Cause(row.cause), row.chunk, row.next_place, places)


def _rows_waiting(*, bulk: bool) -> Select[Any]:
    there = select(withdrawals).where(withdrawals.c.next_place.is_not(None), withdrawals.c.bulk.is_(bulk))
    return there.order_by(withdrawals.c.revision, withdrawals.c.cause, withdrawals.c.chunk)


def are_waiting(connection: Connection, *, bulk: bool) -> bool:
    """Return whether numbers wait, those of bulk changes included or not."""
    return connection.scalar(ANY_WAITING if bulk else ANY_URGENT) is not None


def try_waiting(connection: Connection, number: int, revision: int) -> tuple[int, Cause] | None:
    """Return the newest change after a revision that took a number which is not done, and its cause."""
    chunk, place = divmod(number, CHUNK_NUMBERS)
    later = select(withdrawals).where(
        withdrawals.c.next_place <= place, withdrawals.c.chunk == chunk, withdrawals.c.revision > revision
    )
    rows = connection.execute(later.order_by(withdrawals.c.revision.desc()))
    return next(((row.revision, Cause(row.cause)) for row in rows if place in _places(row)), None)


def _pieces(row: Row[Any], piece_size: int) -> Iterator[Withdrawn]:
    places, base = _places(row), row.chunk * CHUNK_NUMBERS
    left = places.to_array()[places.rank(row.next_place - 1) if row.next_place else 0 :]
    for first in range(0, len(left), piece_size):
        some, behind = left[first : first + piece_size], left[first + piece_size : first + piece_size + 1]
        numbers = array("Q", [base + place for place in some])
        next_place = behind[0] if behind else None
        yield Withdrawn(row.revision, Cause(row.cause), row.chunk, row.bulk, some[0], numbers, next_place)


def set_done(connection: Connection, done: Withdrawn) -> bool:
    """Keep that these numbers are done; False if they were already, or are no longer the next of their row."""
    own = done.revision, done.cause.value, done.chunk, done.place
    return run(connection, SET_DONE, done.next_place, *own) > 0


def newest(connection: Connection) -> int:
    """Return the newest revision that took numbers; 0 if none did."""
    return connection.scalar(NEWEST) or 0


def withdrawn_since(connection: Connection, number: int, revision: int) -> int:
    """Return the newest change after a revision that took a number, or of which that is not known any more; 0 if none
    did."""
    dropped = dropped_up_to(connection)
    chunk, place = divmod(number, CHUNK_NUMBERS)
    later = (withdrawals.c.chunk == chunk) & (withdrawals.c.revision > revision)
    rows = connection.execute(select(withdrawals).where(later))
    return max((row.revision for row in rows if place in _places(row)), default=dropped if revision < dropped else 0)


def drop(connection: Connection, *, before_us: int) -> tuple[int, list[int]]:
    """Forget what was taken before a moment and is done.

    Return up to which revision withdrawals are not known any more, and of which revisions some are forgotten now.
    """
    old = (withdrawals.c.withdrawn_at_us < before_us) & withdrawals.c.next_place.is_(None)
    revisions = list(connection.scalars(select(withdrawals.c.revision).where(old).distinct()))
    # A withdrawal that is done later than a newer one must not make that one known again.
    dropped = max([dropped_up_to(connection), *revisions])
    if revisions:
        connection.execute(update(installation).values(withdrawals_dropped=dropped))
        connection.execute(delete(withdrawals).where(old, withdrawals.c.revision.in_(revisions)))
    return dropped, revisions


def dropped_up_to(connection: Connection) -> int:
    """Return up to which revision withdrawals are not known any more."""
    return connection.scalar(select(installation.c.withdrawals_dropped)) or 0


def check(connection: Connection) -> None:
    """Raise StoreDamaged unless every row's numbers are what its checksum says."""
    with connection.execute(select(withdrawals), execution_options={"yield_per": 1}) as rows:
        for row in rows:
            _places(row)
