"""The history of the store: its revisions, told apart from others of the same number.

A revision is a number, and a number comes again: a standby that is promoted without the last commits, or a restored
copy, counts on from where it stands. So every transaction that raises the revision writes a random mark beside it.
A `Point` that is kept tells later whether the store still has all that it had then.

A node that kept none cannot tell: so another epoch begins with each server that the store comes to, by a promotion or
from a dump, and with each copy that is restored. It leaves GAP revisions out, and as many versions of operators' data:
the newest of the epoch before may have been given out and be lost.

Invariants: a point's mark is in the store exactly if every change up to its revision is; a revision that was found to
be lost is never used again, as the one that records the loss is higher; no change is committed in the epoch of another
server than the one that commits it.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, text, update

from numcheck.errors import StoreDamaged
from numcheck.store.schema import installation, lost_revisions, revisions

MARK_SIZE = 16
REVISIONS_KEPT = 10_000  # an index that is further behind is built anew
NOTICED = lost_revisions.c.noticed_at_us.is_not(None)
LOSSES_TOLD = 8  # the newest; as many as an index refuses versions of
GAP = 1_000  # more than are acknowledged before a standby, or another node, has them


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


# A server of PostgreSQL, the store's place in it, and the timeline, which each promotion renews: nothing of a standby.
SERVER = """
SELECT CASE WHEN NOT pg_is_in_recovery() THEN concat_ws(
           '.', system_identifier, 'installation'::regclass::oid, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
       ) END
FROM pg_control_system()
"""


def is_elsewhere(connection: Connection) -> bool:
    """Return True if the next change would be the first one on this server."""
    server = _server(connection)
    return server != "" and server != connection.scalar(select(installation.c.server))


def _server(connection: Connection) -> str:
    """Return the name of the server that takes changes; nothing of a file or a standby."""
    return (connection.scalar(text(SERVER)) or "") if connection.dialect.name == "postgresql" else ""


def begin_epoch(connection: Connection, versions: Mapping[int, int]) -> None:
    """Begin another epoch, on this server. `versions` are those of operators' data at which the last one ends; before
    the first revision there is nothing to leave out."""
    before = read_point(connection).revision
    if before:
        after = raise_revision(connection, above=before + GAP)
        connection.execute(
            insert(lost_revisions).values(
                first_revision=before + 1,
                last_revision=after - 1,
                operators=json.dumps({one: (version, version) for one, version in versions.items()}),
            )
        )
    _renew_epoch(connection, by=1 if before else 0)


def try_versions_left(connection: Connection, lost: Point) -> dict[int, int] | None:
    """Return the versions of operators' data at which the epoch of a lost point ends here, if another began since."""
    of_it = (lost_revisions.c.first_revision <= lost.revision) & (lost_revisions.c.last_revision >= lost.revision)
    found = connection.scalar(select(lost_revisions.c.operators).where(of_it, ~NOTICED))
    return None if found is None else {int(one): version for one, (version, _) in json.loads(found).items()}


def _renew_epoch(connection: Connection, *, by: int = 1) -> None:
    connection.execute(update(installation).values(epoch=installation.c.epoch + by, server=_server(connection)))


def read_epoch(connection: Connection) -> int:
    """Return how many epochs began before this one."""
    return int(connection.execute(select(installation.c.epoch)).scalar_one())


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
    covered = connection.scalar(select(func.max(lost_revisions.c.last_revision)).where(NOTICED)) or 0
    if lost.revision <= covered or not is_lost(connection, lost):
        return
    left = connection.scalar(select(func.max(revisions.c.revision)).where(revisions.c.revision < lost.revision))
    raise_revision(connection, above=lost.revision)
    _renew_epoch(connection)
    connection.execute(
        insert(lost_revisions).values(
            first_revision=lost.revision if left is None else left + 1,
            last_revision=lost.revision,
            noticed_at_us=now_us,
            operators=json.dumps(operators),
        )
    )


def read_losses(connection: Connection) -> list[Loss]:
    """Return the newest losses that were noticed, the last one first."""
    newest = select(lost_revisions).order_by(lost_revisions.c.last_revision.desc()).limit(LOSSES_TOLD)
    return [_loss(*row) for row in connection.execute(newest.where(NOTICED))]


def read_unused(connection: Connection) -> list[tuple[int, int]]:
    """Return the newest revisions, first and last, that are nobody's, the last ones first."""
    bounds = select(lost_revisions.c.first_revision, lost_revisions.c.last_revision)
    newest = bounds.order_by(lost_revisions.c.last_revision.desc()).limit(LOSSES_TOLD)
    return [(first, last) for first, last in connection.execute(newest)]


def _loss(first_revision: int, last_revision: int, noticed_at_us: int, operators: str) -> Loss:
    by_id = {int(operator_id): (before, now) for operator_id, (before, now) in json.loads(operators).items()}
    return Loss(first_revision, last_revision, noticed_at_us, by_id)
