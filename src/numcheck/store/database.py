"""The database: its transactions, one after the other, and what its errors mean.

Invariants: a transaction is committed whole, and durable, before its block ends, or has left nothing; the schema is the
one that this numcheck knows.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, update
from sqlalchemy.exc import DatabaseError

from numcheck.errors import StoreDamaged, StoreTooNew
from numcheck.store.engine import sqlite_engine
from numcheck.store.schema import SCHEMA_VERSION, installation, metadata


class Database:
    """Transactions may be asked for by any thread; they take turns."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open the database, making its tables if need be; StoreTooNew or StoreDamaged if that cannot be."""
        self._turn = threading.RLock()
        self._pinned: Connection | None = None
        self._engine = sqlite_engine(path, read_only=read_only)
        with self.writing() as connection:
            _check_schema(connection, read_only=read_only)

    def close(self) -> None:
        """Close the connection; what was acknowledged is on disk already."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one revision and changes nothing."""
        return self.writing()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: committed, durable, when the block ends; rolled back if it raises."""
        with self._turn:
            if self._pinned is not None:
                yield self._pinned
                return
            try:
                with self._engine.begin() as connection:
                    yield connection
            except DatabaseError as error:
                raise StoreDamaged(f"the store cannot be read or written: {error.orig}") from None
            except UnicodeDecodeError:  # the driver's, from a damaged schema or from its own message about one
                raise StoreDamaged("the store cannot be read: there is text in it that is none") from None

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Everything read inside is of one revision, whatever is committed meanwhile over another connection."""
        with self.writing() as connection:
            self._pinned = connection
            try:
                yield
            finally:
                self._pinned = None

    @property
    def engine_name(self) -> str:
        """The engine underneath and its version."""
        return f"SQLite {sqlite3.sqlite_version}"


def _check_schema(connection: Connection, *, read_only: bool) -> None:
    if not read_only and not inspect(connection).has_table(installation.name):
        metadata.create_all(connection)
        connection.execute(insert(installation).values(id=1, schema_version=SCHEMA_VERSION, revision=0))
    version = connection.scalar(select(installation.c.schema_version))
    if version != SCHEMA_VERSION:
        raise StoreTooNew(f"the store has schema {version}; this numcheck knows {SCHEMA_VERSION}")


def take_turn(connection: Connection) -> None:
    """Let no other transaction, of any node, change anything until this one ends: what it reads now stays the head."""
    connection.execute(select(installation.c.revision).with_for_update())


def raise_revision(connection: Connection) -> int:
    """The revision of the change that this transaction commits.

    The update takes the row's lock, held until the commit: revisions are committed in their order on every engine, and
    who follows them never skips one that commits late.
    """
    connection.execute(update(installation).values(revision=installation.c.revision + 1))
    return int(connection.execute(select(installation.c.revision)).scalar_one())
