"""The history of the store: its revisions, told apart from others of the same number.

A revision is a number, and a number comes again: a standby that is promoted without the last commits, or a restored
copy, counts on from where it stands. So every transaction that raises the revision writes a random mark beside it.
A `Point` that is kept tells later whether the store still has all that it had then.

Invariants: a point's mark is in the store exactly if every change up to its revision is; a revision that was found to
be lost is never used again, as the one that records the loss is higher.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from numcheck.errors import StoreDamaged
from numcheck.store.schema import installation, lost_revisions, revisions

MARK_SIZE = 16
REVISIONS_KEPT = 10_000  # an index that is further behind is built anew
LOSSES_TOLD = 8  # the newest; as many as an index refuses versions of


class Point(NamedTuple):
    """A revision, and the mark that tells it from another of the same number."""

    revision: int
    mark: bytes


class Loss(NamedTuple):
    """Revisions, first and last inclusive, that were acknowledged and that the store does not have.

    `operators` has, for each operator whose newest versions went with them, the version before and the one now.
    """

    first_revision: int
    last_revision: int
    noticed_at_us: int
    operators: Mapping[int, tuple[int, int]]


def new_mark() -> bytes:
    """Return a mark that no other revision of any store has. It decides nothing, so no rule takes it as an argument."""
    return secrets.token_bytes(MARK_SIZE)


def read_point(connection: Connection) -> Point:
    """Return the newest revision; StoreDamaged if it has no mark."""
    own = revisions.c.revision == installation.c.revision
    row = connection.execute(select(installation.c.revision, revisions.c.mark).outerjoin(revisions, own)).one()
    if row.mark is None:
        raise StoreDamaged(f"revision {row.revision} of the store has no mark")
    return Point(row.revision, row.mark)


def has_point(connection: Connection, point: Point) -> bool:
    """Return True if the store is known to have every change up to a point."""
    return connection.scalar(select(revisions.c.mark).where(revisions.c.revision == point.revision)) == point.mark


def is_lost(connection: Connection, point: Point) -> bool:
    """Return True if the store is known to lack a point; of one that is older than all it keeps, nothing is known."""
    oldest = connection.scalar(select(func.min(revisions.c.revision)))
    return not has_point(connection, point) and (oldest is None or point.revision >= oldest)


# The same of PostgreSQL over its driver's connection; a standby may get yet what it lacks.
LACKS = """
SELECT NOT pg_is_in_recovery() AND NOT EXISTS (SELECT FROM revisions WHERE revision = %(revision)s AND mark = %(mark)s)
       AND %(revision)s >= COALESCE((SELECT min(revision) FROM revisions), 0)
"""


def lacks(connection: Any, point: Point) -> bool:
    """Return `is_lost` of the server that a driver's connection leads to."""
    (found,) = connection.execute(LACKS, point._asdict()).fetchone()
    return bool(found)


def raise_revision(connection: Connection, *, above: int = 0) -> int:
    """Return the revision of the change that this transaction commits, higher than `above`.

    The update takes the row's lock, held until the commit: revisions are committed in their order on every engine, and
    who follows them never skips one that commits late.
    """
    connection.execute(update(installation).values(revision=installation.c.revision + 1))
    revision = int(connection.execute(select(installation.c.revision)).scalar_one())
    if revision <= above:
        revision = above + 1
        connection.execute(update(installation).values(revision=revision))
    connection.execute(delete(revisions).where(revisions.c.revision <= revision - REVISIONS_KEPT))
    connection.execute(insert(revisions).values(revision=revision, mark=new_mark()))
    return revision


def record_loss(connection: Connection, lost: Point, operators: Mapping[int, tuple[int, int]], now_us: int) -> None:
    """Record that a point is not in the store, unless another node has done so, and never use its revision again."""
    covered = connection.scalar(select(func.max(lost_revisions.c.last_revision))) or 0
    if lost.revision <= covered or not is_lost(connection, lost):
        return
    found = read_point(connection)
    raise_revision(connection, above=lost.revision)
    connection.execute(
        insert(lost_revisions).values(
            first_revision=min(found.revision + 1, lost.revision),
            last_revision=lost.revision,
            noticed_at_us=now_us,
            operators=json.dumps(operators),
        )
    )


def read_losses(connection: Connection) -> list[Loss]:
    """Return the newest losses, the last one first."""
    newest = select(lost_revisions).order_by(lost_revisions.c.last_revision.desc()).limit(LOSSES_TOLD)
    return [_loss(*row) for row in connection.execute(newest)]


def _loss(first_revision: int, last_revision: int, noticed_at_us: int, operators: str) -> Loss:
    by_id = {int(operator_id): (before, now) for operator_id, (before, now) in json.loads(operators).items()}
    return Loss(first_revision, last_revision, noticed_at_us, by_id)
