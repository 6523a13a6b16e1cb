"""Checks of a whole store: is what it holds what was stored? They read all of it, for whoever audits or restores."""

from numcheck.errors import StoreDamaged
from numcheck.store import blocks, pushes, recorded, withdrawals
from numcheck.store.blocks import Kind
from numcheck.store.data_bindings import check_data
from numcheck.store.database import Database
from numcheck.store.events import Chain
from numcheck.store.heads import EVERY_OPERATOR, read_head, read_heads
from numcheck.store.sets import NumberSets

FOREIGN_OBJECTS = {
    "sqlite": "SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name",
    "postgresql": """
        SELECT 'trigger', tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
        UNION SELECT 'rule', rulename FROM pg_rules WHERE schemaname = current_schema()
        UNION SELECT 'view', viewname FROM pg_views WHERE schemaname = current_schema() ORDER BY 2
    """,
}
"""By engine: what acts or answers in the place of numcheck's tables, each by its kind and name."""


class Checks:
    """The checks of a store, each of one thing."""

    def __init__(self, database: Database, sets: NumberSets) -> None:
        self._database, self._sets = database, sets

    def schema(self) -> None:
        """Raise StoreDamaged if the database does by itself what nobody asked it to: by a trigger, a rule or a view."""
        with self._database.reading() as connection:
            foreign = connection.exec_driver_sql(FOREIGN_OBJECTS[connection.dialect.name]).first()
        if foreign is not None:
            raise StoreDamaged(f"the database has a {foreign[0]}, {foreign[1]}, which numcheck did not make")

    def indices(self) -> None:
        """Raise StoreDamaged unless SQLite finds its file whole: what an index leaves out, nobody finds.

        PostgreSQL has amcheck for it, which is its administrator's to run.
        """
        with self._database.reading() as connection:
            if connection.dialect.name == "sqlite":
                (found,) = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalars()
                if found != "ok":
                    raise StoreDamaged(f"the database is not whole: {found}")

    def sets(self) -> None:
        """Raise StoreDamaged unless every set has the blocks that its head speaks of, each as it was."""
        with self._database.reading() as connection:
            found = blocks.checksums(connection)
            blocks.check_places(connection)
            sets: dict[tuple[int, int], bytes] = {
                (kind, operator_id): head.checksum
                for kind in Kind
                for operator_id, head in read_heads(connection, kind).items()
            }
        ported = [found.pop(key) for key in list(found) if key[0] == Kind.PORTED]
        if ported:
            found[Kind.PORTED, EVERY_OPERATOR] = blocks.combined(ported)
        for key in {*found, *sets}:
            if found.get(key, blocks.NO_BLOCKS) != sets.get(key):
                raise StoreDamaged(f"the blocks of the numbers of operator {key[1]} are not those that were stored")

    def blocks(self) -> None:
        """Raise StoreDamaged unless every block has the numbers that it says, and every set as many as its head says,
        with its digest if that is kept."""
        with self._database.reading() as connection:
            counts = blocks.number_counts(connection)
            active, portings = read_heads(connection, Kind.ACTIVE), read_head(connection, Kind.PORTED, EVERY_OPERATOR)
        ported = sum(count for (kind, _), count in counts.items() if kind == Kind.PORTED)
        if portings.number_count != ported:
            raise StoreDamaged("the portings do not have their count")
        for operator_id, head in active.items():
            if head.number_count != counts[Kind.ACTIVE, operator_id]:
                raise StoreDamaged(f"the active set of operator {operator_id} does not have its count")
            if head.digest is not None and self._sets.computed_digest(operator_id) != head.digest:
                raise StoreDamaged(f"the active set of operator {operator_id} does not have its digest")

    def withdrawals(self) -> None:
        """Raise StoreDamaged unless the numbers that wait to be revoked, and those in the record, are what was
        stored."""
        with self._database.reading() as connection:
            withdrawals.check(connection)
            recorded.check(connection)

    def pushes(self) -> None:
        """Raise StoreDamaged unless the record of every push is what was stored."""
        with self._database.reading() as connection:
            pushes.check_records(connection)

    def data(self, chain: Chain) -> None:
        """Raise EventsAltered unless the plan, the heads and the records of pushes are what the acts have left."""
        with self._database.reading() as connection:
            check_data(connection, chain)
