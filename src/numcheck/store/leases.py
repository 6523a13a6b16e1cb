"""Leases: which of the nodes that share a store does each piece of background work.

Invariants: a node that lives beats, and a lease belongs to the node in its row as long as that beats; it goes to one
node at a time, and its term rises with each. Whoever writes under a lease reads it in the same transaction, with a lock
that keeps it from others until the commit: what a node does after another has taken over is refused, however late.

No clock of two machines is compared: whether a node beats is for each to find out, by its own clock. The moments here
are for people.
"""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from numcheck.errors import LeaseLost
from numcheck.store.bulk import run
from numcheck.store.database import Database
from numcheck.store.schema import leases, nodes

FIRST_TERM = "INSERT INTO leases (name, node_id, term, taken_at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


class Lease(NamedTuple):
    """A lease that a node has: its name, and which term of it. The number of a term that a failover has lost comes
    again, for whichever node."""

    name: str
    node_id: str
    term: int


class LeaseRow(NamedTuple):
    """A lease, the node that took it last, and when."""

    name: str
    node_id: str
    term: int
    taken_at_us: int


class NodeReport(NamedTuple):
    """A node's account of itself: the version of its numcheck, and of the index that it answers from, if from any."""

    version: str
    index_version: int | None


class NodeRow(NamedTuple):
    """A node: how often it has beaten, when it did so last, and what it told then."""

    node_id: str
    name: str
    started_at_us: int
    beat: int
    beat_at_us: int
    version: str
    index_version: int | None


class Seen(NamedTuple):
    """The nodes and the leases of one moment, by their ids and names."""

    nodes: dict[str, NodeRow]
    leases: dict[str, LeaseRow]


class Leases:
    """The leases of an installation. Methods may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.shared = database.shared
        """True if other nodes may have leases."""

    def beat(self, node_id: str, name: str, now_us: int, told: NodeReport) -> None:
        """Note that a node lives, and what it tells."""
        own = nodes.c.node_id == node_id
        with self._database.writing() as connection:
            beaten = update(nodes).where(own).values(beat=nodes.c.beat + 1, beat_at_us=now_us, **told._asdict())
            if not connection.execute(beaten).rowcount:
                connection.execute(insert(nodes).values(NodeRow(node_id, name, now_us, 1, now_us, *told)._asdict()))

    def look(self) -> Seen:
        """Return what there is."""
        with self._database.reading() as connection:
            living = map(NodeRow._make, connection.execute(select(nodes).order_by(nodes.c.started_at_us)))
            rows = map(LeaseRow._make, connection.execute(select(leases).order_by(leases.c.name)))
            return Seen({one.node_id: one for one in living}, {one.name: one for one in rows})

    def bury(self, node: NodeRow) -> bool:
        """Remove a node that has not beaten since it was seen; False if it has."""
        with self._database.writing() as connection:
            as_seen = (nodes.c.node_id == node.node_id) & (nodes.c.beat == node.beat)
            return connection.execute(delete(nodes).where(as_seen)).rowcount > 0

    def try_take(self, name: str, before: LeaseRow | None, node_id: str, now_us: int) -> Lease | None:
        """Give a lease that was seen like this, None where there was none, to a node; None if another was first."""
        row = LeaseRow(name, node_id, 1 if before is None else before.term + 1, now_us)
        with self._database.writing() as connection:
            if before is None:
                is_first = run(connection, FIRST_TERM, *row) > 0
            else:
                as_seen = (leases.c.name == name) & (leases.c.term == before.term)
                is_first = connection.execute(update(leases).where(as_seen).values(row._asdict())).rowcount > 0
        return Lease(name, node_id, row.term) if is_first else None

    def leave(self, node_id: str) -> None:
        """Take a node out, so that others have its leases at once."""
        with self._database.writing() as connection:
            connection.execute(delete(nodes).where(nodes.c.node_id == node_id))


def check(connection: Connection, lease: Lease) -> None:
    """Raise LeaseLost unless the lease still is that node's, in that term; until the transaction ends, it stays so."""
    found = select(leases.c.node_id, leases.c.term).where(leases.c.name == lease.name).with_for_update(read=True)
    row = connection.execute(found).one_or_none()
    if row is None or (row.node_id, row.term) != (lease.node_id, lease.term):
        raise LeaseLost(f"another node has the lease of {lease.name} by now")
